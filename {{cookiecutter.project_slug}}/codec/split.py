"""Which groups are held out: by a hash of their names, so that every machine chooses the same."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable


def name_group(text: str) -> str:
    """The group that a text names: 7, 7.0 and 007 are one; so is a letter however it is composed.

    A table writes 7.0 in one file and 7 in another, depending on whether a value is missing there.
    """
    text = unicodedata.normalize("NFC", text.strip())
    number = re.fullmatch(r"([-+]?)0*(\d+)(?:\.0*)?", text, re.ASCII)
    return number[1].removeprefix("+") + number[2] if number else text


def hash_text(text: str) -> int:
    """A number below 2**64 that spreads texts evenly, in every process and on every machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def rank(groups: Iterable[str]) -> list[str]:
    """The groups, each once, in the order of their hashes: the first ones are held out.

    A draw for each group on its own would often hold out none of six subjects, or five.
    """
    return sorted(set(groups), key=lambda group: (hash_text(group), group))


def hold_out(groups: Iterable[str], share: float, fold: int = 1) -> set[str]:
    """The groups that are held out: this share of them, but at least one, and never all.

    Each `fold`, from 1 to 1 / share, holds out others; together all, of that many groups or more.
    """
    ranked = rank(groups)
    count = len(ranked) * share
    if fold > 1:
        return set(ranked[round(count * (fold - 1)) : round(count * fold)])
    return set(ranked[: max(1, min(len(ranked) - 1, round(count)))])
