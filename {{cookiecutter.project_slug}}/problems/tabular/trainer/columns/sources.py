"""Which files, which target, which group: what the data flags say, checked against the files."""

from __future__ import annotations

import difflib

from codec.columns import tables
from trainer.engine.runtime import JobError, join

OWN_TARGET = "species"


def find_sources(flags, own: str) -> tuple[list[tables.Source], list[tables.Source], str]:
    if flags.train_files is None:
        if flags.eval_files or flags.columns or flags.group:
            raise JobError("--eval-files, --columns and --group need --train-files beside them")
        train, held_out = (join(own, f"*_{part}.csv") for part in ("train", "eval"))
    else:
        train, held_out = flags.train_files, flags.eval_files
    columns = flags.columns and [name.strip() for name in flags.columns.split(",")]
    if columns and len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise JobError(f"--columns: the name {twice!r} stands there more than once")
    train = [tables.open_source(p, columns) for p in tables.expand(train, "--train-files")]
    held_out = held_out and tables.expand(held_out, "--eval-files")
    held_out = [tables.open_source(p, columns) for p in held_out or ()]
    if flags.fold and held_out:
        raise JobError(
            f"--fold {flags.fold}: files of their own hold rows out; leave --eval-files out, and name "
            "all rows with --train-files"
        )
    names = train[0].names
    known = tables.listed(names)
    target = flags.target or (OWN_TARGET if flags.train_files is None else None)
    if target is None:
        raise JobError(f"--target is missing: which column is to be predicted? There are: {known}")
    _check_column(train[0], target, columns)
    for source in train[1:] + held_out:
        lacking = [name for name in names if name not in source.names]
        new = [name for name in source.names if name not in names]
        if lacking or new:
            faults = [f"it lacks {tables.listed(lacking)}"] if lacking else []
            faults += [f"only it has {tables.listed(new)}"] if new else []
            raise JobError(
                f"{source.path}: not the columns of {train[0].path}: {'; '.join(faults)}"
            )
    return train, held_out, target


def _check_column(source: tables.Source, name: str, columns: object) -> None:
    if name in source.names:
        return
    close = difflib.get_close_matches(name, source.names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if not columns and not close:
        hint = "; for a file without a header line give the names by --columns"
    known = tables.listed(source.names)
    raise JobError(f"{source.path}: no column {name!r}; there are: {known}{hint}")


def choose_group(flags, source: tables.Source, target: str, hints: dict[str, dict]) -> str:
    group = flags.group or ""
    if group:
        _check_column(source, group, flags.columns)
    if group == target:
        raise JobError(f"--group {group}: it is the target; name the column of the subject or site")
    kind = hints.get(group, {}).get("kind", "ignore")
    if kind != "ignore":
        raise JobError(
            f"--group {group}: a group is no feature, but --schema makes it a {kind}; remove one of "
            "the two"
        )
    return group
