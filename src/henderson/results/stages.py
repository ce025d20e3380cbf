"""Seconds and peak memory of each stage of a run."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROCESS = Path("/proc/self")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


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
    told: Callable[[str, Stage | None], None] | None = None  # that a stage begins (None), and of the stage done

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the block as stage `name`, also when it fails."""
        _reset_peak()
        if self.told is not None:
            self.told(name, None)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.done.append(Stage(name, time.perf_counter() - start, peak_bytes()))
            if self.told is not None:
                self.told(name, self.done[-1])


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
    return min(available, *_left_in_groups(PROCESS / "cgroup", CONTROL_GROUPS), 1 << 62)


def _left_in_groups(membership: Path, root: Path) -> Iterator[int]:
    """Yield what is left of the limit of each control group (version 1 or 2) that the process is in, up to the root."""
    lines = []
    with contextlib.suppress(OSError):
        lines = membership.read_text().splitlines()
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            top, files, prefix = root, ("memory.max", "memory.current"), ""
        elif "memory" in controllers.split(","):
            top, files, prefix = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"
        else:
            continue
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # "max" is no number
                limit, used = (int((folder / file).read_text()) for file in files)
                yield max(0, limit - used + _cached(folder / "memory.stat", prefix))
            if folder == top:
                break


def _cached(statistics: Path, prefix: str) -> int:
    """Return the bytes of files that a control group has in memory and would give up."""
    rows = dict(line.split() for line in statistics.read_text().splitlines())
    return sum(int(rows.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # Linux 4.0 or newer
        (PROCESS / "clear_refs").write_text("5")
