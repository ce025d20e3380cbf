"""A coarse space: the genetic level of generations, which level blocks and sweeps find slowly.

A trend along the pedigree costs next to nothing in A^-1, and contemporary classes take nearly all of it out of the
records: C has small eigenvalues there, some thousandths of what a preconditioner of single levels makes of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree
from henderson.kernels import generations as kernels
from henderson.kernels import sweep_columns as column_kernels
from henderson.partitions.exchange import Vectors
from henderson.solvers.sweep_order import Turns

Floats = NDArray[np.float64]

KNOTS = 3
DIRECTIONS = 2
SPREAD = 2.0  # standard deviations of the generation above its mean, where the last knot is


@dataclass(frozen=True)
class _Group:
    """Where a group of individuals lies; `generation` per partition, float32 (n_owned,), negative where Z is zero.

    directions: float64 (n, width), those in which Sigma has most of its variance.
    """

    group: int
    top: float
    generation: Sequence[NDArray[np.float32]]
    directions: Floats


class Generations:
    """Z: for each group with a sweep, piecewise linear functions of the generation times some directions of Sigma.

    The preconditioner of the individuals gets Z (Z'S Z)^-1 Z' added (additive two-level: Dryja & Widlund 1987), S being
    what is left of C there once the classes are eliminated. An application reads the individuals once and writes them
    once. Memory: 4 bytes an individual.
    """

    def __init__(self, operator: Operator, turns: Sequence[dict[int, Turns]], work: Vectors) -> None:
        self._operator = operator
        self._groups = [_group(operator, g, [mine[g] for mine in turns], work) for g in sorted(turns[0])]
        self._inverse = np.zeros((0, 0))

    @property
    def n(self) -> int:
        """Return the number of columns."""
        return sum(KNOTS * len(group.directions) for group in self._groups)

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here."""
        return sum(each.nbytes for group in self._groups for each in group.generation) + self._inverse.nbytes

    def set_up(self, schur: Callable[[Vectors], list[Floats]]) -> None:
        """Find (Z'S Z)^-1; schur(x) returns Z'S x, what each partition adds to it. **Collective**.

        Cost: S times each column.
        """
        if not self.n:
            return
        operator = self._operator
        E = np.zeros((self.n, self.n))
        x = operator.zeros()
        for j, one in enumerate(np.eye(self.n)):
            operator.team.run(partial(self._set, one, x), operator.n_partitions)
            E[:, j] = operator.exchange.sum_arrays(schur(x))
        scale = 1.0 / np.sqrt(np.maximum(np.diag(E), np.finfo(float).tiny))
        self._inverse = scale[:, None] * np.linalg.pinv(scale[:, None] * (0.5 * (E + E.T)) * scale, 1e-9, True) * scale

    def _set(self, c: Floats, x: Vectors, p: int) -> None:
        x[p][:] = 0.0
        self.add(p, c, x[p])

    def sums(self, p: int, y: Floats) -> Floats:
        """Return what partition `p` adds to Z'y; y may be several side by side."""
        found = [np.empty((0, *y.shape[1:]))]
        of = kernels if y.ndim == 1 else column_kernels
        for group in self._groups:
            local = self._operator.partitions[p].layout.groups[group.group]
            table = np.zeros((KNOTS, local.width, *y.shape[1:]))
            of.sum_by_knot(group.generation[p], group.top, local.width, local.first_owned, y, table)
            found.append(np.einsum("kt...,dt->kd...", table, group.directions).reshape(-1, *y.shape[1:]))
        return np.concatenate(found)

    def add(self, p: int, c: Floats, z: Floats) -> None:
        """Add Z c to the vector `z` of partition `p`."""
        start = 0
        of = kernels if z.ndim == 1 else column_kernels
        for group in self._groups:
            local = self._operator.partitions[p].layout.groups[group.group]
            stop = start + KNOTS * len(group.directions)
            levels = c[start:stop].reshape(KNOTS, -1, *z.shape[1:])
            table = np.ascontiguousarray(np.einsum("kd...,dt->kt...", levels, group.directions))
            of.add_by_knot(group.generation[p], group.top, local.width, local.first_owned, table, z)
            start = stop

    def correction(self, sums: list[Floats]) -> Floats:
        """Return (Z'S Z)^-1 Z'y, `sums` being Z'y by partition. **Collective**."""
        if not self.n:
            return np.zeros_like(sums[0])
        return np.asarray(self._inverse @ self._operator.exchange.sum_arrays(sums))


def _group(operator: Operator, g: int, turns: Sequence[Turns], work: Vectors) -> _Group:
    """Return the generations of a group; `work` is used. **Collective**."""
    for part in work:
        part[:] = 0.0

    def turn(k: int, p: int) -> None:
        layout, related = operator.partitions[p].layout, operator.partitions[p].relationship[g]
        local = layout.groups[g]
        assert isinstance(related, LocalPedigree)
        where = (local.width, local.first_owned, layout.null, related.sire, related.dam)
        kernels.mean_generations(turns[p][k], *where, work[p])

    for k in range(len(turns[0]) - 1, -1, -1):
        operator.team.run(partial(turn, k), operator.n_partitions)
        operator.exchange.forward(work)

    def read(p: int) -> NDArray[np.float32]:
        partition = operator.partitions[p]
        local = partition.layout.groups[g]
        if (pins := partition.pins) is not None:
            work[p][pins.element - pins.position.astype(np.uint32)] = -1.0
        return work[p][local.elements][:: local.width].astype(np.float32)

    generation = operator.team.run(read, operator.n_partitions)
    for part in work:
        part[:] = 0.0
    covariance = operator.design.groups[g].covariance
    assert covariance is not None
    moments = operator.exchange.sum_arrays([_moments(part[part > 0.0]) for part in generation])
    mean, square = moments[1:] / max(1.0, moments[0])
    top = float(mean + SPREAD * np.sqrt(max(0.0, square - mean * mean)))
    return _Group(g, top, generation, _directions(covariance.sigma))


def _moments(known: NDArray[np.float32]) -> Floats:
    """Return the number of values, their sum and that of their squares."""
    return np.array([known.size, known.sum(dtype=np.float64), np.einsum("i,i->", known, known, dtype=np.float64)])


def _directions(sigma: Floats) -> Floats:
    """Return the eigenvectors of the largest correlations, in units of the effects, (n, width)."""
    sd = np.sqrt(np.diag(sigma))
    _, vectors = np.linalg.eigh(sigma / np.outer(sd, sd))
    return np.ascontiguousarray((vectors[:, ::-1] * sd[:, None]).T[:DIRECTIONS])
