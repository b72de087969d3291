"""What a report shows: sections. `outputs.py` makes them here, the launcher draws them by their kind.

A section is a dictionary that JSON can hold: `kind`, `title`, `text` (plain, one paragraph a line; a
line that begins with "warning: " stands at the top of the page) and

    numbers    values: [{label, value, note,        each large, beside the others; `interval` is
               interval: [low, high] or null}]      where 95 % of such values would lie
    table      columns: [name], rows: [[cell]]      a cell is a text, a number, null,
                                                    {bar: [value, low, high]}, a bar with its interval,
                                                    or {histogram: [n]}, how many values lie where
    confusion  labels: [name], counts: [[n]]        counts[true class][predicted class]
    scatter    x, y: [number], x_label, y_label,    `of`: how many there were before the sample;
               of: n, equal: bool                   `equal`: x and y should be equal, as a prediction
                                                    and the truth: the page draws that line, and how
                                                    y - x is spread
    curves     x: [number], lines: {name: [number]}, x_label
    gallery    items: [{images: [path], lines: [text], right: bool or null}], columns: [name]
               paths of PNG files from `context.save_image`, or data URIs of PNGs; the first line stands in bold; `right`
               gives a blue or an orange edge; `columns` name the images of an item, from the left
    timelines  items: [{rows: [{name, values,       what happens from x = `span[0]` to `span[1]`, a row
               shades, scale: [low, high] or        below the other: `values` are a line, drawn from
               null}], span: [low, high],           `scale` or from its ends; `shades` colour the ground
               lines: [text], right}], x_label      below, from orange at -1 to blue at 1; `lines`, `right`
                                                    as in a gallery

A number that is not finite may stand as null. Each function raises ValueError on values that its
kind cannot hold.
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

POINTS = 2000  # of a scatter plot; more would be a spot
ALONG = 400  # of a timeline's line; more would not be seen
Numbers = Sequence[float]
IMAGE = re.compile(r"gallery/[\w-]+\.png", re.ASCII)
DRAWN = "data:image/png;base64,"  # begins an image that is in no file


def numbers(title: str, values: Mapping, text: str = "") -> dict:
    """A few large numbers: {label: value}, or {label: (value, note)}.

    A value with its interval is (value, low, high), as `codec/intervals.py` gives it.
    """
    listed = []
    for label, value in values.items():
        value, note = value if isinstance(value, tuple) else (value, "")
        value, *interval = _numbers(value) if isinstance(value, tuple) else (_number(value),)
        interval = interval if interval and None not in interval else None
        listed.append({"label": str(label), "value": value, "note": note, "interval": interval})
    return _section("numbers", title, text, values=listed)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence], text: str = "") -> dict:
    """Rows of cells: texts, numbers, None, or what `bar` and `histogram` make."""
    rows = [[c if isinstance(c, str | dict) else _number(c) for c in row] for row in rows]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(
                f"table {title!r}: {len(row)} cells in a row of {len(columns)} columns"
            )
    return _section("table", title, text, columns=[*map(str, columns)], rows=rows)


def bar(value: float, low: float, high: float) -> dict:
    """A cell: a value and its interval, drawn on one scale for the whole column."""
    return {"bar": _numbers([value, low, high])}


def histogram(counts: Sequence[int]) -> dict:
    """A cell: how many values lie in each of a few equal steps from the lowest to the highest."""
    return {"histogram": _numbers(counts)}


def confusion(title: str, labels: Sequence[str], counts, text: str = "") -> dict:
    """How often each class was predicted as each: counts [true class, predicted class]."""
    counts, size = np.asarray(counts), len(labels)
    if counts.shape != (size, size):
        raise ValueError(f"confusion {title!r}: counts {counts.shape} for {size} labels")
    if not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ValueError(f"confusion {title!r}: counts must be whole numbers from 0")
    return _section("confusion", title, text, labels=[*map(str, labels)], counts=counts.tolist())


def scatter(
    title: str,
    x: Numbers,
    y: Numbers,
    x_label: str = "truth",
    y_label: str = "prediction",
    equal: bool = False,
    of: int | None = None,
    text: str = "",
) -> dict:
    """Points, of which every n-th is kept where there are more than POINTS."""
    x, y = _numbers(x), _numbers(y)
    if len(x) != len(y):
        raise ValueError(f"scatter {title!r}: {len(x)} values x, but {len(y)} values y")
    every = slice(None, None, max(1, -(-len(x) // POINTS)))
    points = {"x": x[every], "y": y[every], "of": len(x) if of is None else int(of)}
    labels = {"x_label": x_label, "y_label": y_label}
    return _section("scatter", title, text, **points, **labels, equal=equal)


def curves(
    title: str, x: Numbers, lines: Mapping[str, Numbers], x_label: str = "", text: str = ""
) -> dict:
    """Lines over the same x, at most six that a reader can tell apart."""
    x, lines = _numbers(x), {str(name): _numbers(values) for name, values in lines.items()}
    for name, values in lines.items():
        if len(values) != len(x):
            raise ValueError(f"curves {title!r}: {name} has not {len(x)} values, as x has")
    return _section("curves", title, text, x=x, lines=lines, x_label=x_label)


def gallery(
    title: str, items: Sequence[Mapping], text: str = "", columns: Sequence[str] = ()
) -> dict:
    """Images with a few lines below: {"images": paths, "lines": texts, "right": bool or None}.

    `columns` name the images of an item, such as ("image", "mask").
    """
    listed = []
    for item in items:
        images = [*map(str, item.get("images", ()))]
        files = [image for image in images if not image.startswith(DRAWN)]
        if not images or not all(map(IMAGE.fullmatch, files)):
            raise ValueError(f"gallery {title!r}: images {images} are not from context.save_image")
        if columns and len(columns) != len(images):
            counts = f"{len(images)} images in an item of {len(columns)} columns"
            raise ValueError(f"gallery {title!r}: {counts}")
        listed.append({"images": images, **_describe(item)})
    return _section("gallery", title, text, items=listed, columns=[*map(str, columns)])


def timelines(title: str, items: Sequence[Mapping], x_label: str = "", text: str = "") -> dict:
    """Signals over time: {"rows": what `signal` makes, "span": (low, high), "lines", "right"}."""
    listed = []
    for item in items:
        if not item["rows"] or not all(isinstance(row, dict) for row in item["rows"]):
            raise ValueError(f"timelines {title!r}: an item without rows of sections.signal")
        shown = {"rows": [*item["rows"]], "span": _numbers(item["span"])}
        listed.append({**shown, **_describe(item)})
    return _section("timelines", title, text, items=listed, x_label=x_label)


def _describe(item: Mapping) -> dict:
    """What stands below an item of a gallery or of timelines, and whether its answer is right."""
    right = item.get("right")
    lines = [*map(str, item.get("lines", ()))]
    return {"lines": lines, "right": right if right is None else bool(right)}


def signal(name: str, values: Numbers = (), shades: Numbers = (), scale: Numbers = ()) -> dict:
    """A row of a timeline; of long ones every n-th value is kept."""
    values, shades = (
        _numbers(np.asarray(kept)[:: max(1, -(-len(kept) // ALONG))]) for kept in (values, shades)
    )
    return {"name": str(name), "values": values, "shades": shades, "scale": _numbers(scale) or None}


KINDS = [made.__name__ for made in (numbers, table, confusion, scatter, curves, gallery, timelines)]


def check(sections) -> list[dict]:
    """Returns what `outputs.py` made; raises a ValueError if it is not a list of sections."""
    if not isinstance(sections, list):
        raise ValueError(f"expected a list of sections, not {type(sections).__name__}")
    for section in sections:
        if not isinstance(section, dict) or section.get("kind") not in KINDS:
            raise ValueError(f"expected sections of engine/sections.py, not {section!r:.60}")
    return sections


def _section(kind: str, title: str, text: str, **values) -> dict:
    return {"kind": kind, "title": str(title), "text": str(text), **values}


def _number(value) -> float | int | None:
    """A number as JSON holds it: a float32 with its own digits, nothing that is not finite."""
    if value is None:
        return None
    array = np.asarray(value)
    if array.shape or array.dtype.kind not in "biuf":
        raise ValueError(f"{value!r:.40} is not a number")
    value = float(str(array)) if array.dtype.kind == "f" else array.item()
    return value if math.isfinite(value) else None


def _numbers(values) -> list:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"expected a list of numbers, not an array {array.shape}")
    return [_number(value) for value in array]
