"""Blocks made by several threads, handed on in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


def in_order(function: Callable[[A], R], arguments: Iterable[A], threads: int | None = None) -> Iterator[R]:
    """Yield ``function(a) for a in arguments``, made by `threads` threads (default: the cores).

    At most `threads` + 1 results are in memory at any time. Threads help where NumPy and kernels release the GIL.
    """
    n = threads or len(os.sched_getaffinity(0))
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(n, thread_name_prefix="blocks") as pool:
        try:
            for argument in arguments:
                waiting.append(pool.submit(function, argument))
                if len(waiting) > n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
