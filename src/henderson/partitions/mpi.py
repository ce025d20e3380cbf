"""The one place that imports mpi4py: the processes of an MPI job as a `Communicator`."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from henderson.partitions.communicator import Array
from henderson.partitions.threads import even_bounds

T = TypeVar("T")

SMALL = 1 << 22  # bytes up to which a sum gathers all there is to add
NAP = 0.005  # seconds; MPI itself waits with the core busy


@contextmanager
def _rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[MPI.Datatype]:
    """Give the MPI type of one row of an array: counts of rows stay small where bytes exceed 2^31."""
    row = MPI.BYTE.Create_contiguous(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize).Commit()
    try:
        yield row
    finally:
        row.Free()


def _add(parts: Sequence[Array]) -> Array:
    """Return the sum of the arrays, first to last."""
    total: Array = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


class MpiCommunicator:
    """All processes of the MPI job, or those of `comm`."""

    def __init__(self, comm: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        self.comm = comm
        self.rank = comm.rank
        self.size = comm.size
        self._endings = comm.Dup()  # a rank that fails may be anywhere: its words must not meet those of the run

    def sum(self, values: Array) -> Array:
        """Return the sum over the ranks, added in their order.

        Memory: up to `SMALL` bytes or twice that of `values`, whichever is more.
        """
        mine = np.ascontiguousarray(values)
        if mine.nbytes * self.size > SMALL:
            flat = mine.ravel()
            bounds = even_bounds(len(flat), self.size)
            parts = self.all_to_all([flat[bounds[k] : bounds[k + 1]] for k in range(self.size)])
            return self.gather_rows(_add(parts)).reshape(mine.shape)
        everyone = np.empty((self.size, *mine.shape), mine.dtype)
        self.comm.Allgather(mine, everyone)
        return _add(list(everyone))

    def minimum(self, values: Array) -> Array:
        """Return the smallest over the ranks, elementwise."""
        mine = np.ascontiguousarray(values)
        out = np.empty_like(mine)
        self.comm.Allreduce(mine, out, MPI.MIN)
        return out

    def logical_or(self, values: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return whether it is true on any rank, elementwise."""
        mine = np.ascontiguousarray(values, np.bool_)
        out = np.empty_like(mine)
        self.comm.Allreduce(mine, out, MPI.LOR)
        return out

    def gather_rows(self, values: Array) -> Array:
        """Return the rows of all ranks in their order."""
        mine = np.ascontiguousarray(values)
        counts = np.array(self.comm.allgather(len(mine)), np.int64)
        out = np.empty((int(counts.sum()), *mine.shape[1:]), mine.dtype)
        with _rows(mine.shape[1:], mine.dtype) as row:
            starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
            self.comm.Allgatherv((mine, len(mine), row), (out, counts, starts, row))
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
        counts = np.array([len(part) for part in send], np.int64)
        theirs = np.empty_like(counts)
        self.comm.Alltoall(counts, theirs)
        out = np.concatenate([np.ascontiguousarray(part, dtype) for part in send])
        into = np.empty((int(theirs.sum()), *shape), dtype)
        starts = [np.concatenate([[0], np.cumsum(c)[:-1]]) for c in (counts, theirs)]
        with _rows(shape, dtype) as row:
            self.comm.Alltoallv((out, counts, starts[0], row), (into, theirs, starts[1], row))
        return np.split(into, starts[1][1:])

    def barrier(self) -> None:
        """Wait for all ranks, asleep in between."""
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(NAP)

    def together(self, seconds: float, value: T) -> list[T] | None:
        """Return the value of every rank if all call this within `seconds` or so of each other, else None.

        To be called by ranks that have failed, and not again if the answer was None.
        """
        request = self._endings.Ibarrier()
        deadline = time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > deadline:
                return None
            time.sleep(NAP)
        return list(self._endings.allgather(value))

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


@functools.cache
def world() -> MpiCommunicator:
    """Return all processes of the MPI job. **Collective** when called for the first time."""
    return MpiCommunicator()
