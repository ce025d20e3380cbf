"""Where the tasks of an ingest may run besides the threads of this process: as declared, before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LocalWorkers:
    """Worker processes on this machine, one thread each."""

    n_workers: int


@dataclass(frozen=True)
class SlurmWorkers:
    """Worker jobs of SLURM: how many, what each asks for, and how it starts.

    `n_jobs` jobs of one node share the tasks; each has `cores` cores and `memory` bytes for `walltime` (as SLURM writes
    times). `directives` are further options of sbatch, `prologue` the lines of the shell before the worker (modules,
    environment). `interface` is the network of the nodes (None: the one of the host's name), `scratch` a local
    folder for what Dask may spill, `logs` the folder of the jobs' output. All nodes must see the files and the store
    under the same paths.
    """

    n_jobs: int
    cores: int
    memory: int
    walltime: str
    partition: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    python: str | None = None
    interface: str | None = None
    scratch: str | None = None
    logs: Path = Path("henderson-workers")


Cluster = LocalWorkers | SlurmWorkers
