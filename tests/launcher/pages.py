"""Pages that the launcher writes, as their readers see them."""

from __future__ import annotations

import html
import re
from pathlib import Path

from launcher.report import report


def page_of(run_dir: Path) -> str:
    return report.write(run_dir).read_text(encoding="utf-8")


def words_of(page: str) -> str:
    """What a reader sees: no tags, no images, single spaces."""
    body = re.sub(r"<[^>]*>", " ", page[page.index("<body>") :])
    return re.sub(r"\s+", " ", html.unescape(body))
