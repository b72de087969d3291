"""The recordings of a table for predictions: the columns are those of training."""

from __future__ import annotations

import argparse
import difflib
import tempfile
from collections.abc import Iterator

import numpy as np

from codec.errors import JobError
from codec.recordings.cells import join_names
from codec.recordings.encode import name_recording
from codec.recordings.roles import TIME, find_roles, simplify
from codec.recordings.rows import collect_rows
from codec.recordings.tables import expand, open_source
from codec.schema import Schema


def read_recordings(
    path: str, schema: Schema
) -> Iterator[tuple[str, np.ndarray, np.ndarray | None]]:
    """Yield each recording: its name, values [samples, channels], NaN where lost, and time [samples].

    A table may lack the columns of names, and that of time: then samples follow each other at the step
    of training.

    Raises:
        JobError: it cannot be read, or has not all channels.
    """
    sources = [open_source(one) for one in expand(path)]
    names = sources[0].names
    anywhere = {name for source in sources for name in source.names}
    for name in schema.names:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise JobError(
                f"{path}: no column {name!r}, a channel of the model; there are: "
                f"{join_names(names)}{hint}"
            )
    if schema.time and schema.time not in anywhere:
        for name in names:
            if TIME.fullmatch(simplify(name)) and name not in schema.names:
                raise JobError(
                    f"{path}: no column {schema.time!r}, the time in training, but {name!r}; give it that name "
                    "if it counts the same, or leave it out if the samples follow each other evenly"
                )
    naming = [n for n in (schema.participant, *schema.recording) if n]
    there = [name for name in naming if name in anywhere]
    if there and (lacking := [name for name in naming if name not in there]):
        raise JobError(
            f"{path}: it has {there[0]!r} and no column {lacking[0]!r}, which names recordings, too; "
            f"add it, or leave out {there[0]!r} where the file is one recording"
        )
    flags = {
        "participant": schema.participant if there else "",
        "recording": schema.recording if there else [],
        "time": schema.time if schema.time in anywhere else "",
        "time_unit": schema.unit or None,
        "channels": schema.names,
        **{"target": None, "horizon": 1, "rate": None},
    }
    roles = find_roles(argparse.Namespace(**flags), sources)
    with tempfile.TemporaryDirectory() as folder:
        rows = collect_rows(sources, roles, folder)
        for key, part in zip(rows.keys, rows.read_each(), strict=True):
            time = np.array(part["time"]) if roles.time else None
            yield name_recording(key), np.array(part["values"]), time
