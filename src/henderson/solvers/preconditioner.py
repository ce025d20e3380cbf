"""Preconditioners of the conjugate gradient method: the diagonal, or one small dense block per level."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from henderson.equations.blocks import block_column, widest
from henderson.equations.border import (
    Border,
    border_of,
    inverse_of_border,
    log_determinant_of_border,
    root_of_border,
)
from henderson.equations.operator import UNROLLED, Operator
from henderson.errors import HendersonError
from henderson.kernels import blocks as kernels
from henderson.kernels import columns as side_by_side
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]
Kind = Literal["border", "block", "diagonal"]
BORDER_LIMIT = 1000  # equations; the dense block takes 8 n^2 bytes


class Preconditioner(Protocol):
    """What PCG needs: M^-1, applied in the pass that updates the residual."""

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r (`z` may be `q`); return (r'r, r'z) over all partitions. **Collective**."""


class BlockPreconditioner:
    """M = the diagonal blocks of C, one per level of every group: traits and correlated effects of a level together.

    With kind ``border`` the small fixed groups form one dense block instead, with ``diagonal`` only the diagonal
    elements are taken. Memory: width (width + 1) / 2 floats a level, and the border.
    """

    def __init__(self, operator: Operator, kind: Kind = "border", border_limit: int = BORDER_LIMIT) -> None:
        self._operator = operator
        self._border = border_of(operator, border_limit) if kind == "border" else None
        self._rows: list[NDArray[np.float64]] = []  # of the border's inverse, those that a partition owns
        if self._border is not None:
            inverse = inverse_of_border(self._border.matrix)
            self._rows = [inverse[rows] for rows in self._border.rows]
        self._packed = _columns(operator, kind)

        def invert(p: int) -> None:
            layout = operator.partitions[p].layout
            for g, (local, packed) in enumerate(zip(layout.groups, self._packed[p], strict=True)):
                kept = operator.design.kept[g]
                mask = None if kept is None else np.ascontiguousarray(kept[local.owned_levels()])
                failed = kernels.invert_blocks(local.width, mask, packed)
                if failed >= 0:
                    level = int(local.owned_levels()[failed])
                    name = operator.design.groups[g].labels.text(level, level + 1)[0]
                    raise HendersonError(
                        f"the equations of level {name!r} of {operator.design.groups[g].name!r} are not finite; "
                        "look for extreme values among covariates, weights and variances"
                    )

        operator.team.run(invert, operator.n_partitions)

    def arrays(self) -> list[NDArray[np.float64]]:
        """Return the arrays it consists of here: the blocks, and the inverse of the border."""
        return [
            *(packed for parts in self._packed for packed in parts),
            *self._rows,
        ]

    def log_determinant(self) -> float:
        """Return log|M| over the equations that are kept. **Collective**."""
        border = () if self._border is None else self._border.groups

        def part(p: int) -> float:
            blocks = zip(self._operator.partitions[p].layout.groups, self._packed[p], strict=True)
            return sum(kernels.log_determinant(g.width, b) for k, (g, b) in enumerate(blocks) if k not in border)

        inverse = self._operator.exchange.sum(self._operator.team.run(part, self._operator.n_partitions))
        return -inverse if self._border is None else log_determinant_of_border(self._border.matrix) - inverse

    def multiply_root(self, x: Vectors) -> None:
        """Replace vectors side by side by L x, L L' = M; L moves smoothly with the equations. **Collective**."""

        def part(p: int) -> None:
            for local, packed in zip(self._operator.partitions[p].layout.groups, self._packed[p], strict=True):
                kernels.multiply_root(local.width, local.first_owned, packed, x[p])

        border = self._border
        of_border = np.zeros(0) if border is None else root_of_border(border.matrix) @ self._of_border(border, x)
        self._operator.team.run(part, self._operator.n_partitions)
        if border is not None:
            for mine, elements, rows in zip(x, border.elements, border.rows, strict=True):
                mine[elements] = of_border[rows]

    def inverse_diagonal(self) -> Vectors:
        """Return the diagonal of M^-1, zero where equations are left out."""
        out = self._operator.zeros()
        for p, (partition, x) in enumerate(zip(self._operator.partitions, out, strict=True)):
            for local, packed in zip(partition.layout.groups, self._packed[p], strict=True):
                diagonal = [t * (t + 3) // 2 for t in range(local.width)]
                stop = local.first_owned + local.n_owned * local.width
                x[local.first_owned : stop] = packed[:, diagonal].ravel()
            if self._border is not None:
                rows = self._border.rows[p]
                x[self._border.elements[p]] = self._rows[p][np.arange(len(rows)), rows]
        return out

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r; return (r'r, r'z). **Collective**."""

        def part(p: int) -> tuple[float, float]:
            squares = product = 0.0
            for local, packed in zip(self._operator.partitions[p].layout.groups, self._packed[p], strict=True):
                if local.width <= UNROLLED:
                    zero = (0.0,) * local.width
                    rr, rz = kernels.descend_blocks(zero, local.first_owned, packed, alpha, q[p], r[p], z[p])
                else:
                    rr, rz = kernels.descend_blocks_wide(
                        local.width, local.first_owned, packed, alpha, q[p], r[p], z[p]
                    )
                squares += rr
                product += rz
            return squares, product

        partials = self._operator.team.run(part, self._operator.n_partitions)
        more = self._solve_border(r, z)
        sums = [np.array([rr, rz + float(add)]) for (rr, rz), add in zip(partials, more, strict=True)]
        squares, product = self._operator.exchange.sum_arrays(sums).tolist()
        return squares, product

    def descend_columns(self, alpha: Floats, q: Vectors, r: Vectors, z: Vectors) -> tuple[Floats, Floats]:
        """Set r_j -= alpha_j q_j and z_j = M^-1 r_j; return all (r_j'r_j, r_j'z_j). **Collective**."""

        def part(p: int) -> Floats:
            sums = np.zeros((2, len(alpha)))
            for local, packed in zip(self._operator.partitions[p].layout.groups, self._packed[p], strict=True):
                side_by_side.descend_blocks(
                    local.width, local.first_owned, packed, alpha, q[p], r[p], z[p], sums[0], sums[1]
                )
            return sums

        partials = self._operator.team.run(part, self._operator.n_partitions)
        for sums, more in zip(partials, self._solve_border(r, z), strict=True):
            sums[1] += more
        squares, products = self._operator.exchange.sum_arrays(partials)
        return squares, products

    def apply(self, r: Vectors, z: Vectors) -> None:
        """Set z = M^-1 r; `z` must not be `r`. **Collective**."""

        def part(p: int) -> None:
            for local, packed in zip(self._operator.partitions[p].layout.groups, self._packed[p], strict=True):
                if local.width <= UNROLLED:
                    kernels.apply_blocks((0.0,) * local.width, local.first_owned, packed, r[p], z[p])
                else:
                    kernels.apply_blocks_wide(local.width, local.first_owned, packed, r[p], z[p])

        self._operator.team.run(part, self._operator.n_partitions)
        self._solve_border(r, z)

    def _solve_border(self, r: Vectors, z: Vectors) -> list[Floats]:
        """Set z = (block of C)^-1 r in the border; return what each partition adds to r'z beyond its level blocks.

        Every partition computes the rows that it owns. Vectors may be several side by side.
        """
        border = self._border
        if border is None:
            return [np.zeros(())] * self._operator.n_partitions
        residual = self._of_border(border, r)
        more = []
        for p, (elements, rows) in enumerate(zip(border.elements, border.rows, strict=True)):
            solution = self._rows[p] @ residual
            more.append(np.sum(residual[rows] * (solution - z[p][elements]), axis=0))
            z[p][elements] = solution
        return more

    def _of_border(self, border: Border, x: Vectors) -> Floats:
        """Return the elements of the border, of all partitions. **Collective**."""
        partials = []
        for p, (elements, rows) in enumerate(zip(border.elements, border.rows, strict=True)):
            mine = np.zeros((len(border.matrix), *x[p].shape[1:]))
            mine[rows] = x[p][elements]
            partials.append(mine)
        return self._operator.exchange.sum_arrays(partials)


def _columns(operator: Operator, kind: Kind) -> list[list[NDArray[np.float64]]]:
    """Return the packed diagonal blocks of C per partition and group."""
    packed = [
        [np.zeros((g.n_owned, g.width * (g.width + 1) // 2)) for g in partition.layout.groups]
        for partition in operator.partitions
    ]
    work = operator.zeros()
    for column in range(widest(operator)):
        block_column(operator, column, work)

        def store(p: int, column: int = column) -> None:
            for local, blocks in zip(operator.partitions[p].layout.groups, packed[p], strict=True):
                if column < local.width:
                    last = column + 1 if kind == "diagonal" else local.width
                    kernels.store_column(column, last, local.first_owned, local.width, work[p], blocks)

        operator.team.run(store, operator.n_partitions)
    return packed
