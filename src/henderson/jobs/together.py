"""Several processes that speak with one voice: one tells what went wrong, all end, with one exit code."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from henderson.jobs.failures import exit_code_of
from henderson.partitions.communicator import Communicator

T = TypeVar("T")

PATIENCE = 1.0  # seconds in which ranks that all fail do so
SPEECH = 30.0  # seconds in which an error is told, and a job requeued
LAST_WORDS = 0.3  # seconds that a launcher needs to pass on what was printed
FAILURE = "failure.txt"

Say = Callable[[BaseException], None]


class Team(Communicator, Protocol):
    """Processes that can also end each other."""

    def together(self, seconds: float, value: T) -> list[T] | None:
        """Return the value of every rank if all call this within `seconds`, else None."""

    def abort(self, exit_code: int) -> None:
        """End all processes."""


class FoundElsewhereError(Exception):
    """Another rank has failed in work that was done for all, and tells so."""


def only_first(communicator: Communicator, work: Callable[[], T]) -> T:
    """Return on all ranks what `work` returned on rank 0; the others wait asleep. **Collective**.

    If it fails, rank 0 raises its error and the others `FoundElsewhereError`.
    """
    error: BaseException | None = None
    outcome: tuple[bool, T | None] | None = None
    if communicator.rank == 0:
        try:
            outcome = (True, work())
        except Exception as caught:
            error, outcome = caught, (False, None)
    done, value = communicator.broadcast(outcome)
    if error is not None:
        raise error
    if not done:
        raise FoundElsewhereError
    return value  # type: ignore[return-value]


@contextmanager
def one_voice(communicator: Team, out: Path, say: Say) -> Iterator[None]:
    """Let an error in the block end all ranks, whoever has it: see `end_together`. **Collective**."""
    if communicator.rank == 0:
        with suppress(OSError):
            (out / FAILURE).unlink()
    communicator.barrier()
    try:
        yield
    except BaseException as error:
        end_together(communicator, out, error, say)


def end_together(communicator: Team, out: Path | None, error: BaseException, say: Say) -> NoReturn:
    """End all ranks because of `error` on this one, with one message and one exit code, within seconds.

    If all ranks have failed, the first with an error of its own says it and all exit in order. If others still work,
    perhaps inside a collective, the first that fails (it makes the file `FAILURE` in `out`) says it and ends them all.
    `say` prints an error.
    """
    code = 0 if isinstance(error, FoundElsewhereError) else exit_code_of(error)
    everyone = communicator.together(PATIENCE, code)
    if everyone is not None:
        speaker = next((rank for rank, theirs in enumerate(everyone) if theirs), 0)
        if communicator.rank == speaker:
            say(error)
            left = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
            if left:  # threads of an interrupted stage might never end
                _end_now(communicator, code)
        communicator.together(SPEECH, 0)  # launchers may end all processes when the first exits
        sys.exit(everyone[speaker] or 1)
    if out is not None and not _is_first(out, communicator.rank, error):
        time.sleep(30 * PATIENCE)  # the first one ends this process, too
    say(error)
    _end_now(communicator, code)


def _end_now(communicator: Team, code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(LAST_WORDS)
    communicator.abort(code or 1)
    sys.exit(code or 1)


def _is_first(out: Path, rank: int, error: BaseException) -> bool:
    """Return whether no other rank has failed before, as far as can be told."""
    try:
        descriptor = os.open(out / FAILURE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    except OSError:
        return True
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"rank {rank}: {type(error).__name__}: {error}\n")
    return True
