"""How many copies of the program a launcher (mpiexec, srun) has started, from its environment alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

# size and rank as Hydra and srun --mpi=pmi2, Open MPI, and srun tell them; a SLURM batch script that starts one copy
# has SLURM_NTASKS, too, but not SLURM_STEP_NUM_TASKS
LAUNCHERS = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)


@dataclass(frozen=True)
class Launch:
    """One copy among all: `rank` of `size`."""

    rank: int = 0
    size: int = 1


def launched(environment: Mapping[str, str] = os.environ) -> Launch:
    """Return which copy this is, the only one if no launcher says otherwise."""
    for size, rank in LAUNCHERS:
        try:
            return Launch(int(environment[rank]), int(environment[size]))
        except (KeyError, ValueError):
            continue
    return Launch()
