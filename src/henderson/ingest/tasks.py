"""The one place that imports Dask: many independent tasks, a few at a time.

A task is a top-level function of small arguments that can be pickled (paths, byte ranges, declarations); what it
makes it writes to disk, what it returns is small. Threads run them here, as the work is done by code that releases
the GIL; a distributed cluster can run the same tasks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import dask
from dask.callbacks import Callback

from henderson.errors import InputFileError, Problem

Progress = Callable[[str, int, int], None]
R = TypeVar("R")


def run_tasks(
    stage: str,
    function: Callable[..., R],
    arguments: Iterable[tuple[Any, ...]],
    workers: int,
    progress: Progress | None,
) -> list[R]:
    """Return ``[function(*a) for a in arguments]``, at most `workers` of them at any time.

    `progress` is told of each.
    """
    # the arguments stay inside a partial, where Dask does not look for collections in them
    calls = [dask.delayed(partial(function, *a), pure=False, traverse=False)() for a in arguments]
    lock = threading.Lock()
    done = 0

    def told(*_: Any) -> None:
        nonlocal done
        with lock:
            done += 1
            if progress is not None:
                progress(stage, min(done, len(calls)), len(calls))

    if progress is not None:
        progress(stage, 0, len(calls))
    with Callback(posttask=told):
        return list(dask.compute(*calls, scheduler="threads", num_workers=max(1, workers), optimize_graph=False))


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise `InputFileError` with the problems, each once, in the order of files and lines.

    Return if there are none.
    """
    unique = list(dict.fromkeys(problems))
    if unique:
        raise InputFileError(unique)


def shift(problem: Problem, lines: int) -> Problem:
    """Return the problem with its line, which counts from 0 in its block, counted from 1 in the file.

    `lines` go before.
    """
    return problem if problem.line is None else replace(problem, line=problem.line + lines + 1)
