"""A preconditioner that sweeps through the equations: classes, then individuals along the pedigree, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from henderson.equations.blocks import add_ghosts
from henderson.equations.memory import COMPACT_ABOVE, FEW
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree
from henderson.kernels import blocks as block_kernels
from henderson.kernels import pedigree_sweep as kernels
from henderson.kernels import vectors as vector_kernels
from henderson.kernels.blocks import LevelBlocks
from henderson.kernels.pedigree_loadings import loadings_diagonal
from henderson.partitions.exchange import Vectors
from henderson.partitions.layout import GroupLayout
from henderson.solvers.class_factor import ClassFactor, NotFiniteError
from henderson.solvers.preconditioner import BORDER_LIMIT, BlockPreconditioner, Kind

Floats = NDArray[np.float64]
Groups = frozenset[int]


class SweepPreconditioner(BlockPreconditioner):
    """M = (D + L) D^-1 (D + L') over two sets of equations, the classes F and the others, A.

    F are the fixed groups and random classes of few levels; D_F is their block of C (of one partition: what it shares
    with others counts on the diagonal alone), by a sparse factor, the border apart. D_A are the level blocks, and for
    individuals of a pedigree the symmetric Gauss-Seidel sweep of `kernels.pedigree_sweep`. L is the coupling of A with
    F. An application costs half a product and the sweeps, beside `BlockPreconditioner`; there are far fewer of them.
    Memory: a vector, the factor (`ClassFactor`).
    """

    def __init__(
        self, operator: Operator, border_limit: int = BORDER_LIMIT, compact_above: int = COMPACT_ABOVE
    ) -> None:
        self._classes = classes_of(operator)
        self._others = frozenset(range(len(operator.design.groups))) - self._classes
        self._factors: list[ClassFactor | None] = []
        self._late: list[dict[int, NDArray[np.bool_]]] = []
        self._work = operator.zeros()
        super().__init__(operator, "border", border_limit, compact_above, self._classes)

    def _mark(self, work: Vectors) -> None:
        """Parents need a block of their own, too. **Collective**."""
        operator = self._operator

        def late(p: int) -> None:
            for _, local, related in self._sweeps(p):
                kernels.mark_late(local.width, local.first_owned, related.sire, related.dam, work[p])

        def parents(p: int) -> None:
            for g, local, _ in self._sweeps(p):
                stop = local.first_owned + local.n_owned * local.width
                self._late[p][g] = work[p][local.first_owned : stop : local.width] > 0.0
            work[p][:] = 0.0
            for _, _, related in self._sweeps(p):
                kernels.mark_parents(related.sire, related.dam, work[p])

        self._late = [{} for _ in operator.partitions]
        operator.team.run(late, operator.n_partitions)
        operator.exchange.reverse_add(work)
        operator.team.run(parents, operator.n_partitions)
        super()._mark(work)

    def _sweeps(self, p: int) -> Iterator[tuple[int, GroupLayout, LocalPedigree]]:
        """Yield the groups that have a sweep, with their layout and pedigree in partition `p`."""
        partition = self._operator.partitions[p]
        for g in sorted(self._others):
            related = partition.relationship[g]
            if isinstance(related, LocalPedigree) and partition.sigmas[g] is None:
                yield g, partition.layout.groups[g], related

    def _pedigree(self, p: int, g: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Floats, Floats]:
        related, inverse = self._operator.partitions[p].relationship[g], self._operator.sigma_inverse[g]
        assert isinstance(related, LocalPedigree)
        assert inverse is not None
        return related.sire, related.dam, related.precision, inverse

    def _own_gamma(self, p: int, g: int, y: Floats) -> bool:
        """Add what the kernel of the factor does not, if the group has a sweep; return whether it has one."""
        for swept, local, related in self._sweeps(p):
            if swept == g:
                own = (related.sire, related.dam, related.precision)
                kernels.own_diagonal(local.width, local.first_owned, self._late[p][g], *own, y)
                if (m := related.loadings) is not None:
                    one = np.eye(1, local.width)[0]
                    loadings_diagonal(local.width, m.own, m.indptr, m.parent, m.weight, m.precision, one, y)
                return True
        return False

    def _eliminate(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Make the blocks of individuals inverse pivots; return their groups. **Collective**."""
        operator, work = self._operator, self._work
        swept = frozenset(g for g, _, _ in self._sweeps(0)) if operator.partitions else frozenset()
        for g in sorted(swept):
            width = operator.design.groups[g].width
            size = width * (width + 1) // 2
            ghosts = [np.zeros((len(p.layout.groups[g].ghosts), size)) for p in operator.partitions]

            def stage(p: int, k: int, g: int = g, ghosts: list[Floats] = ghosts) -> None:
                layout = operator.partitions[p].layout
                where = (blocks[p][g], self._late[p][g], layout.null, layout.groups[g].first_ghost)
                failed = kernels.factor(k, *where, *self._pedigree(p, g), ghosts[p])
                if failed >= 0:
                    self._refuse(g, int(layout.groups[g].owned_levels()[failed]))

            operator.team.run(lambda p: stage(p, 0), operator.n_partitions)
            add_ghosts(operator, g, blocks, ghosts, work)
            operator.team.run(lambda p: stage(p, 1), operator.n_partitions)
        return swept

    def _prepare(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Factor the classes, as far as they are not in the border; `blocks` are those of C, not yet inverted."""
        border = frozenset() if self._border is None else frozenset(self._border.groups)
        inner = self._classes - border

        def part(p: int) -> ClassFactor | None:
            if len(inner) < 2:
                return None
            try:
                return ClassFactor(self._operator, p, inner, blocks[p])
            except NotFiniteError as error:
                g, level = error.args
                self._refuse(g, int(self._operator.partitions[p].layout.groups[g].owned_levels()[level]))

        self._factors = self._operator.team.run(part, self._operator.n_partitions)
        return self._eliminate(blocks) | (inner if len(inner) > 1 else frozenset())

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r (`z` may be `q`); return (r'r, r'z). **Collective**."""
        operator = self._operator
        n = operator.n_owned

        def subtract(p: int) -> float:
            vector_kernels.step(n[p], -alpha, q[p], r[p])
            return vector_kernels.dot(n[p], r[p], r[p])

        squares = operator.exchange.sum(operator.team.run(subtract, operator.n_partitions))
        self.apply(r, z)
        products = operator.team.run(lambda p: vector_kernels.dot(n[p], r[p], z[p]), operator.n_partitions)
        return squares, operator.exchange.sum(products)

    def apply(self, r: Vectors, z: Vectors) -> None:
        """Set z = M^-1 r; `z` must not be `r`. **Collective**."""
        operator = self._operator
        layouts = [p.layout for p in operator.partitions]
        if any(len(part) < layout.n_local for part, layout in zip(z, layouts, strict=True)):  # without ghosts
            whole = operator.zeros()
            self.apply(r, whole)
            for part, mine in zip(z, whole, strict=True):
                part[:] = mine[: len(part)]
            return
        work = self._work
        for part, layout in zip(z, layouts, strict=True):
            part[layout.n_owned :] = 0.0  # no level: products leave what they like there
        if self._classes:
            self._solve_classes(r, z)
            operator.couple(self._classes, self._others, z, work)
        else:
            for part in work:
                part[:] = 0.0

        def others(p: int) -> None:
            layout = operator.partitions[p].layout
            work[p][layout.n_owned :] = 0.0
            self._subtract(p, self._others, r[p], work[p])
            swept = {g for g, _, _ in self._sweeps(p)}
            for g in sorted(self._others):
                if g in swept:
                    self._pass(kernels.forward, 0, p, g, work[p], z[p])
                else:
                    block_kernels.apply_blocks(self._blocks[p][g], work[p], z[p])

        def late(p: int) -> None:
            for g, _, _ in self._sweeps(p):
                self._pass(kernels.forward, 1, p, g, work[p], z[p])
                self._pass(kernels.backward, 1, p, g, work[p], z[p])

        def back(p: int) -> None:
            for g, _, _ in self._sweeps(p):
                self._pass(kernels.backward, 0, p, g, work[p], z[p])

        operator.team.run(others, operator.n_partitions)
        operator.exchange.reverse_add(work)
        operator.team.run(late, operator.n_partitions)
        operator.exchange.forward(z)
        operator.team.run(back, operator.n_partitions)
        if not self._classes:
            return
        operator.couple(self._others, self._classes, z, work)

        operator.team.run(lambda p: self._subtract(p, self._classes, r[p], work[p]), operator.n_partitions)
        self._solve_classes(work, z)

    def descend_columns(self, alpha: Floats, q: Vectors, r: Vectors, z: Vectors) -> tuple[Floats, Floats]:
        """Set r_j -= alpha_j q_j and z_j = M^-1 r_j, one by one; return all (r_j'r_j, r_j'z_j). **Collective**."""
        sums = np.zeros((2, len(alpha)))
        for j in range(len(alpha)):
            mine, other = ([np.ascontiguousarray(part[:, j]) for part in parts] for parts in (r, q))
            sums[:, j] = self.descend(float(alpha[j]), other, mine, other)
            for k, (a, b) in enumerate(zip(mine, other, strict=True)):
                r[k][:, j], z[k][:, j] = a, b
        return sums[0], sums[1]

    def _subtract(self, p: int, groups: Groups, r: Floats, y: Floats) -> None:
        """Set y = r - y in the owned equations of `groups`."""
        for g, local in enumerate(self._operator.partitions[p].layout.groups):
            if g in groups:
                at = slice(local.first_owned, local.first_owned + local.n_owned * local.width)
                np.subtract(r[at], y[at], out=y[at])

    def _pass(self, kernel: Callable[..., None], stage: int, p: int, g: int, y: Floats, z: Floats) -> None:
        null = self._operator.partitions[p].layout.null
        kernel(stage, self._blocks[p][g], self._late[p][g], null, *self._pedigree(p, g), y, z)

    def _solve_classes(self, r: Vectors, z: Vectors) -> None:
        """Set z = D_F^-1 r in the classes. **Collective**."""

        def part(p: int) -> None:
            factor = self._factors[p]
            if factor is not None:
                factor.solve(r[p], z[p])
            for g in sorted(self._classes):
                if factor is None or g not in factor.groups:
                    block_kernels.apply_blocks(self._blocks[p][g], r[p], z[p])

        self._operator.team.run(part, self._operator.n_partitions)
        self._solve_border(r, z)


def classes_of(operator: Operator) -> Groups:
    """Return the groups that are eliminated first: fixed ones, and random ones of few levels beside the individuals."""
    groups = operator.design.groups
    related = [g.n_levels for g in groups if g.covariance is not None and g.covariance.kind != "identity"]
    found = set()
    for k, group in enumerate(groups):
        if group.covariance is None:
            found.add(k)
            continue
        few = FEW * group.n_levels <= max(related, default=0)
        if few and group.covariance.kind == "identity" and group.covariance.own is None:
            found.add(k)
    return frozenset(found)


def preconditioner_of(operator: Operator, kind: Kind) -> BlockPreconditioner:
    """Return the preconditioner of a kind. **Collective**."""
    return SweepPreconditioner(operator) if kind == "sweep" else BlockPreconditioner(operator, kind)
