"""What a model of images takes, and the classes that it knows.

`schema.json` in the job directory; with an exported model, in `assets.extra/`, for its clients.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from codec.base_schema import BaseSchema


@dataclass
class Pictures:
    """How an image of any size and kind becomes what the model sees: see `codec/images.py`."""

    size: int  # pixels a side
    channels: int  # 3: RGB; 1: grey
    resize: str  # codec.images.POLICIES

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.size, self.size, self.channels


@dataclass
class Schema(BaseSchema):
    """The classes, in the order of the model's outputs, and what the model looks at."""

    labels: list[str]
    pictures: Pictures
    target: str = "class"
    task: str = "classification"
    notes: list[str] = field(default_factory=list)  # how the data was split, for the report

    @classmethod
    def from_json(cls, text: str) -> Schema:
        fields = json.loads(text)
        return cls(**{**fields, "pictures": Pictures(**fields["pictures"])})
