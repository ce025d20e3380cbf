"""The equations as a sparse matrix, for problems small enough: from the same partitions that the products use.

Every partition makes the triplets of its own records and individuals in chunks and sums them; the sums become a SciPy
matrix here, and the rows of a distributed one in `solvers.petsc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.kernels import records as record_kernels
from henderson.kernels import relationship as kernels
from henderson.kernels.pedigree_loadings import Rows, loadings_triplets

Floats = NDArray[np.float64]
Indices = NDArray[np.int32] | NDArray[np.int64]
Triplets = tuple[NDArray[np.int64], NDArray[np.int64], Floats]

BYTES_PER_TRIPLET = 40  # 24 as triplets, 16 as the matrix they are summed into
CHUNK = 2_000_000  # triplets that are summed at a time


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
    lists = operator.terms
    squares = np.diff(lists.first)[lists.of_pattern] ** 2
    total = int(operator.design.patterns.counts() @ squares)
    for partition in operator.partitions:
        for group, relationship in zip(partition.layout.groups, partition.relationship, strict=True):
            entries = 1 * group.n_owned
            if isinstance(relationship, LocalPedigree):
                entries = 9 * group.n_owned
                if relationship.loadings is not None:
                    entries += int(((1 + np.diff(relationship.loadings.indptr)) ** 2).sum())
            elif isinstance(relationship, LocalMatrix):
                entries = len(relationship.values)
            total += entries * group.width**2
    return total


def assemble(operator: Operator) -> Assembled:
    """Return C and the right-hand side. Memory: `BYTES_PER_TRIPLET` for each of `triplet_count` at most."""
    number, n = number_equations(operator.design)
    parts: list[Triplets] = []
    for partition in operator.partitions:
        of = _equation_of_element(partition, number)
        local = coo_array(local_matrix(operator, partition))
        row, column = of[local.row], of[local.col]
        kept = (row >= 0) & (column >= 0)
        parts.append((row[kept], column[kept], local.data[kept]))
    rows, columns, values = (np.concatenate([p[k] for p in parts]) for k in range(3))
    matrix = csr_array(coo_array((values, (rows, columns)), shape=(n, n)))
    rhs = np.zeros(n + 1)
    for at, value in zip(number, operator.to_levels(operator.right_hand_side()), strict=True):
        rhs[at] = value
    return Assembled(matrix, rhs[:n].copy(), tuple(number))


def local_matrix(operator: Operator, partition: Partition) -> csr_array:
    """Return what the partition's records and individuals add to C, over its local elements (ghosts included).

    Shape (n_local, n_local), rows and columns of equations that are left out included. Memory: 12 bytes an entry, twice
    that while sums are joined.
    """
    n = partition.layout.n_local
    return matrix_of(chain(record_triplets_of(operator, partition), _gammas(operator, partition)), (n, n))


def matrix_of(chunks: Iterable[tuple[Indices, Indices, Floats]], shape: tuple[int, int]) -> csr_array:
    """Return the sum of triplets that come in chunks.

    Sums of about as many chunks are joined, like the digits of a binary counter: an entry is copied as often as the
    logarithm of their number says.
    """
    sums: list[tuple[int, csr_array]] = []  # chunks joined, their sum
    for rows, columns, values in chunks:
        count, matrix = 1, csr_array(coo_array((values, (rows, columns)), shape=shape))
        while sums and sums[-1][0] <= count:
            joined, other = sums.pop()
            count, matrix = count + joined, csr_array(other + matrix)
        sums.append((count, matrix))
    total = csr_array(shape)
    while sums:
        total = csr_array(sums.pop()[1] + total)
    return total


def number_equations(design: Design, *, pinned: bool = True) -> tuple[list[NDArray[np.int64]], int]:
    """Return the row of C of each (level, position) per group, -1 where it is left out, and the number of rows.

    Without `pinned` the equations that are held at zero are left out, too.
    """
    numbers = []
    first = 0
    for g, (group, kept) in enumerate(zip(design.groups, design.kept, strict=True)):
        mask = np.ones((group.n_levels, group.width), np.bool_) if kept is None else kept.copy()
        for held, level, position in () if pinned else design.pinned:
            if held == g:
                mask[level, position] = False
        rank = np.cumsum(mask.ravel()).reshape(mask.shape)
        numbers.append(np.where(mask, first + rank - 1, -1).astype(np.int64))
        first += int(mask.sum())
    return numbers, first


def _equation_of_element(partition: Partition, number: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the row of C of every element of the partition's local vectors, -1 if it has none."""
    of = np.full(partition.layout.n_local, -1, np.int64)
    for group, rows in zip(partition.layout.groups, number, strict=True):
        for first, levels in ((group.first_owned, group.owned_levels()), (group.first_ghost, group.ghosts)):
            of[first : first + len(levels) * group.width] = rows[levels].ravel()
    return of


def record_triplets_of(
    operator: Operator, partition: Partition, groups: frozenset[int] | None = None
) -> Iterator[Triplets]:
    """Yield W' R^-1 W (of the terms of `groups`) as triplets of local elements, some records at a time."""
    r = partition.records
    lists = operator.terms if groups is None else operator.design.term_lists(groups)
    pairs = max(1, int(np.diff(lists.first).max(initial=0)) ** 2)
    step = max(1, CHUNK // pairs)
    for start in range(0, len(r.pattern), step):
        part = r.part(start, start + step)
        size = len(part.pattern) * pairs
        rows, columns, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
        n = record_kernels.record_triplets(
            np.uint32(partition.layout.null),
            part,
            lists,
            operator.residual,
            operator.design.n_traits,
            rows,
            columns,
            values,
        )
        yield rows[:n], columns[:n], values[:n]


def _gammas(operator: Operator, partition: Partition) -> Iterator[Triplets]:
    """Yield Gamma^-1 (x) Sigma^-1 of each random group over the rows that the partition owns, some rows at a time."""
    if (pins := partition.pins) is not None:
        yield pins.element.astype(np.int64), pins.element.astype(np.int64), pins.precision
    for g, local in enumerate(partition.layout.groups):
        inverse = operator.sigma_inverse[g]
        if inverse is None:
            continue
        own = partition.sigmas[g]
        t, u = (k.ravel() for k in np.indices(inverse.shape))
        step = max(1, CHUNK // (9 * inverse.size))
        for start in range(0, local.n_owned, step):
            rows, columns, values = _gamma(partition, g, start, min(start + step, local.n_owned))
            blocks = inverse.ravel() if own is None else own.blocks(rows, columns)
            yield (rows[:, None] + t).ravel(), (columns[:, None] + u).ravel(), (values[:, None] * blocks).ravel()
        relationship = partition.relationship[g]
        if isinstance(relationship, LocalPedigree) and relationship.loadings is not None:
            for rows, columns, values in _loadings(relationship.loadings, CHUNK // inverse.size):
                blocks = inverse.ravel() if own is None else own.blocks(rows, columns)
                yield (rows[:, None] + t).ravel(), (columns[:, None] + u).ravel(), (values[:, None] * blocks).ravel()


def _loadings(loadings: Rows, limit: int) -> Iterator[Triplets]:
    """Yield A^-1 of the animals in `loadings` as triplets of block offsets, about `limit` at a time."""
    sizes = np.cumsum((1 + np.diff(loadings.indptr)) ** 2)
    start = 0
    while start < len(sizes):
        before = int(sizes[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(sizes, before + limit, side="right")))
        size = int(sizes[stop - 1]) - before
        rows, columns, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
        indptr = loadings.indptr[start : stop + 1]
        loadings_triplets(
            loadings.own[start:stop],
            indptr,
            loadings.parent,
            loadings.weight,
            loadings.precision[start:stop],
            rows,
            columns,
            values,
        )
        yield rows, columns, values
        start = stop


def _gamma(partition: Partition, g: int, start: int, stop: int) -> Triplets:
    """Return Gamma^-1 of group `g` for its owned levels start..stop, as triplets of block offsets."""
    local, relationship = partition.layout.groups[g], partition.relationship[g]
    first = local.first_owned + start * local.width
    own = first + np.arange(stop - start, dtype=np.int64) * local.width
    if isinstance(relationship, LocalPedigree):
        size = 9 * (stop - start)
        rows, columns, values = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
        n = kernels.pedigree_triplets(
            first,
            local.width,
            relationship.sire[start:stop],
            relationship.dam[start:stop],
            relationship.precision[start:stop],
            np.uint32(partition.layout.null),
            rows,
            columns,
            values,
        )
        return rows[:n], columns[:n], values[:n]
    if isinstance(relationship, LocalMatrix):
        entries = slice(relationship.indptr[start], relationship.indptr[stop])
        rows = np.repeat(own, np.diff(relationship.indptr[start : stop + 1]))
        return rows, relationship.columns[entries].astype(np.int64), relationship.values[entries]
    return own, own, np.ones(len(own))
