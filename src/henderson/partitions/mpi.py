"""The one place that imports mpi4py: the processes of an MPI job as a `Communicator`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from mpi4py import MPI

from henderson.partitions.communicator import Array

T = TypeVar("T")

NAP = 0.005  # seconds; MPI itself waits with the core busy


class MpiCommunicator:
    """All processes of the MPI job, or those of `comm`."""

    def __init__(self, comm: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        self.comm = comm
        self.rank = comm.rank
        self.size = comm.size
        self._endings = comm.Dup()  # a rank that fails may be anywhere: its words must not meet those of the run

    def sum(self, values: Array) -> Array:
        """Return the sum over the ranks, added in their order. Memory: `size` times that of `values`."""
        mine = np.ascontiguousarray(values)
        everyone = np.empty((self.size, *mine.shape), mine.dtype)
        self.comm.Allgather(mine, everyone)
        total: Array = everyone[0].copy()
        for other in everyone[1:]:
            total += other
        return total

    def minimum(self, values: Array) -> Array:
        """Return the smallest over the ranks, elementwise."""
        mine = np.ascontiguousarray(values)
        out = np.empty_like(mine)
        self.comm.Allreduce(mine, out, MPI.MIN)
        return out

    def gather_all(self, value: T) -> list[T]:
        """Return the value of every rank."""
        return list(self.comm.allgather(value))

    def broadcast(self, value: T | None, root: int = 0) -> T:
        """Return the value of `root`; the others wait asleep."""
        self.barrier()
        result: T = self.comm.bcast(value, root)
        return result

    def all_to_all(self, send: Sequence[Array]) -> list[Array]:
        """Return what every rank has sent here, row by row; messages may exceed 2^31 bytes."""
        shape, dtype = send[0].shape[1:], send[0].dtype
        width = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        counts = np.array([len(part) for part in send], np.int64)
        theirs = np.empty_like(counts)
        self.comm.Alltoall(counts, theirs)
        row = MPI.BYTE.Create_contiguous(width).Commit()
        try:
            out = np.concatenate([np.ascontiguousarray(part, dtype) for part in send])
            into = np.empty((int(theirs.sum()), *shape), dtype)
            starts = [np.concatenate([[0], np.cumsum(c)[:-1]]) for c in (counts, theirs)]
            self.comm.Alltoallv((out, counts, starts[0], row), (into, theirs, starts[1], row))
        finally:
            row.Free()
        return np.split(into, starts[1][1:])

    def barrier(self) -> None:
        """Wait for all ranks, asleep in between."""
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(NAP)

    def together(self, seconds: float) -> bool:
        """Return whether all ranks call this within `seconds` or so of each other; call it once, at the end."""
        request = self._endings.Ibarrier()
        deadline = time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > deadline:
                return False
            time.sleep(NAP)
        return True

    def on_this_node(self) -> list[int]:
        """Return the ranks that share this rank's memory. **Collective**."""
        node = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        try:
            return list(node.allgather(self.rank))
        finally:
            node.Free()

    def abort(self, exit_code: int) -> None:
        """End all processes of the job at once with `exit_code`. Not collective."""
        self.comm.Abort(exit_code)
