"""The commands over MPI: all processes work, the first one talks."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from henderson.cli.messages import say
from henderson.cli.progress import progress_bars
from henderson.errors import UsageError
from henderson.jobs.distributed import require_petsc, run_together
from henderson.jobs.run import Outcome, Settings
from henderson.jobs.stopping import InterruptedRunError, listening
from henderson.jobs.together import one_voice

if TYPE_CHECKING:
    from henderson.partitions.mpi import MpiCommunicator


def run_jobs_together(
    file: Path, settings: Settings, *, as_json: bool, quiet: bool, requeue: bool
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

    with (
        listening() as stopping,
        one_voice(communicator, settings.folders(file)[0], tell),
        progress_bars(quiet=quiet or not first) as progress,
    ):
        outcome = run_together(file, settings, communicator, stopping, progress)
    return outcome if first else None


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
        from henderson.partitions.mpi import MpiCommunicator
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"mpi4py does not load ({error}); cluster/env/README.md tells how to install it") from error
    return MpiCommunicator()
