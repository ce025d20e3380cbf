"""Tasks for the workers of a cluster in tests: they must be importable there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from henderson.errors import InputFileError, Problem


def add(shared: tuple[int, ...], i: int) -> tuple[int, int]:
    """Return the sum of both, and the process."""
    return sum(shared) + i, os.getpid()


def die_once(marker: Path, i: int) -> int:
    """Return i; the first call ends its worker as the system does when memory is short."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return i
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die(i: int) -> int:
    """End the worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    return i


def refuse(i: int) -> int:
    """Raise what a task raises about its file."""
    if i == 2:
        raise InputFileError([Problem("no good", file="a.csv", line=3), Problem("nor this", file="b.csv")])
    return i
