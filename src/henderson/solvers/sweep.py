"""A preconditioner that sweeps through the equations: classes, then individuals along the pedigree, and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from henderson.equations.blocks import add_ghosts, shared_levels
from henderson.equations.columns import ColumnOperator
from henderson.equations.memory import COMPACT_ABOVE, FEW
from henderson.equations.operator import UNROLLED, Operator
from henderson.equations.partition import LocalPedigree
from henderson.kernels import blocks as block_kernels
from henderson.kernels import columns as vector_columns
from henderson.kernels import pedigree_sweep as kernels
from henderson.kernels import pedigree_sweep_unrolled as unrolled
from henderson.kernels import sweep_columns as column_kernels
from henderson.kernels.blocks import LevelBlocks
from henderson.kernels.pedigree_loadings import loadings_diagonal
from henderson.kernels.relationship import level_diagonal
from henderson.partitions.exchange import Vectors
from henderson.solvers.class_factor import NotFiniteError
from henderson.solvers.class_factors import ClassFactors
from henderson.solvers.generations import Generations
from henderson.solvers.nested_effects import NestedEffects
from henderson.solvers.preconditioner import BORDER_LIMIT, BlockPreconditioner, Kind, descend_apart
from henderson.solvers.sweep_order import Turns, swept, turns_of

Floats = NDArray[np.float64]
Groups = frozenset[int]


class SweepPreconditioner(BlockPreconditioner):
    """M = (D + L) D^-1 (D + L') over two sets of equations, the classes F and the others, A.

    F are the fixed groups and random classes of few levels; D_F is their block of C (`solvers.class_factors`). D_A are
    the level blocks; effects nested in individuals are eliminated (`solvers.nested_effects`), and individuals of a
    pedigree have the incomplete factor of `kernels.pedigree_sweep`, in the order of `solvers.sweep_order`; to the
    inverse is added that in the coarse space of `solvers.generations`. L is the coupling of A with F. M does not depend
    on the partitions as long as these do not share too many levels of classes. An application costs half a product and
    the sweeps, beside `BlockPreconditioner`; there are far fewer of them. Memory: a vector, or as many as go side by
    side, and the factors.
    """

    def __init__(
        self, operator: Operator, border_limit: int = BORDER_LIMIT, compact_above: int = COMPACT_ABOVE
    ) -> None:
        self._classes = classes_of(operator)
        self._others = frozenset(range(len(operator.design.groups))) - self._classes
        self._factors: ClassFactors | None = None
        self._turns: list[dict[int, Turns]] = []
        self._border_limit = border_limit
        self._work = operator.zeros()
        self._whole: Vectors = []  # for vectors that have no room for ghosts
        self._columns: Vectors = []
        super().__init__(operator, "block", border_limit, compact_above, self._classes)

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here."""
        work, factors = sum(part.nbytes for part in self._work), self._factors
        few = self.nested.nbytes + self._generations.nbytes
        return super().nbytes + work + few + (0 if factors is None else factors.nbytes)

    def _mark(self, work: Vectors) -> None:
        """Parents need a block of their own, too. **Collective**."""
        operator = self._operator
        self._turns = turns_of(operator, self._others, work)
        self.nested = NestedEffects(operator, self._others, frozenset(self._turns[0]), work)
        self._generations = Generations(operator, self._turns, work)

        def parents(p: int) -> None:
            for _, _, related in swept(operator, p, self._others):
                kernels.mark_parents(related.sire, related.dam, work[p])

        operator.team.run(parents, operator.n_partitions)
        super()._mark(work)

    @property
    def _n_turns(self) -> int:
        return max((len(turns) for turns in self._turns[0].values()), default=0) if self._turns else 0

    def _pedigree(self, p: int, g: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Floats, Floats]:
        related, inverse = self._operator.partitions[p].relationship[g], self._operator.sigma_inverse[g]
        assert isinstance(related, LocalPedigree)
        assert inverse is not None
        return related.sire, related.dam, related.precision, inverse

    def _own_gamma(self, p: int, g: int, y: Floats) -> bool:
        """Add what the kernel of the factor does not, if the group has a sweep; return whether it has one."""
        if g not in self._turns[p]:
            return False
        partition = self._operator.partitions[p]
        local, related = partition.layout.groups[g], partition.relationship[g]
        assert isinstance(related, LocalPedigree)
        one = np.eye(1, local.width)[0]
        level_diagonal(local.first_owned, local.width, related.precision, one, y)
        if (m := related.loadings) is not None:
            loadings_diagonal(local.width, m.own, m.indptr, m.parent, m.weight, m.precision, one, y)
        return True

    def _eliminate(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Make the blocks of individuals inverse pivots; return their groups. **Collective**."""
        operator, work = self._operator, self._work
        for g in sorted(self._turns[0]):
            width = operator.design.groups[g].width
            size = width * (width + 1) // 2
            ghosts = [np.zeros((len(p.layout.groups[g].ghosts), size)) for p in operator.partitions]
            shared = shared_levels(operator, g, work)
            for k in range(self._n_turns):
                operator.team.run(partial(self._factor_turn, g, k, blocks, ghosts), operator.n_partitions)
                if k + 1 == self._n_turns:
                    break
                add_ghosts(operator, g, blocks, ghosts, work, shared)
                for part in ghosts:
                    part[:] = 0.0
        return frozenset(self._turns[0])

    def _factor_turn(self, g: int, k: int, blocks: list[list[LevelBlocks]], ghosts: list[Floats], p: int) -> None:
        layout = self._operator.partitions[p].layout
        animals, first_ghost = self._turns[p][g][k], layout.groups[g].first_ghost
        failed = kernels.factor(animals, blocks[p][g], layout.null, first_ghost, *self._pedigree(p, g), ghosts[p])
        if failed >= 0:
            self._refuse(g, int(layout.groups[g].owned_levels()[failed]))

    def _prepare(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Factor the classes, then the others; `blocks` are those of C, not yet inverted. **Collective**."""
        operator = self._operator
        try:
            if self._classes:
                self._factors = ClassFactors(operator, self._classes, self._border_limit, blocks)
            self.nested.eliminate(blocks, self._work)
        except NotFiniteError as error:
            self._refuse(*error.args)
        inverted = self._eliminate(blocks) | self._classes | self.nested.groups
        self._generations.set_up(self._schur)
        return inverted

    def _schur(self, x: Vectors) -> list[Floats]:
        """Return what partitions add to Z'S x, x zero in the classes; these are changed. **Collective**."""
        operator, work, space = self._operator, self._work, self._generations
        operator.apply(x, work)
        found = operator.team.run(lambda p: space.sums(p, work[p]), operator.n_partitions)
        if self._factors is None:
            return found
        self._factors.solve(work, x)
        operator.couple(self._classes, self._others, x, work)
        less = operator.team.run(lambda p: space.sums(p, work[p]), operator.n_partitions)
        return [a - b for a, b in zip(found, less, strict=True)]

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r (`z` may be `q`); return (r'r, r'z). **Collective**."""
        return descend_apart(self._operator, self.apply, alpha, q, r, z)

    def descend_columns(self, alpha: Floats, q: Vectors, r: Vectors, z: Vectors) -> tuple[Floats, Floats]:
        """Set r_j -= alpha_j q_j and z_j = M^-1 r_j; return all (r_j'r_j, r_j'z_j). **Collective**."""
        operator = self._operator
        n = operator.n_owned

        def subtract(p: int) -> Floats:
            out = np.empty(len(alpha))
            vector_columns.lessen(n[p], alpha, q[p], r[p], out)
            return out

        def products(p: int) -> Floats:
            out = np.empty(len(alpha))
            vector_columns.dots(n[p], r[p], z[p], out)
            return out

        squares = operator.exchange.sum_arrays(operator.team.run(subtract, operator.n_partitions))
        self.apply(r, z)
        return squares, operator.exchange.sum_arrays(operator.team.run(products, operator.n_partitions))

    def apply(self, r: Vectors, z: Vectors) -> None:
        """Set z = M^-1 r; `z` must not be `r`; they may be several side by side. **Collective**."""
        operator = self._operator
        layouts = [p.layout for p in operator.partitions]
        if any(len(part) < layout.n_local for part, layout in zip(z, layouts, strict=True)):  # without ghosts
            self._whole = self._whole or operator.zeros()
            self.apply(r, self._whole)
            for part, mine in zip(z, self._whole, strict=True):
                part[:] = mine[: len(part)]
            return
        many = z[0].ndim == 2
        work = self._work_of(z[0].shape[1]) if many else self._work
        for part, layout in zip(z, layouts, strict=True):
            part[layout.n_owned :] = 0.0  # no level: products leave what they like there
        if self._factors is not None:
            self._factors.solve(r, z)
        self._left(self._others, self._classes, r, z, work)

        apply_blocks = column_kernels.apply_blocks if many else block_kernels.apply_blocks

        def others(p: int) -> Floats:
            sums = self._generations.sums(p, work[p])
            for g in sorted(self._others - self._turns[p].keys() - self.nested.groups):
                apply_blocks(self._blocks[p][g], work[p], z[p])
            work[p][layouts[p].n_owned :] = 0.0
            self.nested.forward(p, self._blocks[p], work[p], z[p])
            return sums

        def finish(p: int) -> None:
            self.nested.backward(p, self._blocks[p], z[p])
            self._generations.add(p, level, z[p])

        through = {g: self._kernels(g, many) for g in self._turns[0]}

        def forward(k: int, p: int) -> None:
            work[p][layouts[p].n_owned :] = 0.0
            for g, turns in self._turns[p].items():
                where = (turns[k], self._blocks[p][g], layouts[p].null, *self._pedigree(p, g))
                through[g][0](*where, work[p], z[p])

        def backward(k: int, p: int) -> None:
            for g, turns in self._turns[p].items():
                where = (turns[k], self._blocks[p][g], layouts[p].null, *self._pedigree(p, g))
                through[g][1](*where, z[p])

        level = self._generations.correction(operator.team.run(others, operator.n_partitions))
        if self.nested.crosses:
            operator.exchange.reverse_add(work)
        last = self._n_turns - 1
        for k in range(last + 1):
            operator.team.run(partial(forward, k), operator.n_partitions)
            if k < last:
                operator.exchange.reverse_add(work)
        for k in range(last, -1, -1):
            operator.team.run(partial(backward, k), operator.n_partitions)
            if k > 0:
                operator.exchange.forward(z)
        if self.nested.crosses:
            operator.exchange.forward(z)
        operator.team.run(finish, operator.n_partitions)
        if self._factors is None:
            return
        self._left(self._classes, self._others, r, z, work)
        self._factors.solve(work, z)

    def solve_classes(self, r: Vectors, z: Vectors) -> bool:
        """Set z to the solution of all classes for r, the others held; return whether there are any. **Collective**."""
        if self._factors is not None:
            self._factors.solve(r, z)
        return self._factors is not None

    def _kernels(self, g: int, many: bool) -> tuple[Callable[..., None], Callable[..., None]]:
        """Return what goes forward and backward through the individuals of a group, of one vector or of many."""
        if many:
            return column_kernels.forward, column_kernels.backward
        if (width := self._operator.design.groups[g].width) <= UNROLLED:
            zero = (0.0,) * width
            return partial(unrolled.forward, zero), partial(unrolled.backward, zero)
        return kernels.forward, kernels.backward

    def _work_of(self, n_columns: int) -> Vectors:
        """Return room for vectors side by side; that of the last number of them is kept."""
        if not self._columns or self._columns[0].shape[1] != n_columns:
            self._columns = []  # let go of the old ones first
            self._columns = ColumnOperator(self._operator, n_columns).zeros()
        return self._columns

    def _left(self, targets: Groups, sources: Groups, r: Vectors, x: Vectors, out: Vectors) -> None:
        """Set out = r - K x in `targets`, K the coupling with `sources`; no more is told of `out`. **Collective**."""
        operator = self._operator
        if x[0].ndim == 2:
            ColumnOperator(operator, x[0].shape[1]).left(targets, sources, r, x, out)
            return
        operator.left(targets, sources, r, x, out)


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


def kind_for_many(operator: Operator) -> Kind:
    """Return the kind of preconditioner for many right-hand sides: a sweep, if there are pedigrees."""
    return "sweep" if any(swept(operator, 0, frozenset(range(len(operator.design.groups))))) else "border"


def preconditioner_for_many(operator: Operator) -> BlockPreconditioner:
    """Return the preconditioner for many right-hand sides. **Collective**."""
    return preconditioner_of(operator, kind_for_many(operator))
