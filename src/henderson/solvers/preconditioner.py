"""Preconditioners of the conjugate gradient method: the diagonal, or one small dense block per level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from henderson.equations.blocks import OwnGamma, add_blocks
from henderson.equations.border import (
    Border,
    border_of,
    inverse_of_border,
    log_determinant_of_border,
    root_of_border,
)
from henderson.equations.memory import COMPACT_ABOVE
from henderson.equations.operator import UNROLLED, Operator
from henderson.errors import HendersonError
from henderson.kernels import blocks as kernels
from henderson.kernels import vectors
from henderson.kernels.blocks import LevelBlocks, level_blocks
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]
Kind = Literal["sweep", "border", "block", "diagonal"]
BORDER_LIMIT = 1000  # equations; the dense block takes 8 n^2 bytes


class Preconditioner(Protocol):
    """What PCG needs: M^-1, applied in the pass that updates the residual."""

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r (`z` may be `q`); return (r'r, r'z) over all partitions. **Collective**."""


def descend_apart(
    operator: Operator, apply: Callable[[Vectors, Vectors], None], alpha: float, q: Vectors, r: Vectors, z: Vectors
) -> tuple[float, float]:
    """`Preconditioner.descend` where M^-1 needs a pass of its own, apply(r, z). **Collective**."""
    n = operator.n_owned
    parts = operator.team.run(lambda p: vectors.lessen(n[p], alpha, q[p], r[p]), operator.n_partitions)
    squares = operator.exchange.sum(parts)
    apply(r, z)
    products = operator.team.run(lambda p: vectors.dot(n[p], r[p], z[p]), operator.n_partitions)
    return squares, operator.exchange.sum(products)


class BlockPreconditioner:
    """M = the diagonal blocks of C, one per level of every group: traits and correlated effects of a level together.

    With kind ``border`` the small fixed groups form one dense block instead, with ``diagonal`` only the diagonal
    elements are taken; ``sweep`` is in `solvers.sweep`. Memory: width (width + 1) / 2 doubles a level, and the border;
    of a random group for which that is more than `compact_above` bytes single precision, and none for levels without
    records: their block is a number times Sigma^-1; groups in `whole` are not.
    """

    def __init__(
        self,
        operator: Operator,
        kind: Kind = "border",
        border_limit: int = BORDER_LIMIT,
        compact_above: int = COMPACT_ABOVE,
        whole: frozenset[int] = frozenset(),
    ) -> None:
        self._operator = operator
        self._border = border_of(operator, border_limit) if kind == "border" else None
        self._rows: list[NDArray[np.float64]] = []  # of the border's inverse, those that a partition owns
        if self._border is not None:
            inverse = inverse_of_border(self._border.matrix)
            self._rows = [inverse[rows] for rows in self._border.rows]
        self._blocks = _blocks(operator, kind, compact_above, self._mark, whole, self._own_gamma)
        inverted = self._prepare(self._blocks)

        def invert(p: int) -> None:
            layout = operator.partitions[p].layout
            for g, (local, blocks) in enumerate(zip(layout.groups, self._blocks[p], strict=True)):
                if g in inverted:
                    continue
                kept = operator.design.kept[g]
                mask = None if kept is None else np.ascontiguousarray(kept[local.owned_levels()])
                failed = kernels.invert_blocks(local.width, mask, blocks.packed)
                if failed >= 0:
                    at = failed if blocks.place is None else int(np.flatnonzero(blocks.place == failed)[0])
                    self._refuse(g, int(local.owned_levels()[at]))

        operator.team.run(invert, operator.n_partitions)

    def _refuse(self, g: int, level: int) -> NoReturn:
        name = self._operator.design.groups[g].labels.text(level, level + 1)[0]
        raise HendersonError(
            f"the equations of level {name!r} of {self._operator.design.groups[g].name!r} are not finite; "
            "look for extreme values among covariates, weights and variances"
        )

    def _mark(self, work: Vectors) -> None:
        """Make the first element of every level that needs a block of its own positive. **Collective**."""
        _mark(self._operator, work)

    def _own_gamma(self, p: int, g: int, y: Floats) -> bool:
        """Add the diagonal of Gamma^-1 to the first elements of levels and return True, or return False."""
        return False

    def _prepare(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Take what is needed of the blocks of C; return the groups whose blocks are inverses then. **Collective**."""
        return frozenset()

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here."""
        return sum(b.nbytes for parts in self._blocks for b in parts) + sum(r.nbytes for r in self._rows)

    def arrays(self) -> list[NDArray[Any]]:
        """Return the arrays it consists of here: the blocks, and the inverse of the border."""
        return [*(a for parts in self._blocks for b in parts for a in (b.packed, b.scale)), *self._rows]

    def log_determinant(self) -> float:
        """Return log|M| over the equations that are kept. **Collective**."""
        border = () if self._border is None else self._border.groups

        def part(p: int) -> float:
            return sum(kernels.log_determinant(b) for k, b in enumerate(self._blocks[p]) if k not in border)

        inverse = self._operator.exchange.sum(self._operator.team.run(part, self._operator.n_partitions))
        return -inverse if self._border is None else log_determinant_of_border(self._border.matrix) - inverse

    def multiply_root(self, x: Vectors) -> None:
        """Replace vectors side by side by L x, L L' = M; L moves smoothly with the equations. **Collective**."""

        def part(p: int) -> None:
            for blocks in self._blocks[p]:
                kernels.multiply_root(blocks, x[p])

        border = self._border
        of_border = np.zeros(0) if border is None else root_of_border(border.matrix) @ self._of_border(border, x)
        self._operator.team.run(part, self._operator.n_partitions)
        if border is not None:
            for mine, elements, rows in zip(x, border.elements, border.rows, strict=True):
                mine[elements] = of_border[rows]

    def inverse_diagonal(self) -> Vectors:
        """Return the diagonal of M^-1, zero where equations are left out."""
        out = self._operator.zeros()
        for p, x in enumerate(out):
            for blocks in self._blocks[p]:
                kernels.inverse_diagonal(blocks, x)
            if self._border is not None:
                rows = self._border.rows[p]
                x[self._border.elements[p]] = self._rows[p][np.arange(len(rows)), rows]
        return out

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r; return (r'r, r'z). **Collective**."""

        def part(p: int) -> tuple[float, float]:
            squares = product = 0.0
            for blocks in self._blocks[p]:
                if blocks.width <= UNROLLED and blocks.place is None:
                    rr, rz = kernels.descend_blocks((0.0,) * blocks.width, blocks, alpha, q[p], r[p], z[p])
                else:
                    rr, rz = kernels.descend_blocks_wide(blocks, alpha, q[p], r[p], z[p])
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
            for blocks in self._blocks[p]:
                kernels.descend_columns(blocks, alpha, q[p], r[p], z[p], sums[0], sums[1])
            return sums

        partials = self._operator.team.run(part, self._operator.n_partitions)
        for sums, more in zip(partials, self._solve_border(r, z), strict=True):
            sums[1] += more
        squares, products = self._operator.exchange.sum_arrays(partials)
        return squares, products

    def apply(self, r: Vectors, z: Vectors) -> None:
        """Set z = M^-1 r; `z` must not be `r`. **Collective**."""

        def part(p: int) -> None:
            for blocks in self._blocks[p]:
                kernels.apply_blocks(blocks, r[p], z[p])

        self._operator.team.run(part, self._operator.n_partitions)
        self._solve_border(r, z)

    def solve_classes(self, r: Vectors, z: Vectors) -> bool:
        """Set z to the solution of all classes for r, the others held, if it has their factors; return whether."""
        return False

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


def _blocks(
    operator: Operator,
    kind: Kind,
    compact_above: int,
    mark: Callable[[Vectors], None],
    whole: frozenset[int],
    gamma: OwnGamma,
) -> list[list[LevelBlocks]]:
    """Return the diagonal blocks of C per partition and group, not yet inverted. **Collective**."""
    work = operator.zeros()
    mark(work)

    def room(p: int) -> list[LevelBlocks]:
        partition, found = operator.partitions[p], []
        for g, local in enumerate(partition.layout.groups):
            inverse = operator.sigma_inverse[g]
            width, first, n = local.width, local.first_owned, local.n_owned
            size = width * (width + 1) // 2
            large = g not in whole and 8 * size * operator.design.groups[g].n_levels > compact_above
            if inverse is None or partition.sigmas[g] is not None or not large:
                found.append(level_blocks(width, first, np.zeros((n, size))))
                continue
            own = work[p][first : first + n * width : width] > 0.0
            place = np.where(own, np.cumsum(own, dtype=np.int32) - 1, -1).astype(np.int32)
            packed = np.zeros((int(np.count_nonzero(own)), size), np.float32)
            sigma = np.diag(1.0 / np.diag(inverse)) if kind == "diagonal" else np.linalg.inv(inverse)
            scale = np.zeros(n, np.float32)
            found.append(level_blocks(width, first, packed, place, scale, np.ascontiguousarray(sigma, np.float64)))
        return found

    blocks = operator.team.run(room, operator.n_partitions)
    add_blocks(operator, blocks, work, diagonal=kind == "diagonal", own_gamma=gamma)
    return blocks


def _mark(operator: Operator, work: Vectors) -> None:
    """Make the first element of every level with records, or an equation held at zero, positive. **Collective**."""

    def part(p: int) -> None:
        partition = operator.partitions[p]
        for s in range(len(operator.design.slots)):
            kernels.mark(partition.records.slots[:, s], work[p])
        if (pins := partition.pins) is not None:
            work[p][pins.element - pins.position.astype(np.uint32)] = 1.0

    operator.team.run(part, operator.n_partitions)
    operator.exchange.reverse_add(work)
