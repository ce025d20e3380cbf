"""How partitions share vectors: others read owned elements as ghosts, ghosts' contributions go back to the owner.

A *local vector* holds a partition's owned elements, then its ghosts, then the null block. A process holds one or
several of them (`Vectors`); the kernels do not know how the ghosts are filled. Local vectors of shape (n_local,
n_columns) are several vectors side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from henderson.kernels import columns
from henderson.kernels import vectors as kernels
from henderson.partitions.threads import Team

Vectors = list[NDArray[np.float64]]
Elements = NDArray[np.uint32]


class Exchange(Protocol):
    """What a product needs of its neighbours. All methods are **Collective**: all processes call them in one order."""

    def forward(self, x: Vectors) -> None:
        """Fill the ghosts of `x` from their owners."""

    def reverse_add(self, y: Vectors) -> None:
        """Add the ghosts of `y` into their owners' elements; the ghosts are left as they are."""

    def sum(self, partials: Sequence[float]) -> float:
        """Return the sum over the partitions of all processes, in a fixed order."""

    def sum_arrays(self, partials: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the sum of one array per partition (all of one shape) over all processes, in a fixed order."""


@dataclass(frozen=True)
class Link:
    """One owner and one user: element `owned[k]` of the owner is element `ghosts[k]` of the user."""

    owner: int
    user: int
    owned: Elements
    ghosts: Elements


class SharedMemoryExchange:
    """The exchange among partitions of one process: copies between local vectors by a team of threads.

    Owners add contributions in the order of the users, so that a sum is the same in every run.
    """

    def __init__(self, links: Sequence[Link], n_partitions: int, team: Team) -> None:
        self._team = team
        self._n = n_partitions
        ordered = sorted(links, key=lambda link: (link.owner, link.user))
        self._of_user = [[link for link in ordered if link.user == p] for p in range(n_partitions)]
        self._of_owner = [[link for link in ordered if link.owner == p] for p in range(n_partitions)]
        self._alone = not ordered

    def forward(self, x: Vectors) -> None:
        """Fill the ghosts of `x` from their owners."""
        copy = kernels.copy_to_ghosts if x[0].ndim == 1 else columns.copy_to_ghosts

        def fill(user: int) -> None:
            for link in self._of_user[user]:
                copy(x[link.owner], link.owned, link.ghosts, x[user])

        if not self._alone:
            self._team.run(fill, self._n)

    def reverse_add(self, y: Vectors) -> None:
        """Add the ghosts of `y` into their owners' elements."""
        add = kernels.add_to_owner if y[0].ndim == 1 else columns.add_to_owner

        def collect(owner: int) -> None:
            for link in self._of_owner[owner]:
                add(y[link.user], link.owned, link.ghosts, y[owner])

        if not self._alone:
            self._team.run(collect, self._n)

    def sum(self, partials: Sequence[float]) -> float:
        """Return the sum of `partials`, first to last."""
        total = 0.0
        for value in partials:
            total += value
        return total

    def sum_arrays(self, partials: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the sum of the arrays, first to last."""
        total = partials[0].copy()
        for array in partials[1:]:
            total += array
        return total
