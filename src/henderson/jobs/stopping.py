"""Signals that ask a run to stop: SIGUSR1, which batch systems send before the time limit, and SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from henderson.errors import InterruptedRunError

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)


class Stopping:
    """What a signal does: it sets `flag` for one who looks at it (`patient`), else it raises `InterruptedRunError`."""

    def __init__(self) -> None:
        self.flag = threading.Event()
        self.patient = False

    def handle(self, number: int, _: FrameType | None) -> None:
        """Take a signal."""
        first = not self.flag.is_set()
        self.flag.set()
        if first and not self.patient:
            name = signal.Signals(number).name
            raise InterruptedRunError(f"stopped by {name} before the solve; the same command goes on where it was")


@contextmanager
def listening() -> Iterator[Stopping]:
    """Yield what the signals of `SIGNALS` act upon; in other threads than the main one they do what they did."""
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = {number: signal.signal(number, stopping.handle) for number in SIGNALS}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
