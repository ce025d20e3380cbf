"""Seconds and peak memory of each stage of a run."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class Stage:
    """One stage: wall seconds and the largest resident memory of the process while it ran, in bytes."""

    name: str
    seconds: float
    peak_bytes: int


@dataclass
class Stages:
    """The stages of a run in order; `with stages.stage("solve"): ...` records one."""

    done: list[Stage] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the block as stage `name`, also when it fails."""
        _reset_peak()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.done.append(Stage(name, time.perf_counter() - start, peak_bytes()))


def peak_bytes() -> int:
    """Return the largest resident memory since the last reset (or the start, where the system cannot reset it)."""
    with contextlib.suppress(OSError):
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available_bytes() -> int:
    """Return the memory that this process can still take: the system's, or the control group's if that is less."""
    available = 1 << 62
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        if limit != "max":
            available = min(available, max(0, int(limit) - int(used)))
    return available


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # Linux 4.0 or newer
        (PROCESS / "clear_refs").write_text("5")
