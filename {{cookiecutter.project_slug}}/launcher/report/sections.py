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

MATRIX = 15  # classes: more make no matrix that can be read
ROWS = 100  # of a long table; the rest stands in the run's files
BAR, HISTOGRAM = 220, 20  # pixels in a table: how wide bars are at most, how high
GALLERY = r"gallery/[\w-]+\.png"  # in the run's directory, and no links out of it
DRAWN = "data:image/png;base64,"  # begins an image that is in no file
PNG, HEAD = b"\x89PNG\r\n\x1a\n", 24  # bytes, in which stand the width and the height
IMAGES = 48  # items of a gallery on the page
SIGNAL = (440, 26)  # pixels of a timeline's row
BLUE, ORANGE = "0, 114, 178", "213, 94, 0"
FEW = 64  # pixels a side, below which they are enlarged to squares that one can tell apart
EDGES = {True: "right", False: "wrong"}
WARNING = "warning: "  # begins a line of a text that stands above all sections


def prepare(run_dir: Path, sections: list) -> tuple[list[dict[str, Any]], int]:
    """What the page shows of each section, and how many cannot be shown."""
    shown, lost = [], 0
    for section in sections:
        try:
            kind = section["kind"]
            ready = _gallery(section, run_dir) if kind == "gallery" else KINDS[kind](section)
            texts = (section.get("text") or "").splitlines()
            lines = {
                "lines": [line for line in texts if not line.startswith(WARNING)],
                "warnings": [t.removeprefix(WARNING) for t in texts if t.startswith(WARNING)],
            }
            shown.append({"kind": kind, "title": section["title"], **lines, **ready})
        except runs.DAMAGED:
            lost += 1
    return shown, lost


def draw_lines(
    x: Sequence, x_label: str, lines: Mapping[str, Sequence], **options: Any
) -> dict[str, Any]:
    """A figure of lines over x, with their names and colours for its legend; see `charts.lines`.

    Raises:
        ValueError: a line that is longer or shorter than x.
    """
    x, values = list(map(number, x)), [list(map(number, line)) for line in lines.values()]
    names = list(zip(lines, charts.COLOURS, strict=False))
    return {"image": charts.lines(x, values, **options), "names": names, "x_label": x_label}


def _numbers(section: Mapping) -> dict[str, Any]:
    tiles = []
    for shown in section["values"]:
        value, interval = measured(shown["value"], shown.get("interval"))
        notes = filter(None, [interval, shown["note"]])
        tiles.append({"value": value, "label": shown["label"], "note": "; ".join(notes)})
    return {"tiles": tiles}


def _table(section: Mapping) -> dict[str, Any]:
    names, rows = section["columns"], section["rows"]
    columns = zip(*rows[:ROWS], strict=True)
    shown = [_draw_cells(cells) for cells in columns]
    words = [any(isinstance(cell, str | dict) for cell in cells) for cells in shown]
    headings = list(zip(names, words or [True] * len(names), strict=True))
    more = len(rows[ROWS:])
    return {"columns": headings, "rows": list(zip(*shown, strict=True)), "more": more}


def _draw_cells(cells: Sequence) -> list[Any]:
    """The cells of a column; bars on one scale, with zero on it, and bars of a histogram in pixels."""
    bars = [list(map(number, c["bar"])) for c in cells if isinstance(c, dict) and "bar" in c]
    ends = [0.0, *(end for bar in bars for end in bar if math.isfinite(end))]
    low, scale = min(ends), BAR / (max(ends) - min(ends) or 1)
    shown = []
    for cell in cells:
        if not isinstance(cell, dict):
            shown.append(cell)
        elif "bar" in cell:
            value, start, end = map(number, cell["bar"])
            points = ((x if math.isfinite(x) else 0) - low for x in (0, value, start, end))
            text, interval = measured(value, (start, end))
            pixels = [x * scale for x in points]
            shown.append({"bar": pixels, "width": BAR, "value": text, "interval": interval})
        else:
            counts = cell["histogram"]
            heights = [HISTOGRAM * count / (max(counts) or 1) for count in counts]
            shown.append({"heights": heights, "height": HISTOGRAM})
    return shown


def _confusion(section: Mapping) -> dict[str, Any]:
    """The matrix if it is small, and a row for each class: label, precision, recall, F1, examples.

    Precision and recall are pairs of texts, a share and its interval.
    """
    labels, counts = section["labels"], np.array(section["counts"], dtype=float)
    if counts.shape != (len(labels),) * 2 or not (counts >= 0).all() or not counts.sum():
        raise ValueError("not a table of counts, true class × predicted class")
    support, predicted, hits = counts.sum(axis=1), counts.sum(axis=0), counts.diagonal()
    with np.errstate(invalid="ignore"):  # NaN where there is nothing to divide by, not 0
        scores = np.array([hits / predicted, hits / support, 2 * hits / (support + predicted)])
    precisions, recalls = map(_describe_share, hits, predicted), map(_describe_share, hits, support)
    columns = precisions, recalls, scores[2].tolist(), support.tolist()
    table = list(zip(labels, *columns, strict=True))
    precision, recall, f1 = np.nanmean(scores, axis=1)
    wrong = [(i, j) for i, j in np.argwhere(counts).tolist() if i != j]
    wrong.sort(key=lambda pair: -counts[pair])
    return {
        "count": counts.sum(),
        "right": hits.sum(),
        "table": table,
        "worst": sorted(table, key=lambda row: math.inf if math.isnan(row[3]) else row[3]),
        "means": ("mean", (ratio(precision), ""), (ratio(recall), ""), f1, counts.sum()),
        "names": labels,
        "matrix": counts.tolist() if len(labels) <= MATRIX else [],
        "pairs": [
            (labels[i], labels[j], counts[i, j], counts[i, j] / support[i]) for i, j in wrong[:10]
        ],
    }


def _describe_share(part: float, whole: float) -> tuple[str, str]:
    """A share and its interval: Wilson's, as in `codec/intervals.py`."""
    if not whole:
        return "–", ""
    share, z = part / whole, 1.96**2 / whole
    middle, half = share + z / 2, math.sqrt(z * (share * (1 - share) + z / 4))
    return measured(share, ((middle - half) / (1 + z), (middle + half) / (1 + z)))


def _scatter(section: Mapping) -> dict[str, Any]:
    """The points; where x and y should be equal, also what is left between them."""
    x, y = (np.array(list(map(number, section[key]))) for key in "xy")
    usable = np.isfinite(x) & np.isfinite(y)
    if not usable.any():
        raise ValueError("no point is finite")
    x, y, equal = x[usable], y[usable], bool(section["equal"])
    low, middle, high = np.quantile(y - x, (0.05, 0.5, 0.95))
    return {
        "image": charts.scatter(x, y, equal),
        "x_label": section["x_label"],
        "y_label": section["y_label"],
        "shown": len(x),
        "of": section["of"],
        "lost": int((~usable).sum()),
        "spread": charts.histogram(y - x) if equal else None,
        **{"low": low, "middle": middle, "high": high},
    }


def _curves(section: Mapping) -> dict[str, Any]:
    counted = section.get("counted", "")
    return draw_lines(section["x"], section["x_label"], section["lines"], counted=counted)


def _gallery(section: Mapping, run_dir: Path) -> dict[str, Any]:
    """The items that have all their images, and the names of these."""
    items = []
    for item in section["items"][:IMAGES]:
        images = [_read_image(run_dir, name) for name in item["images"]]
        lines, edge = list(map(str, item["lines"])), EDGES.get(item["right"], "")
        items.append({"images": images, "lines": lines, "edge": edge})
    whole = [item for item in items if item["images"] and all(item["images"])]
    widest = max((len(item["images"]) for item in whole), default=1)
    columns = section.get("columns", ())  # older runs have none
    return {"items": whole, "columns": columns, "widest": widest, "lost": len(items) - len(whole)}


def _timelines(section: Mapping) -> dict[str, Any]:
    items = [
        {
            "rows": [_draw_signal(row) for row in item["rows"]],
            "span": list(map(number, item["span"])),
            "lines": list(map(str, item["lines"])),
            "edge": EDGES.get(item["right"], ""),
        }
        for item in section["items"][:IMAGES]
    ]
    return {"items": items, "x_label": section["x_label"], "size": SIGNAL}


def _draw_signal(row: Mapping) -> dict[str, Any]:
    """A row of a timeline as the path of its line, and rectangles (x, width, colour, opacity)."""
    width, height = SIGNAL
    values = np.array(list(map(number, row["values"])))
    known = values[np.isfinite(values)]
    ends = row["scale"] or ([known.min(), known.max()] if known.size else [])
    path, pen = [], "M"
    for i, value in enumerate(values):
        if not math.isfinite(value):
            pen = "M"  # a gap
            continue
        up = (value - ends[0]) / (ends[1] - ends[0] or 1)
        x, y = width * i / max(1, len(values) - 1), height - 2 - (height - 4) * min(max(up, 0), 1)
        path.append(f"{pen}{x:.1f} {y:.1f}")
        pen = "L"
    shades, step = list(map(number, row["shades"])), width / max(1, len(row["shades"]))
    ground = [
        (
            f"{step * i:.1f}",
            f"{step + 0.3:.1f}",
            BLUE if shade > 0 else ORANGE,
            f"{min(1, abs(shade)):.2f}",
        )
        for i, shade in enumerate(shades)
        if abs(shade) >= 0.02  # and so is a number
    ]
    return {"name": str(row["name"]), "path": " ".join(path), "ground": ground, "ends": ends}


def _read_image(run_dir: Path, name: Any) -> dict[str, Any] | None:
    """A data URI, and whether the image is so small that its pixels are to be seen; None: no PNG."""
    if str(name).startswith(DRAWN):
        return _show_png(base64.b64decode(name.removeprefix(DRAWN), validate=True))
    path = run_dir / str(name)
    if not re.fullmatch(GALLERY, str(name)) or not path.is_file() or path.is_symlink():
        return None
    return _show_png(path.read_bytes())


def _show_png(data: bytes) -> dict[str, Any] | None:
    if len(data) <= HEAD or not data.startswith(PNG):
        return None
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (HEAD - 8, HEAD - 4))
    uri = DRAWN + base64.b64encode(data).decode()
    return {"uri": uri, "pixels": max(width, height) < FEW}


KINDS = {
    "numbers": _numbers,
    "table": _table,
    "confusion": _confusion,
    "scatter": _scatter,
    "curves": _curves,
    "timelines": _timelines,
}
