"""What an error means: its line for the reader, and the exit code of the job."""

from __future__ import annotations

import errno
import os
import sys
import traceback

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
    if isinstance(error, SystemExit):
        last = traceback.extract_tb(error.__traceback__)[-1]
        print(
            f"error: {last.filename}:{last.lineno}: sys.exit({error.code!r}) ends the job; raise an "
            "error that says why",
            file=sys.stderr,
        )
        return CRASH if trained else MISTAKE
    if isinstance(error, KeyboardInterrupt):  # while it trains it makes a checkpoint instead
        print("interrupted", file=sys.stderr)
        return 130
    path, _, words = str(getattr(error, "message", "")).rpartition("; ")
    if path and words in map(os.strerror, errno.errorcode):  # so TensorFlow puts it
        error = OSError(None, words, path)
    if isinstance(error, OSError):  # a full disk, a directory that cannot be written
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    elif _is_lost(error):
        print(f"TensorFlow: {error.message.splitlines()[0]}", file=sys.stderr)
        print(
            "another replica, or a server, was lost: start the same command again to resume",
            file=sys.stderr,
        )
        return START_AGAIN
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
    return CRASH if trained else MISTAKE


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
