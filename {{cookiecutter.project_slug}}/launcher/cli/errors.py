"""What every verb does with an error: its lines on stderr, and an exit code; no traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from launcher.common.document import SpecError


def run(verb: Callable[[], int], interrupted: str = "") -> int:
    """Run a verb and return its exit code: 2 after an error, 130 after Ctrl-C.

    Args:
        interrupted: a line to print after Ctrl-C.
    """
    try:
        return verb()
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SpecError, OSError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if interrupted:
            print(interrupted, file=sys.stderr)
        return 130
