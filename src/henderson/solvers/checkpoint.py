"""Checkpoints of a solve: every rank writes its own file, and a marker makes them valid, all of them or none."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import ResourceError
from henderson.partitions.communicator import Communicator

log = logging.getLogger(__name__)

FORMAT = 2
LOOK_EVERY = 0.5  # seconds between two looks at clock and flag
MOST = 20  # iterations between them
MARKER = "checkpoint.json"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """A moment of an iteration.

    arrays: by name, one array of owned elements per partition of this process; numbers: the scalars of the recurrence;
    history: relative residual norms so far, the first before any iteration.
    """

    arrays: Mapping[str, Sequence[Floats]]
    numbers: Mapping[str, float]
    history: Sequence[float] = field(default=())


@dataclass(frozen=True)
class Decision:
    """What all ranks do now: write a checkpoint, and stop after it."""

    save: bool = False
    stop: bool = False


class Checkpointing:
    """The checkpoints of one solve, in one folder.

    Parameters
    ----------
    folder
        Seen by all ranks; made when the first checkpoint is written.
    every
        Seconds between two checkpoints.
    stop
        Set by a signal handler: write a checkpoint at once, and stop.
    communicator
        The ranks; `Alone()` for the embedded engine.
    label
        What identifies model and store; a checkpoint with another label is not used.

    """

    def __init__(
        self, folder: Path, every: float, stop: threading.Event, communicator: Communicator, label: str = ""
    ) -> None:
        self.folder = folder
        self.communicator = communicator
        self._every = every
        self._stop = stop
        self._label = label
        self._saved = self._looked = time.monotonic()
        self._next_look = 0
        self._last_look = 0
        self._generation = 0

    def decide(self, iteration: int) -> Decision:
        """Return what to do after `iteration`: the same on all ranks. **Collective**.

        The ranks talk about twice a second, or every `MOST` iterations; after each look they agree on the next.
        """
        if iteration < self._next_look:
            return Decision()
        now = time.monotonic()
        mine = np.array([self._stop.is_set(), now - self._saved >= self._every, now - self._looked], np.float64)
        stop, due, seconds = self.communicator.sum(mine).tolist()
        each = seconds / self.communicator.size / max(1, iteration - self._last_look)
        self._last_look, self._looked = iteration, now
        self._next_look = iteration + max(1, int(LOOK_EVERY / max(each, LOOK_EVERY / MOST)))
        return Decision(stop > 0.0 or due > 0.0, stop > 0.0)

    def save(self, state: State, fingerprint: Mapping[str, Any]) -> bool:
        """Write `state`; return whether it is there now. The one before is kept until then. **Collective**."""
        generation = self._generation + 1
        written: tuple[int, str] | None = None
        problem = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            written = _write(self._file(generation), state)
        except OSError as error:
            problem = f"rank {self.communicator.rank}: {error}"
        answers = self.communicator.gather_all((written, problem))
        self._saved = time.monotonic()
        if problems := [p for _, p in answers if p]:
            self._file(generation).unlink(missing_ok=True)
            log.warning("no checkpoint was written: %s", "; ".join(problems[:3]))
            return False
        problem = None
        if self.communicator.rank == 0:
            problem = self._mark(generation, state, fingerprint, [w for w, _ in answers])
        if failed := self.communicator.broadcast(problem or "", 0):
            log.warning("no checkpoint was written: %s", failed)
            return False
        self._file(self._generation).unlink(missing_ok=True)
        self._generation = generation
        return True

    def load(self, fingerprint: Mapping[str, Any]) -> State | None:
        """Return the last whole checkpoint of the same equations, ranks and method, else None. **Collective**."""
        marker: dict[str, Any] = {}
        if self.communicator.rank == 0:
            marker = self._read_marker(fingerprint)
        marker = self.communicator.broadcast(marker, 0)
        if not marker:
            return None
        self._generation = marker["generation"]
        arrays = None
        problem = None
        try:
            arrays = _read(self._file(self._generation), *marker["files"][self.communicator.rank])
        except (OSError, ValueError) as error:
            problem = f"rank {self.communicator.rank}: {error}"
        if problems := [p for p in self.communicator.gather_all(problem) if p]:
            self._warn(f"the checkpoint in {self.folder} is not used: {'; '.join(problems[:3])}")
            return None
        assert arrays is not None
        self._warn(f"continues after iteration {len(marker['history']) - 1} from {self.folder}", logging.INFO)
        return State(arrays, marker["numbers"], marker["history"])

    def finished(self) -> None:
        """Remove the checkpoint: the solve has ended. **Collective**."""
        self.communicator.barrier()
        if self.communicator.rank != 0 or not self.folder.is_dir():
            return
        for path in (self.folder / MARKER, *self.folder.glob("state-*-rank-*"), *self.folder.glob("*.wip")):
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _file(self, generation: int) -> Path:
        return self.folder / f"state-{generation}-rank-{self.communicator.rank:05d}.bin"

    def _mark(
        self, generation: int, state: State, fingerprint: Mapping[str, Any], files: Sequence[tuple[int, str] | None]
    ) -> str | None:
        marker = {
            "format": FORMAT,
            "label": self._label,
            "fingerprint": dict(fingerprint),
            "ranks": self.communicator.size,
            "generation": generation,
            "files": files,
            "numbers": dict(state.numbers),
            "history": list(state.history),
        }
        path = self.folder / MARKER
        wip = path.with_suffix(".wip")
        try:
            with wip.open("w", encoding="utf-8") as out:
                json.dump(marker, out)
                out.flush()
                os.fsync(out.fileno())
            wip.replace(path)
        except OSError as error:
            return str(error)
        return None

    def _read_marker(self, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
        """Return the marker if there is one that fits, else an empty one."""
        path = self.folder / MARKER
        if not path.exists():
            return {}
        try:
            marker: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            there = {"format": marker["format"], "label": marker["label"], "ranks": marker["ranks"]}
            there |= marker["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the checkpoint in %s is not used: %s", self.folder, error)
            return {}
        wanted = {"format": FORMAT, "label": self._label, "ranks": self.communicator.size, **fingerprint}
        if other := [k for k in wanted if there.get(k) != wanted[k]]:
            log.warning("the checkpoint in %s is not used: it is of another %s", self.folder, ", ".join(other))
            return {}
        return marker

    def _warn(self, message: str, level: int = logging.WARNING) -> None:
        if self.communicator.rank == 0:
            log.log(level, message)


def require(saved: bool, folder: Path) -> None:
    """Raise `ResourceError` unless the checkpoint that a stop needs has been written."""
    if not saved:
        raise ResourceError(f"the solve was told to stop, but no checkpoint could be written to {folder}")


def fingerprint_of(arrays: Sequence[Floats], communicator: Communicator, **what: Any) -> dict[str, Any]:
    """Return what tells solves apart: a checksum of the `arrays` of all ranks, and `what`. **Collective**."""
    checksum = communicator.rank
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
    return {"equations": int(communicator.sum(np.array([checksum], np.int64))[0]), **what}


def _write(path: Path, state: State) -> tuple[int, str]:
    """Write the arrays; return the bytes and their checksum. The file is on disk then."""
    checksum = 0
    wip = path.with_suffix(".wip")
    layout = {name: [len(part) for part in parts] for name, parts in state.arrays.items()}
    with wip.open("wb") as out:
        head = memoryview(json.dumps(layout).encode() + b"\n")
        for block in (head, *(np.ascontiguousarray(p).data for parts in state.arrays.values() for p in parts)):
            checksum = zlib.crc32(block, checksum)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
        n_bytes = out.tell()
    wip.replace(path)
    return n_bytes, f"{checksum:08x}"


def _read(path: Path, n_bytes: int, checksum: str) -> dict[str, list[Floats]]:
    """Return the arrays; raises ValueError if the file is damaged."""
    if path.stat().st_size != n_bytes:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {n_bytes}")
    with path.open("rb") as file:
        head = file.readline()
        found = zlib.crc32(head)
        arrays: dict[str, list[Floats]] = {}
        for name, lengths in json.loads(head).items():
            arrays[name] = []
            for length in lengths:
                part = _take(file, length)
                found = zlib.crc32(part.data, found)
                arrays[name].append(part)
    if f"{found:08x}" != checksum:
        raise ValueError(f"{path.name} is damaged: checksum {found:08x}, not {checksum}")
    return arrays


def _take(file: BufferedReader, length: int) -> Floats:
    part = np.empty(length)
    if file.readinto(part.data) != part.nbytes:
        raise ValueError("the file ends too soon")
    return part
