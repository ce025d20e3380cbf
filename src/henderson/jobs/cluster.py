"""The workers of an ingest, from a site profile or from this machine."""

from __future__ import annotations

import os
from pathlib import Path

from henderson.ingest.cluster import LocalWorkers, SlurmWorkers
from henderson.jobs.sites import load_site


def local_workers(workers: int | None) -> LocalWorkers:
    """Return `workers` processes on this machine, by default one for each core."""
    return LocalWorkers(workers or len(os.sched_getaffinity(0)))


def slurm_workers(site: str, workers: int | None, logs: Path) -> SlurmWorkers:
    """Return `workers` worker jobs (default 1) of a node each, as the site profile says; their output goes to `logs`.

    Raises `UsageError`: see `load_site`.
    """
    there = load_site(site)
    return SlurmWorkers(
        n_jobs=workers or 1,
        cores=there.cores,
        memory=there.memory << 30,
        walltime=there.time,
        partition=there.partition,
        account=there.account,
        directives=there.options,
        prologue=there.prologue,
        python=f"{there.container} python" if there.container else None,
        interface=there.interface,
        scratch=there.scratch,
        logs=logs,
    )
