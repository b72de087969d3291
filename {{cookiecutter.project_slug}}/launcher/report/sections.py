"""The sections of a run, made ready for `sections.html` by their kind.

`trainer/engine/sections.py` writes down what each kind holds, and knows the problem; here nothing
does. A file may be damaged or come from anywhere: a section that is not as written there is left out
and named. Of other files only the PNGs in the run's own `gallery/` are read.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launcher.report import charts, runs
from launcher.report.numbers import measured, number, ratio

MATRIX = 12  # classes that a confusion matrix shows on one screen
ROWS = 100  # of a long table; the rest stands in the run's files
BAR, HISTOGRAM = 220, 20  # pixels in a table: how wide bars are at most, how high
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
        try:
            kind = section["kind"]
            ready = _gallery(section, run.path) if kind == "gallery" else KINDS[kind](section)
            lines = str(section.get("text") or "").splitlines()
            shown.append({"kind": kind, "title": str(section["title"]), "lines": lines, **ready})
        except DAMAGED:
            gaps.append(f"{file}: sections[{i}] is not a section that can be drawn.")
    return shown


def draw_lines(
    x: Sequence, x_label: str, lines: Mapping[str, Sequence], **options: Any
) -> dict[str, Any]:
    """A figure of lines over x, with their names and colours for its legend; see `charts.lines`.

    Raises:
        ValueError: a line that is longer or shorter than x.
    """
    x = list(map(number, x))
    values = [list(map(number, line)) for line in lines.values()]
    if any(len(line) != len(x) for line in values):
        raise ValueError("lines of other lengths")
    names = list(zip(map(str, lines), charts.COLOURS, strict=False))
    return {"image": charts.lines(x, values, **options), "names": names, "x_label": x_label}


def _numbers(section: Mapping) -> dict[str, Any]:
    tiles = []
    for shown in section["values"]:
        value, interval = measured(shown["value"], shown.get("interval"))
        notes = filter(None, [interval, shown["note"]])
        tiles.append({"value": value, "label": shown["label"], "note": "; ".join(notes)})
    return {"tiles": tiles}


def _table(section: Mapping) -> dict[str, Any]:
    columns, rows = list(map(str, section["columns"])), section["rows"]
    if any(len(row) != len(columns) for row in rows):
        raise ValueError("rows of other lengths")
    more, rows = len(rows[ROWS:]), rows[:ROWS]
    shown = [_draw_cells(cells) for cells in zip(*rows, strict=True)]
    words = [any(isinstance(cell, str | dict) for cell in cells) for cells in shown]
    headings = list(zip(columns, words or [True] * len(columns), strict=True))
    return {"columns": headings, "rows": list(zip(*shown, strict=True)), "more": more}


def _draw_cells(cells: Sequence) -> list[Any]:
    """The cells of a column; bars on one scale, with zero on it, and bars of a histogram in pixels."""
    bars = [list(map(number, c["bar"])) for c in cells if isinstance(c, dict) and "bar" in c]
    ends = [end for bar in bars for end in bar if math.isfinite(end)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale = BAR / (high - low or 1)
    shown = []
    for cell in cells:
        if not isinstance(cell, dict):
            shown.append(cell)
        elif "bar" in cell:
            value, start, end = map(number, cell["bar"])
            points = (0, value, start, end)
            pixels = [(x - low) * scale if math.isfinite(x) else -low * scale for x in points]
            texts = measured(value, (start, end))
            shown.append({"bar": pixels, "width": BAR, "value": texts[0], "interval": texts[1]})
        else:
            counts = list(map(number, cell["histogram"]))
            heights = [HISTOGRAM * count / (max(counts) or 1) for count in counts]
            shown.append({"heights": heights, "height": HISTOGRAM})
    return shown


def _confusion(section: Mapping) -> dict[str, Any]:
    """The matrix, and a table with a row for each class: label, precision, recall, F1, examples.

    Precision and recall are pairs of texts, a share and its interval.
    """
    labels = list(map(str, section["labels"]))
    counts = np.array(section["counts"], dtype=float)  # [true class, predicted class]
    size = len(labels)
    if counts.shape != (size, size) or not (counts >= 0).all() or not 0 < counts.sum() < math.inf:
        raise ValueError("not a table of counts, labels × labels")
    support, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    with np.errstate(invalid="ignore"):  # NaN where there is nothing to divide by, not 0
        scores = np.array([hits / predicted, hits / support, 2 * hits / (support + predicted)])
    precisions, recalls = map(_describe_share, hits, predicted), map(_describe_share, hits, support)
    columns = precisions, recalls, scores[2].tolist(), support.tolist()
    table = list(zip(labels, *columns, strict=True))
    precision, recall, f1 = np.nanmean(scores, axis=1)

    shown = range(size)
    if size > MATRIX:  # those that are confused most; all others become one row and one column
        confused = support + predicted - 2 * hits
        shown = sorted(np.argsort(-confused, kind="stable")[: MATRIX - 1])
    names, groups = [labels[i] for i in shown], np.eye(size)[:, shown]
    if limited := size - len(shown):
        names.append(f"{limited} others")
        groups = np.column_stack([groups, 1 - groups.sum(axis=1)])

    wrong = [(int(i), int(j)) for i, j in zip(*counts.nonzero(), strict=True) if i != j]
    wrong.sort(key=lambda pair: (-counts[pair], support[pair[0]], pair))
    return {
        "count": counts.sum(),
        "right": hits.sum(),
        "table": table,
        "worst": sorted(table, key=lambda row: math.inf if math.isnan(row[3]) else row[3]),
        "means": (
            "mean over the classes",
            (ratio(precision), ""),
            (ratio(recall), ""),
            f1,
            counts.sum(),
        ),
        "names": names,
        "matrix": (groups.T @ counts @ groups).tolist(),
        "limited": limited,
        "pairs": [
            (labels[i], labels[j], counts[i, j], counts[i, j] / support[i]) for i, j in wrong[:10]
        ],
    }


def _describe_share(part: float, whole: float) -> tuple[str, str]:
    """A share and its interval: Wilson's, as in the trainer's `engine/intervals.py`."""
    if not whole:
        return "–", ""
    share, z = part / whole, 1.96**2 / whole
    middle, half = share + z / 2, math.sqrt(z * (share * (1 - share) + z / 4))
    return measured(share, ((middle - half) / (1 + z), (middle + half) / (1 + z)))


def _scatter(section: Mapping) -> dict[str, Any]:
    """The points; where x and y should be equal, also what is left between them."""
    x, y = (np.array(list(map(number, section[key]))) for key in "xy")
    if len(x) != len(y):
        raise ValueError("two lists of different lengths")
    usable = np.isfinite(x) & np.isfinite(y)
    if not usable.any():
        raise ValueError("no point is finite")
    x, y, equal = x[usable], y[usable], bool(section["equal"])
    low, middle, high = np.quantile(y - x, (0.05, 0.5, 0.95))
    return {
        "image": charts.scatter(x, y, equal),
        "x_label": str(section["x_label"]),
        "y_label": str(section["y_label"]),
        "shown": len(x),
        "of": section["of"],
        "lost": int((~usable).sum()),
        "spread": charts.histogram(y - x) if equal else None,
        **{"low": low, "middle": middle, "high": high},
    }


def _curves(section: Mapping) -> dict[str, Any]:
    return draw_lines(section["x"], str(section["x_label"]), section["lines"])


def _gallery(section: Mapping, run_dir: Path) -> dict[str, Any]:
    """The items that have all their images, and the names of these."""
    listed, items = section["items"][:IMAGES], []
    columns = list(map(str, section.get("columns", ())))  # older runs have none
    for item in listed:
        images = [_read_image(run_dir, name) for name in item["images"]]
        if images and all(images):
            edge = {True: "right", False: "wrong"}.get(item["right"], "")
            items.append({"images": images, "lines": [*map(str, item["lines"])], "edge": edge})
    widest = max((len(item["images"]) for item in items), default=1)
    lost = len(listed) - len(items)
    return {"items": items, "columns": columns, "widest": widest, "lost": lost}


def _read_image(run_dir: Path, name: Any) -> dict[str, Any] | None:
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
}
