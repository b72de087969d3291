"""How a job ends: politely after a signal, or with an error's line and exit code."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainer.engine.runtime import JobError

CRASH = 1
MISTAKE = 2  # as argparse ends: starting again would not help
START_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


def explain(error: BaseException, trained: bool) -> int:
    """Prints why the job has ended; returns its exit code.

    Args:
        trained: this process has trained; before its first step an error is taken for a mistake in
            code, flags or machine, which would come again.
    """
    if isinstance(error, JobError):
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    if isinstance(error, KeyboardInterrupt):  # while it trains it makes a checkpoint instead
        print("interrupted", file=sys.stderr)
        return 130
    path, _, words = str(getattr(error, "message", "")).rpartition("; ")
    if path and words in map(os.strerror, errno.errorcode):  # so TensorFlow puts it
        error = OSError(None, words, path)
    if isinstance(error, SystemExit):
        last = traceback.extract_tb(error.__traceback__)[-1]
        call = f"{last.filename}:{last.lineno}: sys.exit({error.code!r})"
        print(f"error: {call} ends the job; raise an error that says why", file=sys.stderr)
    elif isinstance(error, OSError):  # a full disk, a directory that cannot be written
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    elif _is_lost(error):
        print(f"TensorFlow: {error.message.splitlines()[0]}", file=sys.stderr)
        lost = "another replica, or a server, was lost"
        print(f"{lost}: start the same command again to resume", file=sys.stderr)
        return START_AGAIN
    else:
        traceback.print_exception(error)
    return CRASH if trained else MISTAKE


def shorten(error: Exception) -> str:
    """An error's last line: before it TensorFlow shows the code that it was in."""
    lines = traceback.format_exception_only(error)[-1].strip().splitlines()
    return " ".join(lines[-1].split())[:200]


def _is_lost(error: Exception) -> bool:
    """Whether TensorFlow's error means that something at the other end of a wire has gone."""
    if type(error).__module__.partition(".")[0] != "tensorflow":
        return False
    from tensorflow import errors

    lost = (errors.UnavailableError, errors.AbortedError, errors.DeadlineExceededError)
    if isinstance(error, lost):
        return True
    # Any operation may get the error of the heartbeat of those whom a lost replica left behind.
    return isinstance(error, errors.InvalidArgumentError) and "Coordination" in error.message


@contextmanager
def note_termination() -> Iterator[Callable[[], bool]]:
    """Notes a SIGTERM or a Ctrl-C inside, so that a checkpoint is written before the process ends.

    Yields a function that says whether one has come. A second one has its usual effect.
    """
    received = []

    def note(*_):
        received.append(True)
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        restore()
