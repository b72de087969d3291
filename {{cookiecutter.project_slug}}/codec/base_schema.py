"""What the schemas of all kinds of data share. Each kind has its own in `codec/schema.py`."""

from __future__ import annotations

import json
from dataclasses import asdict


class BaseSchema:
    """What a model takes and predicts, as a dataclass: schema.json beside the run and its model.

    Attributes:
        task: a key of METRICS in `trainer/outputs.py`, such as classification.
        target: the name of what is predicted, for logs and reports; "" where there is no target.
    """

    task: str
    target: str

    def to_json(self) -> str:
        """The text of schema.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str):
        """The schema that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: the text is no such schema.
        """
        return cls(**json.loads(text))
