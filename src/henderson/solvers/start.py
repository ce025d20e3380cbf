"""Where a solve starts: the solutions of an earlier one, what these lack filled in from the equations themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree
from henderson.partitions.exchange import Vectors
from henderson.solvers.preconditioner import BlockPreconditioner

GENERATIONS = 20  # of new individuals that get the mean of their parents; those beyond stay at zero


@dataclass(frozen=True)
class Start:
    """Solutions of an earlier run as a vector, and which of the owned elements it had: bool, per partition."""

    x: Vectors
    known: Sequence[NDArray[np.bool_]]


def completed(operator: Operator, start: Start, preconditioner: BlockPreconditioner | None) -> Vectors:
    """Return the solutions of `start`, which are changed, with a first guess of what they lack. **Collective**.

    New individuals get the mean of their parents. Then levels of classes get what their own equations say, the others
    held: all classes by the factors of the sweep, or new levels by their diagonal block, if there is a preconditioner.
    Cost: two vectors, a product, the right-hand side, and a message for each generation of new individuals.
    """
    x = start.x
    _parent_means(operator, start)
    operator.blank(x)
    if preconditioner is None:
        return x
    r, z = operator.right_hand_side(), operator.zeros()
    operator.apply(x, z)

    def subtract(p: int) -> None:
        r[p] -= z[p]
        r[p][operator.n_owned[p] :] = 0.0
        z[p][:] = 0.0

    operator.team.run(subtract, operator.n_partitions)
    of_all = preconditioner.solve_classes(r, z)
    if not of_all:
        preconditioner.apply(r, z)
    for p, n in enumerate(operator.n_owned):
        new = np.ones(n, np.bool_) if of_all else ~start.known[p]
        x[p][:n][new] += z[p][:n][new]
    operator.blank(x)
    return x


def _parent_means(operator: Operator, start: Start) -> None:
    """Give new individuals the mean of their parents, generation by generation; 0 stands for unknown parents."""
    x, related = start.x, range(len(operator.design.groups))
    known = operator.zeros()
    for part, mine in zip(known, start.known, strict=True):
        part[: len(mine)] = mine

    def fill(p: int) -> float:
        partition, filled = operator.partitions[p], 0
        null = partition.layout.null
        for g in related:
            pedigree, local = partition.relationship[g], partition.layout.groups[g]
            if not isinstance(pedigree, LocalPedigree):
                continue
            own = local.first_owned + np.arange(local.n_owned) * local.width
            new = np.flatnonzero(known[p][own] == 0.0)
            sire, dam = pedigree.sire[new].astype(np.int64), pedigree.dam[new].astype(np.int64)
            ready = ((sire == null) | (known[p][sire] > 0.0)) & ((dam == null) | (known[p][dam] > 0.0))
            at, sire, dam = own[new[ready]], sire[ready], dam[ready]
            for k in range(local.width):
                means = [np.where(parent == null, 0.0, x[p][parent + k]) for parent in (sire, dam)]
                x[p][at + k] = 0.5 * (means[0] + means[1])
                known[p][at + k] = 1.0
            filled += len(at)
        return float(filled)

    for _ in range(GENERATIONS):
        operator.exchange.forward(x)
        operator.exchange.forward(known)
        if operator.exchange.sum(operator.team.run(fill, operator.n_partitions)) == 0.0:
            break
    for part, n in zip(x, operator.n_owned, strict=True):
        part[n:] = 0.0
