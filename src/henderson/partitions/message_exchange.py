"""The exchange among processes by plain messages of the communicator: one of each pass to all, whoever they are.

The engine uses PETSc's scatters, which talk to neighbours only; this one needs nothing but MPI and shows what they do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from henderson.partitions.communicator import Communicator
from henderson.partitions.exchange import Elements, Vectors


class MessageExchange:
    """The exchange of one partition with those of other processes.

    Parameters
    ----------
    communicator
        The processes.
    ghosts, owner
        Local elements that others own, and the rank that owns each, ascending.
    wanted, wanted_by
        Own elements that others have as ghosts, and the rank that has each, ascending; in the order of its ghosts.

    """

    def __init__(
        self,
        communicator: Communicator,
        ghosts: Elements,
        owner: NDArray[np.int32],
        wanted: Elements,
        wanted_by: NDArray[np.int32],
    ) -> None:
        ranks = np.arange(1, communicator.size)
        self._communicator = communicator
        self._ghosts = np.split(ghosts, np.searchsorted(owner, ranks))
        self._wanted = np.split(wanted, np.searchsorted(wanted_by, ranks))

    def forward(self, x: Vectors) -> None:
        """Fill the ghosts of `x` from their owners. **Collective**."""
        (mine,) = x
        found = self._communicator.all_to_all([mine[elements] for elements in self._wanted])
        for ghosts, values in zip(self._ghosts, found, strict=True):
            mine[ghosts] = values

    def reverse_add(self, y: Vectors) -> None:
        """Add the ghosts of `y` into their owners' elements, user by user. **Collective**."""
        (mine,) = y
        found = self._communicator.all_to_all([mine[ghosts] for ghosts in self._ghosts])
        for elements, values in zip(self._wanted, found, strict=True):
            mine[elements] += values

    def sum(self, partials: Sequence[float]) -> float:
        """Return the sum over all processes, rank by rank. **Collective**."""
        return float(self._communicator.sum(np.array([sum(partials)]))[0])

    def sum_arrays(self, partials: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the sum of the arrays over all processes, rank by rank. **Collective**."""
        return np.asarray(self._communicator.sum(np.sum(np.array(partials), axis=0)))
