"""What `--schema` settles of columns, before their values are looked at: see `infer`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from codec import files
from codec.columns import tables
from codec.dates import FORMS
from codec.errors import JobError
from codec.schema import KINDS

# What --schema may settle of a column. All else that a run writes down follows from its own data.
SETTLED = {
    "kind": "a text",
    "form": "a text",
    "codes": "a list of numbers",
    "low": "a number",
    "high": "a number",
    "categories": "a list of texts",
}


def read_hints(path: str | None, names: Sequence[str], target: str) -> dict[str, dict]:
    """Read what the file of `--schema` gives of columns, by their names: any of SETTLED.

    Of the target, it may give no kind. Without a file: {}.

    Raises:
        JobError: a file that is not of that form, a column or a kind that does not exist.
    """
    if not path:
        return {}
    where = f"--schema {path}"
    try:
        columns = json.loads(files.read_text(path))["columns"]
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
