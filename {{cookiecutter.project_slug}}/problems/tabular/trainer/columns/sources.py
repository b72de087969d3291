"""Which files, which target, which group: what the data flags say, checked against the files."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence

from codec import files
from codec.columns import tables
from codec.dates import FORMS
from codec.schema import KINDS
from trainer.engine.runtime import JobError, join

OWN_TARGET = "species"
# What --schema may settle of a column. All else that a run writes down follows from its own data.
SETTLED = {
    "kind": "a text",
    "form": "a text",
    "codes": "a list of numbers",
    "low": "a number",
    "high": "a number",
    "categories": "a list of texts",
}


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


def read_hints(flags, names: Sequence[str], target: str) -> dict[str, dict]:
    """Read what `--schema` gives of columns, by their names: any of SETTLED, of the target no kind.

    Raises:
        JobError: a file that is not of that form, a column or a kind that does not exist.
    """
    if not flags.schema:
        return {}
    where = f"--schema {flags.schema}"
    try:
        columns = json.loads(files.read_text(flags.schema))["columns"]
        hints = {
            column["name"]: {key: column[key] for key in SETTLED if key in column}
            for column in columns
        }
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{where}: cannot be read ({error})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(
            f'{where}: expected {{"columns": [{{"name": …, "kind": …}}, …]}} ({error!r})'
        ) from None
    for name, hint in hints.items():
        if not hint:
            raise JobError(f"{where}: column {name!r}: expected any of {', '.join(SETTLED)}")
        if hint.get("kind", KINDS[0]) not in KINDS:
            raise JobError(
                f"{where}: column {name!r} has kind {hint['kind']!r}; write one of {', '.join(KINDS)}"
            )
        if hint.get("form") and hint["form"] not in FORMS:
            raise JobError(
                f"{where}: column {name!r} has form {hint['form']!r}; write one of {', '.join(FORMS)}"
            )
        for key in hint:
            if not _is_valid(key, hint[key]):
                got = tables.shown(json.dumps(hint[key]))
                raise JobError(
                    f"{where}: column {name!r}: {key}: expected {SETTLED[key]}, got {got}"
                )
        if name not in names:
            known = tables.listed(names)
            raise JobError(f"{where}: no column {name!r} in the data; there are: {known}")
    if "kind" in hints.get(target, ()):
        raise JobError(
            f"{where}: {target!r} is the target, which has no kind; remove it there, and say "
            "--task classification or --task regression"
        )
    return hints


def _is_valid(key: str, value: object) -> bool:
    """Whether a value of JSON has the form that SETTLED says."""
    is_list = isinstance(value, list)
    kind = str if key in ("kind", "form", "categories") else (int, float)
    items = value if is_list else [value]
    return is_list == (key in ("codes", "categories")) and all(isinstance(i, kind) for i in items)
