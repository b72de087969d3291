"""The one error that a user can correct."""


class JobError(Exception):
    """A mistake that a person can correct: shown in one line, without a traceback."""
