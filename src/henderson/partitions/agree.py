"""Processes agree on errors before they go on: what one cannot do, none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from henderson.errors import HendersonError, InterruptedRunError, Problem
from henderson.partitions.communicator import Communicator

T = TypeVar("T")


def agreed(communicator: Communicator, work: Callable[[], T]) -> T:
    """Return `work()`; where it raised a HendersonError on some ranks, all raise it, with the problems of all.

    `work` may be collective only if every rank takes part in all of it before it raises. Other errors are raised where
    they are. **Collective**.
    """
    error: HendersonError | None = None
    try:
        result = work()
    except InterruptedRunError:  # a signal came to this process alone
        raise
    except HendersonError as caught:
        error = caught
    told = communicator.gather_all(None if error is None else (type(error), error.problems))
    failed = [each for each in told if each is not None]
    if failed:
        raise failed[0][0](united([problems for _, problems in failed])) from error
    return result


def united(problems: list[tuple[Problem, ...]]) -> tuple[Problem, ...]:
    """Return the problems of all ranks, rank by rank, each once."""
    return tuple(dict.fromkeys(p for mine in problems for p in mine))
