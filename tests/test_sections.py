"""The sections of a report: what each kind holds, and what it refuses."""

import importlib.util
import json
import re

import numpy as np
import pytest

from conftest import PRODUCT

PATH = PRODUCT / "trainer" / "engine" / "sections.py"


@pytest.fixture(scope="module")
def sections():
    spec = importlib.util.spec_from_file_location("sections", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_sections_hold_what_json_holds(sections):
    made = [
        sections.numbers(
            "a",
            {"x": np.float32(0.1), "y": (float("nan"), "none"), "z": ((2, 1.5, np.float64(3)), "")},
        ),
        sections.table(
            "b",
            ["name", "n"],
            [
                ["one", np.int64(1)],
                ["two", None],
                [sections.bar(1, 0, np.nan), sections.histogram([2])],
            ],
        ),
        sections.confusion("c", ["u", "v"], np.eye(2, dtype=np.int32)),
        sections.scatter("d", np.arange(5000), np.arange(5000) / 2),
        sections.curves("e", [1, 2], {"f": np.float32([0.5, np.inf])}),
        sections.gallery("g", [{"images": ["gallery/a-1.png"], "lines": [1]}], columns=["image"]),
        sections.timelines(
            "h",
            [
                {
                    "rows": [
                        sections.signal("x", np.float32([0.1, np.nan]), scale=(0, 1)),
                        sections.signal("p", shades=np.linspace(-1, 1, 5000)),
                    ],
                    "span": (0, 2.5),
                    "right": np.bool_(True),
                }
            ],
            "s",
        ),
    ]
    again = json.loads(json.dumps(sections.check(made), allow_nan=False))
    assert [section["kind"] for section in again] == sections.KINDS
    numbers, table, confusion, scatter, curves, gallery, timelines = again
    assert [value["value"] for value in numbers["values"]] == [0.1, None, 2]
    assert [value["interval"] for value in numbers["values"]] == [None, None, [1.5, 3]]
    cells = [{"bar": [1, 0, None]}, {"histogram": [2]}]
    assert table["rows"] == [["one", 1], ["two", None], cells]
    assert confusion["counts"] == [[1, 0], [0, 1]]
    assert len(scatter["x"]) <= sections.POINTS < scatter["of"] == 5000
    assert scatter["y"][-1] == scatter["x"][-1] / 2
    assert curves["lines"] == {"f": [0.5, None]}
    assert gallery["items"] == [{"images": ["gallery/a-1.png"], "lines": ["1"], "right": None}]
    assert gallery["columns"] == ["image"]
    [item] = timelines["items"]
    assert item["span"] == [0, 2.5] and item["right"] is True and item["lines"] == []
    line = {"name": "x", "values": [0.1, None], "shades": [], "scale": [0, 1]}
    assert item["rows"][0] == line and item["rows"][1]["scale"] is None
    assert item["rows"][1]["shades"][0] == -1 and len(item["rows"][1]["shades"]) <= sections.ALONG
    for kind in sections.KINDS:  # the schema is written down
        assert re.search(rf"^    {kind} ", sections.__doc__, re.MULTILINE)


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s.numbers("a", {"x": "text"}),
        lambda s: s.numbers("a", {"x": [1, 2]}),
        lambda s: s.numbers("a", {"x": ((1, 2, "text"), "")}),
        lambda s: s.table("a", ["one"], [[1, 2]]),
        lambda s: s.table("a", ["one"], [[s.bar(1, "text", 2)]]),
        lambda s: s.confusion("a", ["u"], [[1, 2]]),
        lambda s: s.confusion("a", ["u"], [[-1]]),
        lambda s: s.confusion("a", ["u"], [[0.5]]),
        lambda s: s.scatter("a", [1], [1, 2]),
        lambda s: s.scatter("a", [[1]], [[2]]),
        lambda s: s.curves("a", [1], {"f": [1, 2]}),
        lambda s: s.gallery("a", [{"images": ["../a.png"]}]),
        lambda s: s.gallery("a", [{"lines": ["no images"]}]),
        lambda s: s.gallery("a", [{"images": [3]}]),
        lambda s: s.gallery("a", [{"images": ["gallery/a-1.png"]}], columns=["image", "mask"]),
        lambda s: s.timelines("a", [{"rows": [], "span": (0, 1)}]),
        lambda s: s.timelines("a", [{"rows": [s.signal("x", ["text"])], "span": (0, 1)}]),
        lambda s: s.check(None),
        lambda s: s.check([{"kind": "other"}]),
        lambda s: s.check([3]),
        lambda s: s.check([{"kind": []}]),
    ],
)
def test_what_a_kind_cannot_hold_is_refused(sections, make):
    with pytest.raises(ValueError, match="."):
        make(sections)


def test_the_report_knows_no_problem():
    folder = PRODUCT / "launcher/report"
    files = [*folder.glob("report.*"), *folder.glob("sections.*")]
    assert len(files) >= 4
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search("classification|regression|picture|mistake", text, re.IGNORECASE), path
        assert len(text.splitlines()) <= 320
