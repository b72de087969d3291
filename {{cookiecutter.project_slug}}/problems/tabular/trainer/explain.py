"""What the report shows of single examples. Of tables: nothing more than `results.py` has."""

from __future__ import annotations


def write(record, model, data, evaluation: dict) -> dict:
    """Called when training is over; what it returns goes into evaluation.json, too."""
    return {}
