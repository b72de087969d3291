"""What launcher/cli/predict.py takes from this folder, which it does not import; it needs no NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from predictor.inputs import Inputs
from predictor.instances import InstanceError, PredictError, merge

__all__ = ["InstanceError", "Inputs", "PredictError", "load", "merge", "write_line"]


def load(model_dir: Path, wanted: object) -> tuple[Any, Any]:
    """The model in a directory, and the `parameters` of a request, checked.

    Raises:
        PredictError: it holds no model of this kind of data; or the parameters are wrong.
    """
    from predictor.model import Model, read_parameters

    parameters = read_parameters(wanted, Inputs.PARAMETERS)
    return Model(model_dir), parameters


def write_line(answer: dict) -> str:
    """An answer as a line of JSON."""
    from codec.answers import to_plain

    return json.dumps(answer, ensure_ascii=False, default=to_plain)
