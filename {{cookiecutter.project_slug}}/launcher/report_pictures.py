"""The pictures of a run, as its report shows them: samples, the worst mistakes, what was looked at.

The trainer leaves them as small PNG files in the run's directory and tells of them in
evaluation.json. Both may be torn, or come from anywhere: no other file is ever read.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher import runs

FOLDER = r"pictures/[\w-]+\.png"  # in the run's directory, and no links out of it
PNG, HEAD = b"\x89PNG\r\n\x1a\n", 24  # bytes, in which stand the width and the height
MOST, LARGEST = 48, 1 << 20  # pictures of a kind on the page; bytes of each
FEW = 64  # pixels a side, below which they are enlarged to squares that one can tell apart


def content(run: runs.Run, gaps: list[str]) -> dict[str, Any]:
    """What the page says of pictures; lists are empty where the run has none."""
    told = run.evaluation.get("saliency", {})
    samples, lost = _shown(run.path, run.evaluation.get("samples"), ("picture",))
    worst, more = _shown(run.path, run.evaluation.get("mistakes"), ("picture",))
    maps, most = _shown(run.path, told.get("maps"), ("picture", "map"))
    if lost + more + most:
        gaps.append(f"{lost + more + most} of its pictures are not there, or are no pictures.")
    errors = [runs.number(found.get("error")) for found in maps]
    return {
        "samples": samples,
        "worst": worst,
        "maps": maps,
        "error": max(errors, default=None),  # the largest
        "note": told["note"] if isinstance(told.get("note"), str) else None,
    }


def _shown(run_dir: Path, listed: Any, keys: tuple[str, ...]) -> tuple[list[dict[str, Any]], int]:
    """Entries with the images that they name, and how many have lost theirs.

    Of mistakes in rows of a table no pictures are told: that is no loss.
    """
    listed = listed if isinstance(listed, list) else []
    entries = [found for found in listed if isinstance(found, dict) and keys[0] in found]
    shown = []
    for found in entries[:MOST]:
        images = {key: _image(run_dir, found.get(key)) for key in keys}
        if all(images.values()):
            shown.append({**_words(found), **images})
    return shown, len(entries[:MOST]) - len(shown)


def _words(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "truth": str(found.get("truth", "–")),
        "prediction": str(found.get("prediction", "–")),
        "right": found.get("truth") == found.get("prediction"),
        "share": found.get("prediction_probability"),
        "truth_share": found.get("truth_probability"),
        "name": str(found.get("name", "")),
        "error": found.get("error"),
    }


def _image(run_dir: Path, name: Any) -> dict[str, Any] | None:
    """A data URI, and whether the picture is so small that its pixels are to be seen."""
    path = run_dir / name if isinstance(name, str) and re.fullmatch(FOLDER, name) else None
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
