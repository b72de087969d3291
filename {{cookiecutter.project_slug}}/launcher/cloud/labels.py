"""Labels, by which a job is found again and its bill is read: few letters, in lower case."""

from __future__ import annotations

import getpass
import re
import unicodedata
from collections.abc import Mapping

LONGEST = 63  # characters
MOST = 64  # labels of a resource


def legal(text: object) -> str:
    """A text as the value of a label: [a-z0-9_-], at most 63 of them.

    Letters lose their accents, everything else becomes an underscore.
    """
    plain = unicodedata.normalize("NFKD", str(text).casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9_-]+", "_", plain)[:LONGEST].strip("_-")


def legal_key(text: object) -> str:
    """The same for its name, which begins with a letter; "" where no letter is left."""
    return re.sub(r"^[^a-z]+", "", legal(text))


def join(*several: Mapping) -> dict[str, str]:
    """Labels that are legal; of two with one name the later one counts."""
    joined = {legal_key(key): legal(value) for part in several for key, value in part.items()}
    joined.pop("", None)
    return dict(list(joined.items())[-MOST:])


def user() -> str:
    """Who is logged in on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        return "unknown"
