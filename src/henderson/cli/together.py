"""The commands over MPI: all processes work, the first one talks."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from henderson.cli.messages import say
from henderson.cli.progress import watching
from henderson.errors import InterruptedRunError, UsageError
from henderson.jobs.distributed import compare_together, require_petsc, run_together
from henderson.jobs.run import Outcome, Settings
from henderson.jobs.stopping import listening
from henderson.jobs.together import one_voice, only_first

if TYPE_CHECKING:
    from henderson.partitions.mpi import MpiCommunicator
    from henderson.solvers.petsc.compare import LadderRow


def run_jobs_together(
    file: Path, settings: Settings, *, as_json: bool, quiet: bool, requeue: bool, log: Path | None
) -> Outcome | None:
    """Return what the jobs of `file` left, on the first process; None on the others. **Collective**."""
    require_petsc()
    communicator = _communicator()
    first = communicator.rank == 0
    if not first:
        logging.disable()

    def tell(error: BaseException) -> None:
        say(error, as_json=as_json)
        if isinstance(error, InterruptedRunError) and requeue:
            _requeue_job()

    out = settings.folders(file)[0]
    watched = watching(file, out, engine="petsc", ranks=communicator.size, quiet=quiet, log=log)
    with (
        listening() as stopping,
        one_voice(communicator, out, tell),
        watched if first else nullcontext() as progress,
    ):
        if not settings.compare:
            outcome = run_together(file, settings, communicator, stopping, progress)
            return outcome if first else None
        rows = compare_together(file, settings, communicator, stopping, progress)
    if first:
        print(json.dumps([asdict(row) for row in rows])) if as_json else _print_ladder(rows)
    return None


def with_one_voice(out: Path, work: Callable[[], object], *, as_json: bool) -> None:
    """Do `work` on the first process; if it fails all end, with one message. **Collective**."""
    require_petsc()
    communicator = _communicator()
    with one_voice(communicator, out, lambda error: say(error, as_json=as_json)):
        only_first(communicator, work)


def _print_ladder(rows: Sequence[LadderRow]) -> None:
    columns = ("preconditioner", "operator", "rounds", "ms a round", "set-up s", "total s", "MiB", "end")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for k, name in enumerate(columns):
        table.add_column(name, justify="right" if 2 <= k < 7 else "left", no_wrap=k < 7)
    for row in rows:
        numbers = [""] * 5
        if not row.remark:
            seconds = (1e3 * row.seconds_per_round, row.set_up_seconds, row.seconds)
            numbers = [f"{row.rounds}", *(f"{s:.2f}" for s in seconds), f"{row.memory_bytes / 2**20:.1f}"]
        table.add_row(row.name, row.operator, *numbers, row.remark or row.reason.lower().replace("_", " "))
    Console(highlight=False, width=max(100, Console().width)).print(table)


@contextmanager
def requeueing(requeue: bool) -> Iterator[None]:
    """Let SLURM run this job again if a signal has stopped what is in the block, and `requeue` says so."""
    try:
        yield
    except InterruptedRunError:
        if requeue:
            _requeue_job()
        raise


def _requeue_job() -> None:
    """Let SLURM run this job again, if it is one."""
    job, scontrol = os.environ.get("SLURM_JOB_ID"), shutil.which("scontrol")
    if job is None or scontrol is None:
        print("not requeued: this is no job of SLURM", file=sys.stderr, flush=True)
        return
    done = subprocess.run([scontrol, "requeue", job], capture_output=True, text=True, check=False)
    told = f"job {job} is requeued" if done.returncode == 0 else f"job {job} is not requeued: {done.stderr.strip()}"
    print(told, file=sys.stderr, flush=True)


def _communicator() -> MpiCommunicator:
    try:
        from henderson.partitions.mpi import world
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"mpi4py does not load ({error}); cluster/env/README.md tells how to install it") from error
    return world()
