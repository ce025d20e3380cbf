"""Run under mpiexec: ranks fail in ways of their own while others work; one message and exit code have to come out.

usage: mpi_voices.py OUT KIND
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from henderson.cli.messages import say
from henderson.errors import StoreError
from henderson.jobs.together import one_voice, only_first
from henderson.partitions.mpi import world


def main(out: Path, kind: str) -> None:
    communicator = world()
    last = communicator.rank == communicator.size - 1
    with one_voice(communicator, out, lambda error: say(error, as_json=False)):
        if kind == "memory" and last:
            np.empty(1 << 50)  # more than there are addresses
        if kind == "bug" and last:
            raise KeyError("a bug")
        if kind == "store" and last:
            raise StoreError("shard 3 is damaged")
        if kind == "all":
            raise StoreError(f"seen by rank {communicator.rank}")
        if kind == "two" and communicator.rank > 0:
            raise StoreError(f"seen by rank {communicator.rank}")
        if kind == "first":
            only_first(communicator, lambda: np.empty(1 << 50))
        communicator.comm.barrier()  # waits with the core busy, as a solve does


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
