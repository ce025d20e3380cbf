"""The equations as a SciPy matrix, for problems small enough: from the same partitions that the products use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.kernels import records as record_kernels
from henderson.kernels import relationship as kernels

Floats = NDArray[np.float64]
Triplets = tuple[NDArray[np.int64], NDArray[np.int64], Floats]

BYTES_PER_TRIPLET = 40  # 24 as triplets, 16 as the matrix they are summed into


@dataclass(frozen=True)
class Assembled:
    """C (CSR, both triangles) and its right-hand side over the equations that are kept.

    number: row of C of equation (level, position) per group, int64 (n_levels, width), -1 where it is left out.
    """

    matrix: csr_array
    rhs: Floats
    number: tuple[NDArray[np.int64], ...]

    def to_levels(self, values: Floats) -> list[Floats]:
        """Return values by equation as one array (n_levels, width) per group, zero where left out."""
        extended = np.append(values, 0.0)
        return [extended[n] for n in self.number]


def triplet_count(operator: Operator) -> int:
    """Return an upper bound of the number of triplets that assembly would make."""
    total = operator.design.n_records * len(operator.terms) ** 2
    for partition in operator.partitions:
        for group, relationship in zip(partition.layout.groups, partition.relationship, strict=True):
            entries = 1 * group.n_owned
            if isinstance(relationship, LocalPedigree):
                entries = 9 * group.n_owned
            elif isinstance(relationship, LocalMatrix):
                entries = len(relationship.values)
            total += entries * group.width**2
    return total


def assemble(operator: Operator) -> Assembled:
    """Return C and the right-hand side. Memory: `BYTES_PER_TRIPLET` for each of `triplet_count`."""
    number = _number(operator)
    n = operator.design.n_equations
    parts: list[Triplets] = []
    for partition in operator.partitions:
        of = _equation_of_element(partition, number)
        for rows, columns, values in (_records(operator, partition), *_gammas(operator, partition)):
            row, column = of[rows], of[columns]
            kept = (row >= 0) & (column >= 0)
            parts.append((row[kept], column[kept], values[kept]))
    rows, columns, values = (np.concatenate([p[k] for p in parts]) for k in range(3))
    matrix = csr_array(coo_array((values, (rows, columns)), shape=(n, n)))
    rhs = np.zeros(n + 1)
    for at, value in zip(number, operator.to_levels(operator.right_hand_side()), strict=True):
        rhs[at] = value
    return Assembled(matrix, rhs[:n].copy(), tuple(number))


def _number(operator: Operator) -> list[NDArray[np.int64]]:
    numbers = []
    first = 0
    for group, kept in zip(operator.design.groups, operator.design.kept, strict=True):
        mask = np.ones((group.n_levels, group.width), np.bool_) if kept is None else kept
        rank = np.cumsum(mask.ravel()).reshape(mask.shape)
        numbers.append(np.where(mask, first + rank - 1, -1).astype(np.int64))
        first += int(mask.sum())
    return numbers


def _equation_of_element(partition: Partition, number: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the row of C of every element of the partition's local vectors, -1 if it has none."""
    of = np.full(partition.layout.n_local, -1, np.int64)
    for group, rows in zip(partition.layout.groups, number, strict=True):
        for first, levels in ((group.first_owned, group.owned_levels()), (group.first_ghost, group.ghosts)):
            of[first : first + len(levels) * group.width] = rows[levels].ravel()
    return of


def _records(operator: Operator, partition: Partition) -> Triplets:
    r = partition.records
    size = len(r.pattern) * len(operator.terms) ** 2
    rows, columns, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    n = record_kernels.record_triplets(
        np.uint32(partition.layout.null),
        r.slots,
        r.pattern,
        r.weights,
        operator.residual,
        operator.design.n_traits,
        operator.terms,
        r.coefficients,
        rows,
        columns,
        values,
    )
    return rows[:n], columns[:n], values[:n]


def _gammas(operator: Operator, partition: Partition) -> list[Triplets]:
    """Return Gamma^-1 (x) Sigma^-1 of each random group, over the rows that the partition owns."""
    found = []
    for g, local in enumerate(partition.layout.groups):
        inverse = operator.sigma_inverse[g]
        if inverse is None:
            continue
        relationship = partition.relationship[g]
        own = local.first_owned + np.arange(local.n_owned, dtype=np.int64) * local.width
        if isinstance(relationship, LocalPedigree):
            size = 9 * local.n_owned
            rows, columns, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
            n = kernels.pedigree_triplets(
                local.first_owned,
                local.width,
                relationship.sire,
                relationship.dam,
                relationship.precision,
                np.uint32(partition.layout.null),
                rows,
                columns,
                values,
            )
            rows, columns, values = rows[:n], columns[:n], values[:n]
        elif isinstance(relationship, LocalMatrix):
            rows = np.repeat(own, np.diff(relationship.indptr))
            columns, values = relationship.columns.astype(np.int64), relationship.values
        else:
            rows, columns, values = own, own, np.ones(len(own))
        t, u = (k.ravel() for k in np.indices(inverse.shape))
        found.append(
            (
                (rows[:, None] + t).ravel(),
                (columns[:, None] + u).ravel(),
                (values[:, None] * inverse.ravel()).ravel(),
            )
        )
    return found
