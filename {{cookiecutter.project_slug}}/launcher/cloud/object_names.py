"""Which objects of a bucket may become files: an object may have any name, a file may not.

The rules are the same on every system, so that a folder fetched on one machine fits on all others.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable

from launcher.common.files import PARTIAL

MOST_BYTES = 255 - len(PARTIAL)  # of a part; 255 is what Linux, macOS and Windows allow
WINDOWS_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE
)
CONTROL = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories: control, half a pair, line breaks
IGNORED = "Cf"  # invisible; some file systems skip such characters when they compare names


def find_faults(names: Iterable[str]) -> list[str]:
    """Check all objects of a folder, by their names within it.

    Returns:
        A text for each name that must not be written to the disk: it could leave its folder, is not
        legal on some system, or would be written over another object of the folder.
    """
    faults = []
    known: dict[str, tuple[str, bool, str]] = {}  # folded: (path, whether it is a file, object)
    for name in sorted(names):
        parts = name.split("/")
        last = len(parts) - 1
        reasons = (_check_part(part, i == last) for i, part in enumerate(parts))
        if reason := next(filter(None, reasons), None):
            faults.append(f"{_shorten(name)} {reason}")
            continue
        folded = ""
        for i, part in enumerate(parts):
            path, is_file = "/".join(parts[: i + 1]), i == last
            folded += f"/{_fold(part)}"
            *same, other = known.setdefault(folded, (path, is_file, name))
            if same != [path, is_file]:
                faults.append(f"{_shorten(name)} cannot be written beside {_shorten(other)}")
                break
    for folded, (_, is_file, name) in known.items():
        if is_file and (other := known.get(folded + PARTIAL)):
            faults.append(f"{_shorten(other[2])} cannot be written beside {_shorten(name)}")
    return faults


@functools.lru_cache(4096)
def _check_part(part: str, is_last: bool) -> str | None:
    """What is wrong with a part of a name, between two slashes."""
    if part in ("", ".", ".."):
        return f"has the part {part!r}"
    if match := re.search(r'[\\:*?"<>|]', part):
        return f"has the character {match[0]}"
    if not part.isprintable() and any(unicodedata.category(c) in CONTROL for c in part):
        return "has a control character"
    if part[-1] in ". ":
        return "has a part that ends in a dot or a blank"
    if WINDOWS_DEVICE.fullmatch(part):
        return f"has the part {part!r}, a device of Windows"
    if (part[0] == "." and not is_last) or _fold(part) in (".git", "git~1"):
        return f"has the part {part!r}, a hidden folder"
    if len(part.encode()) > MOST_BYTES:
        return f"has a part of {len(part.encode())} bytes, more than {MOST_BYTES}"
    return None


@functools.lru_cache(4096)
def _fold(part: str) -> str:
    """Equal for names that are one file on macOS or Windows: case, accents, invisible characters."""
    if part.isascii():
        return part.lower()
    visible = "".join(c for c in part if unicodedata.category(c) != IGNORED)
    plain = unicodedata.normalize("NFD", visible).casefold()
    return unicodedata.normalize("NFD", plain)


def _shorten(name: str) -> str:
    """As Python writes it, on one line; of a long name its beginning."""
    return repr(name if len(name) <= 120 else name[:100] + "…")
