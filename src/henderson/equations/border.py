"""The border: the equations of all small fixed groups (means, sexes, years, covariates) as one dense block of C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
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


def small_groups(design: Design, limit: int) -> list[int]:
    """Return the fixed groups that have at most `limit` equations together, the smallest being taken first."""
    chosen: list[int] = []
    total = 0
    for size, k in sorted((g.size, k) for k, g in enumerate(design.groups) if g.covariance is None):
        if total + size <= limit:
            chosen.append(k)
            total += size
    return sorted(chosen)


def border_of(operator: Operator, limit: int) -> Border | None:
    """Return the border of at most `limit` equations, smallest groups first; None if there are not two levels to join.

    Cost: one pass over the records, one step per pair of terms of small groups. **Collective**.
    """
    design = operator.design
    chosen = small_groups(design, limit)
    total = sum(design.groups[k].size for k in chosen)
    if sum(design.groups[k].n_levels for k in chosen) < 2:
        return None
    first = dict(zip(chosen, np.cumsum([0, *(design.groups[k].size for k in chosen)]), strict=False))
    lists = design.term_lists(frozenset(first))

    def part(p: int) -> tuple[Floats, NDArray[np.uint32], NDArray[np.int64]]:
        partition = operator.partitions[p]
        layout = partition.layout
        place = np.full(layout.n_local, -1, np.int32)
        elements, rows = [], []
        for k in first:
            local = layout.groups[k]
            owned, steps = local.owned_levels(), np.arange(local.width)
            for begin, levels in ((local.first_owned, owned), (local.first_ghost, local.ghosts)):
                row = (first[k] + levels.astype(np.int64)[:, None] * local.width + steps).ravel()
                place[begin : begin + len(row)] = row
            elements.append(np.arange(local.elements.start, local.elements.stop))
            rows.append((first[k] + owned.astype(np.int64)[:, None] * local.width + steps).ravel())
        matrix = np.zeros((total, total))
        kernels.border_products(place, partition.records, lists, operator.residual, design.n_traits, matrix)
        return matrix, np.concatenate(elements).astype(np.uint32), np.concatenate(rows)

    parts = operator.team.run(part, operator.n_partitions)
    matrix = operator.exchange.sum_arrays([m for m, _, _ in parts])
    left_out = np.concatenate([~np.asarray(design.kept[k]).ravel() for k in first])
    matrix[left_out] = 0.0
    matrix[:, left_out] = 0.0
    return Border(tuple(first), matrix, tuple(e for _, e, _ in parts), tuple(r for _, _, r in parts))


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
