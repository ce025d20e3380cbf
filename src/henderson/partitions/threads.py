"""A small team of persistent threads that work side by side on kernels that release the GIL."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from henderson.partitions import scratch

T = TypeVar("T")


class Team:
    """`n_threads` threads, of which the caller is one; `run` is a fork and a join.

    With one thread nothing is started and everything runs where it is called. A phase costs some tens of microseconds,
    so it should hold a whole pass over a partition. Close the team, or use it as a context manager.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = max(1, n_threads)
        self._inbox: list[SimpleQueue[Callable[[], None] | None]] = []
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def run(self, work: Callable[[int], T], n_parts: int | None = None) -> list[T]:
        """Return [work(0), ..., work(n_parts - 1)], part k computed by thread k modulo n_threads.

        Every part has ended when this returns or raises; the first error is raised.
        """
        n_parts = self.n_threads if n_parts is None else n_parts
        results: list[Any] = [None] * n_parts
        n_threads = max(1, min(self.n_threads, n_parts))
        if n_threads > 1 and not self._threads:
            self._start()

        def share(first: int) -> None:
            for part in range(first, n_parts, n_threads):
                results[part] = work(part)
                scratch.look()  # the watch may have to wait for a core that this thread keeps busy

        for worker in range(1, n_threads):
            self._inbox[worker - 1].put(lambda worker=worker: share(worker))  # type: ignore[misc]
        error: BaseException | None = None
        try:
            share(0)
        except BaseException as caught:
            error = caught
        for _ in range(1, n_threads):
            error = self._done.get() or error
        if error is not None:
            raise error
        return results

    def close(self) -> None:
        """End the threads; the team can still run, and starts new ones when it does."""
        for inbox in self._inbox:
            inbox.put(None)
        for thread in self._threads:
            thread.join()
        self._inbox.clear()
        self._threads.clear()

    def __enter__(self) -> Team:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        for number in range(1, self.n_threads):
            inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
            # in the context of the caller: where NumPy has its memory from
            serve = (contextvars.copy_context().run, (self._serve, inbox))
            thread = threading.Thread(target=serve[0], args=serve[1], name=f"henderson-{number}", daemon=True)
            self._inbox.append(inbox)
            self._threads.append(thread)
            thread.start()

    def _serve(self, inbox: SimpleQueue[Callable[[], None] | None]) -> None:
        while (job := inbox.get()) is not None:
            caught = None
            try:
                job()
            except BaseException as error:
                caught = error
            del job  # and the vectors that it knows, while the thread waits
            self._done.put(caught)
            del caught


def even_bounds(n: int, n_parts: int) -> Sequence[int]:
    """Return n_parts + 1 bounds that cut range(n) into parts whose sizes differ by one at most."""
    return [n * k // n_parts for k in range(n_parts + 1)]
