"""Which columns matter: how much worse the model is when a column is shuffled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codec.intervals import bootstrap
from trainer.columns.alone import measure_alone
from trainer.engine import sections

ROWS = 2_000  # held-out rows that are shuffled, at most, and
COLUMNS = 30  # columns: more would take longer than a small training
SHUFFLES = 5  # of each column; their mean counts


def rank_columns(examples, context, figure: str, score: Callable) -> dict:
    """The section of the report with the columns that matter most first.

    All that the model sees of a column is shuffled together.

    Args:
        examples, context: as `outputs.evaluate` gets them.
        figure: what the mean of the scores is, such as "accuracy".
        score: called with target and output of some rows, returns [rows]: how good each answer is.
    """
    schema, table = examples.schema, examples.eval
    rows = np.linspace(0, table.rows - 1, min(table.rows, ROWS)).astype(int)
    inputs = {name: array[rows] for name, array in table.arrays().items()}
    target = inputs.pop("target")
    whole = np.asarray(score(target, context.predict(inputs)), np.float64)
    random = np.random.default_rng(context.flags.seed)
    parts = schema.places
    names = list(parts)
    if len(names) > COLUMNS:
        alone = measure_alone(schema, examples.train, table)
        skills = {name: alone[name].skill if name in alone else 0.0 for name in names}
        names = sorted(names, key=skills.get, reverse=True)[:COLUMNS]
    falls = {}
    for name in names:
        values = {array: inputs[array][:, columns] for array, columns in parts[name].items()}
        shuffled = np.zeros(len(rows))
        for _ in range(SHUFFLES):
            order = random.permutation(len(rows))
            for array, columns in parts[name].items():
                inputs[array][:, columns] = values[array][order]
            shuffled += score(target, context.predict(inputs)) / SHUFFLES
        for array, columns in parts[name].items():
            inputs[array][:, columns] = values[array]
        fall = bootstrap(lambda mean: mean, whole - shuffled)
        falls[name] = [round(x, 4) for x in fall]  # less is nothing
    text = (
        f"How far {figure} falls on {len(rows)} held-out rows when the values of one column are "
        f"shuffled, so that they say nothing: the mean of {SHUFFLES} shuffles, and its 95 % interval. "
        "Columns that say the same stand in for each other, and each of them seems to matter little."
    )
    if len(parts) > COLUMNS:
        text += (
            f"\nOf {len(parts)} columns, the {COLUMNS} that alone say most about {schema.target}."
        )
    ranked = sorted(falls.items(), key=lambda item: -item[1][0])
    cells = [[name, sections.bar(*fall)] for name, fall in ranked]
    return sections.table("Which columns matter", ("column", f"fall of {figure}"), cells, text)
