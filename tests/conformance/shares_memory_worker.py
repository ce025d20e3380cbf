"""What a rank of ``test_equations_distributed`` runs: the memory and the chunks that its share takes, as JSON."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

from mpi4py import MPI

from henderson.equations.distributed import take_share
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from henderson.partitions.mpi import MpiCommunicator
from henderson.store.stored_array import StoredArray


def main() -> None:
    world = MPI.COMM_WORLD
    spec = load_model(Path(sys.argv[1]), read_schema)
    rows = 0
    whole = StoredArray._slice

    def counted(self: StoredArray, start: int, stop: int) -> object:
        nonlocal rows
        rows += (stop - start) * (self._array.folder.parent.name == "ped")
        return whole(self, start, stop)

    StoredArray._slice = counted  # type: ignore[method-assign,assignment]
    told = {}
    for size in (1, world.size):
        part = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if part == MPI.COMM_NULL:
            continue
        communicator = MpiCommunicator(part)
        take_share(spec, Path(sys.argv[2]), communicator)  # libraries and compiled kernels
        rows = 0
        tracemalloc.start()
        share = take_share(spec, Path(sys.argv[2]), communicator)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        told[size] = communicator.gather_all((peak, rows, share.partition.layout.n_local))
    if world.rank == 0:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
