"""Solves that take more memory than they may: their arrays lie in a scratch file."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from henderson.equations.memory import counted, counts_of_store, estimate_embedded
from henderson.errors import ResourceError
from henderson.jobs.memory import bytes_within, size_text
from henderson.language.spec import JobSpec, ModelSpec
from henderson.partitions.scratch import ScratchMemory

log = logging.getLogger(__name__)

INTERPRETER = 320 << 20  # bytes: Python, libraries, compiled kernels
LEAST = 512 << 20  # bytes that a limit must have
SHARE = 4  # parts of the limit, one of which the partitions take that threads work on
# each cut adds some 100 equations that partitions share, of which the sweep takes `class_border.SHARED_LIMIT`
MOST_PARTITIONS = 12
DISK = 1.5  # times the estimate: what is freed leaves gaps


@dataclass(frozen=True)
class OutOfCore:
    """How a run keeps to its limit: `memory` is open while it goes on; into how many partitions equations are cut."""

    memory: AbstractContextManager[object]
    n_partitions: int | None = None

    @property
    def in_file(self) -> bool:
        """Return whether arrays lie in a file."""
        return self.n_partitions is not None


def out_of_core(
    spec: ModelSpec, jobs: Sequence[JobSpec], store: Path, folder: Path, limit: int | None, threads: int
) -> OutOfCore:
    """Return how the jobs keep to `limit` bytes, or to what there is: with a scratch file in `folder`, if they must.

    Only solves by iteration do, on Linux. Raises `ResourceError` if not even that is enough, or the disk is too full.
    """
    counts, available = counts_of_store(store), bytes_within(limit)
    total = sum(i.bytes for i in estimate_embedded(spec, counts))
    iterative = all(job.name == "solve" and job.get("method") != "direct" for job in jobs)
    if not iterative or sys.platform != "linux" or total + INTERPRETER <= available:
        return OutOfCore(nullcontext())
    total = sum(i.bytes for i in estimate_embedded(spec, counted(store, counts)))
    if total + INTERPRETER <= available:
        return OutOfCore(nullcontext())
    if available < LEAST:
        raise ResourceError(
            f"{size_text(available)} are too little for any solve that takes {size_text(total)}; "
            f"allow {size_text(LEAST)}"
        )
    free = shutil.disk_usage(folder).free
    if DISK * total > free:
        raise ResourceError(
            f"the equations take about {size_text(total)} and may take {size_text(available)} of memory; {folder} has "
            f"{size_text(free)} free for the rest, not {size_text(int(DISK * total))}; choose another folder with "
            "--scratch"
        )
    n_partitions = max(threads, min(MOST_PARTITIONS, -(-SHARE * total // available)))
    log.info(
        "the equations take about %s of the %s they may: they lie in a scratch file in %s, in %d partitions",
        size_text(total),
        size_text(available),
        folder,
        n_partitions,
    )
    return OutOfCore(ScratchMemory(folder, available), n_partitions)
