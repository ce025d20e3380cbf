"""The exchange of ghosts among processes, by PETSc's star forest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.equations.distributed import Halo
from henderson.partitions.exchange import Vectors
from henderson.partitions.mpi import MpiCommunicator
from henderson.solvers.petsc.library import MPI, PETSc

Floats = NDArray[np.float64]


class PetscExchange:
    """The exchange of one partition per process: owned elements are the roots of a star forest, ghosts its leaves.

    Owners add contributions in the order of the ranks, so that a product is the same in every run. Vectors may be
    several side by side, a row of which travels as one. `seconds` is the time spent here, `reductions` the number of
    sums over all processes.
    """

    def __init__(self, halo: Halo, communicator: MpiCommunicator) -> None:
        self._communicator = communicator
        self._alone = communicator.size == 1
        self.seconds = 0.0
        self.reductions = 0
        self._forest = PETSc.SF().create(communicator.comm)
        remote = np.empty((len(halo.ghosts), 2), PETSc.IntType)
        remote[:, 0], remote[:, 1] = halo.owner, halo.element
        self._forest.setGraph(halo.n_owned, halo.ghosts.astype(PETSc.IntType), remote)
        self._forest.setUp()
        self._units: dict[int, Any] = {1: MPI.DOUBLE}

    def forward(self, x: Vectors) -> None:
        """Fill the ghosts of `x` from their owners. **Collective**."""
        if self._alone:
            return
        start = time.perf_counter()
        unit = self._unit(x[0])
        self._forest.bcastBegin(unit, x[0], x[0], MPI.REPLACE)
        self._forest.bcastEnd(unit, x[0], x[0], MPI.REPLACE)
        self.seconds += time.perf_counter() - start

    def reverse_add(self, y: Vectors) -> None:
        """Add the ghosts of `y` into their owners' elements. **Collective**."""
        if self._alone:
            return
        start = time.perf_counter()
        unit = self._unit(y[0])
        self._forest.reduceBegin(unit, y[0], y[0], MPI.SUM)
        self._forest.reduceEnd(unit, y[0], y[0], MPI.SUM)
        self.seconds += time.perf_counter() - start

    def sum(self, partials: Sequence[float]) -> float:
        """Return the sum over the processes, added in the order of the ranks. **Collective**."""
        return float(self.sum_arrays([np.array(partials)])[0])

    def sum_arrays(self, partials: Sequence[Floats]) -> Floats:
        """Return the sum over the processes; few numbers in the order of the ranks, many by MPI's tree. **Collective**.

        Either order is the same in every run with as many processes, and all get the same bits.
        """
        (mine,) = partials
        if self._alone:
            return np.array(mine)
        self.reductions += 1
        if mine.size <= 8:
            return np.asarray(self._communicator.sum(mine), np.float64)
        total = np.empty_like(mine)
        self._communicator.comm.Allreduce(np.ascontiguousarray(mine), total)
        return total

    def close(self) -> None:
        """Free the star forest. **Collective**."""
        self._forest.destroy()
        for n, unit in self._units.items():
            if n > 1:
                unit.Free()
        self._units = {1: MPI.DOUBLE}

    def _unit(self, x: Floats) -> Any:
        """Return what one element is: a number, or a row of vectors side by side."""
        n = 1 if x.ndim == 1 else x.shape[1]
        if n not in self._units:
            self._units[n] = MPI.DOUBLE.Create_contiguous(n).Commit()
        return self._units[n]
