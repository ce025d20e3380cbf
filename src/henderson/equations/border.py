"""The border: the equations of all small fixed groups (means, sexes, years, covariates) as one dense block of C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.kernels import records as kernels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Border:
    """The dense block and where its equations are.

    groups: numbers of the groups in it; matrix: float64 (n, n), the block of C; elements, rows: per partition the owned
    local elements of the border and their rows in `matrix`.
    """

    groups: tuple[int, ...]
    matrix: Floats
    elements: tuple[NDArray[np.uint32], ...]
    rows: tuple[NDArray[np.int64], ...]


def border_of(operator: Operator, limit: int, fewest: int = 2) -> Border | None:
    """Return the border of at most `limit` equations, smallest groups first; None if it has not the `fewest` levels.

    Cost: one pass over the records, one step per pair of terms of small groups. **Collective**.
    """
    design = operator.design
    sizes = sorted((g.size, k) for k, g in enumerate(design.groups) if g.covariance is None)
    chosen: list[int] = []
    total = 0
    for size, k in sizes:
        if total + size <= limit:
            chosen.append(k)
            total += size
    if sum(design.groups[k].n_levels for k in chosen) < fewest:
        return None
    chosen.sort()
    lists = design.term_lists(frozenset(chosen))

    def part(p: int) -> tuple[Floats, NDArray[np.uint32], NDArray[np.int64]]:
        partition = operator.partitions[p]
        place = border_places(operator, p, tuple(chosen))
        matrix = np.zeros((total, total))
        kernels.border_products(place, partition.records, lists, operator.residual, design.n_traits, matrix)
        elements = np.flatnonzero(place[: partition.layout.n_owned] >= 0)
        return matrix, elements.astype(np.uint32), place[elements].astype(np.int64)

    parts = operator.team.run(part, operator.n_partitions)
    matrix = operator.exchange.sum_arrays([m for m, _, _ in parts])
    left_out = np.concatenate([~np.asarray(design.kept[k]).ravel() for k in chosen])
    matrix[left_out] = 0.0
    matrix[:, left_out] = 0.0
    return Border(tuple(chosen), matrix, tuple(e for _, e, _ in parts), tuple(r for _, _, r in parts))


def border_places(operator: Operator, p: int, groups: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the row in the border of `groups` of each local element of partition `p`, ghosts too; -1 elsewhere."""
    layout = operator.partitions[p].layout
    place = np.full(layout.n_local, -1, np.int32)
    first = 0
    for k in groups:
        local = layout.groups[k]
        for begin, levels in ((local.first_owned, local.owned_levels()), (local.first_ghost, local.ghosts)):
            row = (first + levels.astype(np.int64)[:, None] * local.width + np.arange(local.width)).ravel()
            place[begin : begin + len(row)] = row
        first += operator.design.groups[k].size
    return place


def inverse_of_border(matrix: Floats) -> Floats:
    """Return the inverse over the equations that are not zero, zero elsewhere; symmetric, positive definite there.

    Directions that rounding has made singular (relative 1e-13 after scaling) are treated as if they had that
    eigenvalue.
    """
    kept, scale, values, vectors = _spectrum(matrix)
    half = vectors / np.sqrt(values) * scale[:, None]
    inverse = np.zeros_like(matrix)
    inverse[np.ix_(kept, kept)] = half @ half.T
    return inverse


def log_determinant_of_border(matrix: Floats) -> float:
    """Return the log-determinant over the equations that are not zero: that of `inverse_of_border`, negative."""
    _, scale, values, _ = _spectrum(matrix)
    return float(np.log(values).sum() - 2.0 * np.log(scale).sum())


def root_of_border(matrix: Floats) -> Floats:
    """Return L with L L' the inverse of `inverse_of_border` over the equations that are not zero; zero elsewhere."""
    kept, scale, values, vectors = _spectrum(matrix)
    root = np.zeros_like(matrix)
    root[np.ix_(kept, kept)] = (vectors * np.sqrt(values)) @ vectors.T / scale[:, None]
    return root


def _spectrum(matrix: Floats) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """Return the rows that are not zero, their scale, and the eigenvalues and vectors of what it makes of them."""
    diagonal = np.diag(matrix)
    kept = np.flatnonzero(diagonal > 0.0)
    scale = 1.0 / np.sqrt(diagonal[kept])
    values, vectors = np.linalg.eigh(matrix[np.ix_(kept, kept)] * scale[:, None] * scale)
    return kept, scale, np.maximum(values, 1e-13 * max(1.0, float(values.max(initial=0.0)))), vectors
