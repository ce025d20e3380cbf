"""Seconds by the clock, and as they would be if no other program wanted the processors."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

THREADS = Path("/proc/self/task")


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._used = time.process_time()
        self._waited = waited()

    @property
    def seconds(self) -> float:
        """Return the seconds that have gone by."""
        return time.perf_counter() - self._start

    @property
    def alone(self) -> float:
        """Return those seconds less what the threads have waited for processors on which others ran.

        As many threads as ran or waited on average are taken to have waited alike. Where the system does not tell how
        long they waited (Linux does) these are the seconds by the clock.
        """
        seconds = self.seconds
        waiting = max(0.0, waited() - self._waited)
        wanted = time.process_time() - self._used + waiting
        return max(0.0, seconds - waiting / max(1.0, wanted / seconds)) if seconds > 0.0 else 0.0


def waited() -> float:
    """Return how long the threads of this process have been ready to run and did not, all together, in seconds."""
    total = 0
    with suppress(OSError):
        for thread in THREADS.iterdir():
            with suppress(OSError, ValueError, IndexError):  # it has ended
                total += int((thread / "schedstat").read_text().split()[1])
    return total * 1e-9
