"""Prediction error (co)variances of chosen levels, by one solve of the equations a coefficient, many side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.chosen import Chosen
from henderson.accuracy.gamma import GammaDiagonal
from henderson.equations.columns import ColumnOperator
from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.errors import NotConvergedError
from henderson.partitions.exchange import Vectors
from henderson.solvers.pcg_columns import ColumnsReport, pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

VECTORS = 5  # of each right-hand side: itself, solution, residual, direction, product
MOST_COLUMNS = 64


@dataclass(frozen=True)
class Blocks:
    """The blocks of C^-1 of some levels: float64 (n_levels, n, n) over the n chosen positions, NaN where left out."""

    chosen: Chosen
    values: Floats

    @property
    def variances(self) -> Floats:
        """Return the diagonals, (n_levels, n)."""
        return np.asarray(np.einsum("ijj->ij", self.values))


@dataclass(frozen=True)
class PevReport:
    """What was solved: the blocks, the number of right-hand sides, the products, and the largest relative residual."""

    blocks: tuple[Blocks, ...]
    n_columns: int
    products: int
    relative_residual: float


def columns_for(operator: Operator, memory: int, vectors: int = VECTORS) -> int:
    """Return how many columns of that many vectors fit into `memory` bytes of this process, 1 to `MOST_COLUMNS`."""
    elements = sum(p.layout.n_local for p in operator.partitions)
    return int(min(MOST_COLUMNS, max(1, memory // (8 * vectors * max(1, elements)))))


def solve_all(
    columns: ColumnOperator, preconditioner: BlockPreconditioner, rhs: Vectors, rtol: float, max_it: int
) -> ColumnsReport:
    """Return the solutions of all columns. **Collective**.

    Raises
    ------
    NotConvergedError
        One has none.

    """
    report = pcg_columns(columns, preconditioner, rhs, rtol=rtol, max_it=max_it)
    if not report.converged:
        raise NotConvergedError(
            f"job 'pev' stopped after {report.products} products at a relative residual of "
            f"{report.relative_residuals.max():.2e}: {report.reason.value}"
        )
    return report


def solve_pev(
    operator: Operator,
    preconditioner: BlockPreconditioner,
    chosen: Sequence[Chosen],
    *,
    n_columns: int,
    rtol: float = 1e-8,
    max_it: int = 5000,
    progress: Progress | None = None,
) -> PevReport:
    """Return the blocks of C^-1 of the chosen levels, the same on all processes. **Collective**.

    Column i of C^-1 solves C x = e_i. As e_i'C^-1 e_i is the square of the norm in which conjugate gradients are
    optimal, its relative error is about the square of that of x (Hestenes & Stiefel 1952, theorem 6:3).

    Parameters
    ----------
    operator, preconditioner
        The equations.
    chosen
        The levels; equations that are left out have no variance.
    n_columns
        Right-hand sides at a time; five vectors of memory each.
    rtol, max_it
        As in `solvers.pcg_columns`.
    progress
        Called as progress(done, all) after each batch.

    Raises
    ------
    NotConvergedError
        A solve did not converge.

    """
    design = operator.design
    blocks = tuple(Blocks(c, np.full((len(c.levels), len(c.positions), len(c.positions)), np.nan)) for c in chosen)
    elements = [[_elements(operator, c, p) for c in chosen] for p in range(operator.n_partitions)]
    kept = [_kept(design, c) for c in chosen]
    pairs = [np.argwhere(of) for of in kept]  # (level, position) of every right-hand side
    number = np.repeat(np.arange(len(pairs)), [len(of) for of in pairs])
    wanted = np.column_stack([number, np.concatenate([np.empty((0, 2), np.int64), *pairs])])
    products, worst = 0, 0.0
    for start in range(0, len(wanted), n_columns):
        batch = wanted[start : start + n_columns]
        columns = ColumnOperator(operator, len(batch))
        rhs = columns.zeros()
        for p, mine in enumerate(rhs):
            for column, (k, level, j) in enumerate(batch.tolist()):
                if (at := elements[p][k][level, j]) >= 0:
                    mine[at, column] = 1.0
        report = solve_all(columns, preconditioner, rhs, rtol, max_it)
        products += report.products
        worst = max(worst, float(report.relative_residuals.max()))
        parts = [_rows(x, batch, elements[p], chosen) for p, x in enumerate(report.solution)]
        found = operator.exchange.sum_arrays(parts)
        for column, (k, level, j) in enumerate(batch.tolist()):
            n = len(chosen[k].positions)
            row = np.where(kept[k][level], found[column, :n], np.nan)
            blocks[k].values[level, j] = row
        if progress is not None:
            progress(min(start + n_columns, len(wanted)), len(wanted))
    for block in blocks:
        block.values[:] = (block.values + block.values.transpose(0, 2, 1)) / 2.0
    return PevReport(blocks, len(wanted), products, worst)


def reliabilities(design: Design, blocks: Sequence[Blocks], gamma: GammaDiagonal) -> list[Floats | None]:
    """Return 1 - PEV / (gamma_ii sigma_pp) of each block, (n_levels, n); None for fixed effects (Henderson 1975)."""
    found: list[Floats | None] = []
    for block in blocks:
        chosen = block.chosen
        covariance = design.groups[chosen.group].covariance
        if covariance is None:
            found.append(None)
            continue
        sigma = covariance.variances(chosen.levels)[:, list(chosen.positions)]
        found.append(np.asarray(1.0 - block.variances / (gamma(covariance, chosen.levels)[:, None] * sigma)))
    return found


def _kept(design: Design, chosen: Chosen) -> NDArray[np.bool_]:
    kept = design.kept[chosen.group]
    shape = (len(chosen.levels), len(chosen.positions))
    return np.ones(shape, np.bool_) if kept is None else kept[np.ix_(chosen.levels, np.array(chosen.positions))]


def _elements(operator: Operator, chosen: Chosen, p: int) -> NDArray[np.int64]:
    """Return the local element of each (level, position) in partition `p`, -1 where another owns it."""
    local = operator.partitions[p].layout.groups[chosen.group]
    owned = local.owned_levels().astype(np.int64)
    out = np.full((len(chosen.levels), len(chosen.positions)), -1, np.int64)
    if len(owned):
        order = np.argsort(owned, kind="stable")
        place = order[np.minimum(np.searchsorted(owned, chosen.levels, sorter=order), len(owned) - 1)]
        here = owned[place] == chosen.levels
        first = local.first_owned + place[here] * local.width
        out[here] = first[:, None] + np.array(chosen.positions)
    return out


def _rows(x: Floats, batch: NDArray[np.int64], elements: list[NDArray[np.int64]], chosen: Sequence[Chosen]) -> Floats:
    """Return what a partition has of each column at the level that it belongs to, (n_columns, most positions)."""
    out = np.zeros((len(batch), max(len(c.positions) for c in chosen)))
    for column, (k, level, _) in enumerate(batch.tolist()):
        for i, at in enumerate(elements[k][level].tolist()):
            if at >= 0:
                out[column, i] = x[at, column]
    return out
