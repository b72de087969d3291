"""The sections of a run, made ready for `sections.html` by their kind.

`trainer/engine/sections.py` writes down what each kind holds, and knows the problem; here nothing
does. A file may be damaged or come from anywhere: a section that is not as written there is left out
and named. Of other files only the PNGs in the run's own `gallery/` are read.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from launcher.report import charts, runs

MATRIX = 12  # classes that a confusion matrix shows on one screen
ROWS = 100  # of a long table; the rest stands in the run's files
GALLERY = r"gallery/[\w-]+\.png"  # in the run's directory, and no links out of it
PNG, HEAD = b"\x89PNG\r\n\x1a\n", 24  # bytes, in which stand the width and the height
IMAGES, LARGEST = 48, 1 << 20  # items of a gallery on the page; bytes of an image
FEW = 64  # pixels a side, below which they are enlarged to squares that one can tell apart
DAMAGED = (AttributeError, KeyError, TypeError, ValueError, OverflowError)


def prepare(run: runs.Run, file: str, sections: Any, gaps: list[str]) -> list[dict[str, Any]]:
    """What the page shows of each section; names in `gaps` what cannot be shown.

    Args:
        file: where the sections stand, for `gaps`.
    """
    shown = []
    for i, section in enumerate(sections if isinstance(sections, list) else []):
        kind = section.get("kind") if isinstance(section, dict) else None
        try:
            ready = KINDS[kind](section, run.path, gaps)
            lines = str(section.get("text") or "").splitlines()
            shown.append({"kind": kind, "title": str(section["title"]), "lines": lines, **ready})
        except DAMAGED:
            gaps.append(f"{file}: sections[{i}] is not a section that can be drawn.")
    return shown


def _numbers(section: Mapping, _path: Path, _gaps: list[str]) -> dict[str, Any]:
    keys = ("label", "value", "note")
    return {"tiles": [{key: value[key] for key in keys} for value in section["values"]]}


def _table(section: Mapping, _path: Path, _gaps: list[str]) -> dict[str, Any]:
    columns, rows = [str(name) for name in section["columns"]], section["rows"]
    if any(len(row) != len(columns) for row in rows):
        raise ValueError("rows of other lengths")
    return {"columns": columns, "rows": rows[:ROWS], "more": len(rows[ROWS:])}


def _confusion(section: Mapping, _path: Path, _gaps: list[str]) -> dict[str, Any]:
    """The matrix, and a table with a row for each class."""
    labels = [str(label) for label in section["labels"]]
    counts = np.array(section["counts"], dtype=float)
    size = len(labels)
    if counts.shape != (size, size) or not (counts >= 0).all() or not 0 < counts.sum() < math.inf:
        raise ValueError("not a table of counts, labels × labels")
    support, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    table = [
        {
            "label": label,
            "precision": _ratio(hits[i], predicted[i]),
            "recall": _ratio(hits[i], support[i]),
            "f1": _ratio(2 * hits[i], support[i] + predicted[i]),
            "support": int(support[i]),
        }
        for i, label in enumerate(labels)
    ]
    means = {key: _mean([row[key] for row in table]) for key in ("precision", "recall", "f1")}
    shown = _most_confused(counts) if size > MATRIX else list(range(size))
    wrong = [(int(i), int(j)) for i, j in zip(*counts.nonzero(), strict=True) if i != j]
    wrong.sort(key=lambda pair: (-counts[pair], support[pair[0]], pair))
    return {
        "count": int(counts.sum()),
        "right": int(hits.sum()),
        "frequent": labels[int(support.argmax())],
        "guessing": support.max() / counts.sum(),
        "table": table,
        "worst": sorted(table, key=lambda row: math.inf if row["f1"] is None else row["f1"]),
        "means": means | {"label": "mean over the classes", "support": int(counts.sum())},
        "matrix": _matrix(counts, labels, shown),
        "limited": size - len(shown),
        "pairs": [
            {
                "truth": labels[i],
                "predicted": labels[j],
                "count": int(counts[i, j]),
                "share": counts[i, j] / support[i],
            }
            for i, j in wrong[:10]
        ],
    }


def _most_confused(counts: np.ndarray) -> list[int]:
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return sorted(np.argsort(-wrong, kind="stable")[: MATRIX - 1].tolist())


def _matrix(counts: np.ndarray, labels: list[str], shown: list[int]) -> dict[str, Any]:
    """The classes shown, and all others added up in one row and one column."""
    groups = np.zeros((len(labels), len(shown)))
    groups[shown, range(len(shown))] = 1
    names = [labels[i] for i in shown]
    if len(shown) < len(labels):
        groups = np.column_stack([groups, 1 - groups.sum(axis=1)])
        names.append(f"{len(labels) - len(shown)} others")
    small = groups.T @ counts @ groups
    rows = []
    for i, name in enumerate(names):
        total = small[i].sum()
        cells = [
            {
                "count": int(value),
                "share": _ratio(value, total),
                "grouped": len(shown) in (i, j),
                "style": _shade(_ratio(value, total) or 0.0, right=i == j),
            }
            for j, value in enumerate(small[i])
        ]
        rows.append({"label": name, "cells": cells, "total": int(total)})
    return {"labels": names, "rows": rows}


def _shade(share: float, right: bool) -> str:
    """Blue for what is right, orange for what is not; dark text keeps a contrast of 4.5 to 1."""
    colour = "0, 114, 178" if right else "213, 94, 0"
    return f"background: rgba({colour}, {0.1 + 0.7 * share:.2f})"


def _scatter(section: Mapping, _path: Path, _gaps: list[str]) -> dict[str, Any]:
    """The points; where x and y should be equal, also what is left between them."""
    x, y = (np.array([runs.number(v) for v in section[key]]) for key in "xy")
    if len(x) != len(y):
        raise ValueError("two lists of different lengths")
    usable = np.isfinite(x) & np.isfinite(y)
    if not usable.any():
        raise ValueError("no point is finite")
    x, y, equal = x[usable], y[usable], bool(section["equal"])
    rest = y - x
    return {
        "image": charts.scatter(x, y, equal),
        "x_label": str(section["x_label"]),
        "y_label": str(section["y_label"]),
        "shown": len(x),
        "of": section["of"],
        "lost": int((~usable).sum()),
        "spread": charts.histogram(rest) if equal else None,
        "middle": float(np.median(rest)),
        "low": float(np.quantile(rest, 0.05)),
        "high": float(np.quantile(rest, 0.95)),
    }


def _curves(section: Mapping, _path: Path, _gaps: list[str]) -> dict[str, Any]:
    x = [runs.number(value) for value in section["x"]]
    lines = {str(k): [runs.number(v) for v in line] for k, line in section["lines"].items()}
    if any(len(line) != len(x) for line in lines.values()):
        raise ValueError("lines of other lengths")
    names = zip(lines, charts.COLOURS, strict=False)
    image = charts.lines(x, list(lines.values())[: len(charts.COLOURS)])
    return {"image": image, "names": list(names), "x_label": str(section["x_label"])}


def _gallery(section: Mapping, path: Path, gaps: list[str]) -> dict[str, Any]:
    """Items with all their images, and the names of these."""
    listed, items = section["items"][:IMAGES], []
    columns = [str(name) for name in section.get("columns", ())]  # older runs have none
    for item in listed:
        images = [_image(path, name) for name in item["images"]]
        if images and all(images):
            edge = {True: "right", False: "wrong"}.get(item["right"], "")
            items.append({"images": images, "lines": [*map(str, item["lines"])], "edge": edge})
    if lost := len(listed) - len(items):
        gaps.append(f"{lost} images of “{section['title']}” are not there, or are no images.")
    widest = max((len(item["images"]) for item in items), default=1)
    return {"items": items, "columns": columns, "widest": widest}


def _image(run_dir: Path, name: Any) -> dict[str, Any] | None:
    """A data URI, and whether the image is so small that its pixels are to be seen."""
    path = run_dir / name if isinstance(name, str) and re.fullmatch(GALLERY, name) else None
    try:
        if path is None or path.is_symlink() or path.stat().st_size > LARGEST:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) <= HEAD or not data.startswith(PNG):
        return None
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (HEAD - 8, HEAD - 4))
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"uri": uri, "pixels": max(width, height) < FEW}


KINDS = {
    "numbers": _numbers,
    "table": _table,
    "confusion": _confusion,
    "scatter": _scatter,
    "curves": _curves,
    "gallery": _gallery,
}


def _ratio(part: float, whole: float) -> float | None:
    """None where there is nothing to divide by: the question has no answer then, not 0."""
    return float(part / whole) if whole else None


def _mean(values: list[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return sum(given) / len(given) if given else None
