"""Simple models beside a run: a table, and one sentence that says whether the run is better.

`baselines.json` in the run's directory is what `trainer.engine.baselines` has measured, with costs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.report.numbers import figures, measured
from launcher.report.runs import Run

FILE = "baselines.json"


def read_section(run: Run) -> list[dict[str, Any]]:
    """The section of the report; none where nothing was measured since the run's end."""
    path = run.path / FILE
    result = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not result or result["ended"] != run.record.get("ended"):
        return []
    columns = ["model", result["metric"], "this run is better by", "fit, s", result["priced"]]
    rows = [
        [
            model["name"],
            write_estimate(model["value"]),
            {"bar": model["ahead"]} if model["ahead"] else "",
            figures(model["seconds"]),
            model["cost"],
        ]
        for model in result["models"]
    ]
    about = {
        "kind": "table",
        "title": "Is it better than a simple model?",
        "text": describe(result),
    }
    return [{**about, "columns": columns, "rows": rows}]


def describe(result: Mapping[str, Any]) -> str:
    """One sentence that says who is better, and a line on the rows that it rests on."""
    models, metric, rows = result["models"], result["metric"], f"{result['rows']:,} held-out rows"
    rivals = [model for model in models if model["ahead"]]
    known = [model for model in rivals if None not in model["ahead"]]
    better = [model for model in known if model["ahead"][2] < 0]
    level = [model for model in known if model["ahead"][1] <= 0]
    if not rivals:
        sentence = (
            f"Nothing is compared with this run: its predictions.csv has no {metric} of each example; "
            f"give it to context.add_rows in trainer/outputs.py: {metric}=…"
        )
    elif not known:
        sentence = (
            "Whether this run is better cannot be said: the held-out rows are of too few groups, such "
            "as participants, to know how it would be with others."
        )
    elif better:
        sentence = f"{better[0]['name'].capitalize()} does better: this run is {_place(better[0])}."
    elif level:  # the simplest comes first
        sentence = f"{level[0]['name'].capitalize()} does as well, as far as {rows} show: "
        sentence += f"this run is {_place(level[0])}."
    else:
        nearest = min(rivals, key=lambda model: model["ahead"][0])
        sentence = f"This run does better than all of them: it is {_place(nearest)}."
    return (
        f"{sentence}\nThe models learned from {result['train']:,} of {result['train_of']:,} training rows, "
        f"encoded as for this run, and predicted {result['rows']:,} of {result['of']:,} held-out rows. "
        "Intervals are of 95 %."
    )


def _place(model: Mapping[str, Any]) -> str:
    value, low, high = model["ahead"]
    where = "ahead of"
    if value < 0:
        where, value, low, high = "behind", -value, -high, -low
    return f"{where} {model['name']} by {write_estimate((value, low, high))}"


def write_estimate(estimate: Sequence[float]) -> str:
    text, interval = measured(estimate[0], estimate[1:])
    return f"{text} ({interval})" if interval else text
