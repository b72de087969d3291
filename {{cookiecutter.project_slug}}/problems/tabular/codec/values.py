"""What a text or a JSON value of a table means, one at a time: for clients, headers and messages.

The trainer reads whole files by the same rules, with pyarrow.
"""

from __future__ import annotations

import re
import string

# What pyarrow reads as a number. Python also takes 1_000 and ٣, which no other tool does.
NUMBER = r"[-+]?((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|inf|infinity|nan)"


def is_number(text: str) -> bool:
    return bool(re.fullmatch(NUMBER, text, re.ASCII | re.IGNORECASE))


def strip(text: str) -> str:
    """The text without the white space of ASCII around it; other blanks are part of a value."""
    return text.strip(string.whitespace)
