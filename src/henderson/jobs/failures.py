"""What an error means to the one who runs the program."""

from __future__ import annotations

import click

from henderson.errors import HendersonError, Problem, ResourceError, UsageError

STOPPED_BY_HAND = 130


def known(error: BaseException) -> HendersonError | None:
    """Return the error as one of ours: lack of memory, disk or permission is one, too; None for a bug."""
    if isinstance(error, HendersonError):
        return error
    if isinstance(error, MemoryError):
        return ResourceError("out of memory; use a machine with more, or fewer threads")
    if isinstance(error, OSError):
        remedy = "look at its permissions and at the free disk space, or give another --out or --store"
        return ResourceError(Problem(error.strerror or str(error), file=error.filename, remedy=remedy))
    return None


def exit_code_of(error: BaseException) -> int:
    """Return the exit code: that of our own errors, 130 if stopped by hand, 1 for a bug."""
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return STOPPED_BY_HAND
    if isinstance(error, click.ClickException):
        return UsageError.exit_code
    ours = known(error)
    return 1 if ours is None else ours.exit_code
