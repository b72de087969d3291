"""What a model of waves takes, and its classes."""

from dataclasses import dataclass

from codec.base_schema import BaseSchema


@dataclass
class Schema(BaseSchema):
    labels: list[str]
    length: int  # samples of a wave
    target: str = "shape"
    task: str = "classification"
