"""Diagonal blocks of C, level by level: what the level-block preconditioner is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.kernels import record_blocks as kernels
from henderson.kernels import relationship as relationship_kernels
from henderson.kernels.blocks import LevelBlocks
from henderson.kernels.pedigree_loadings import loadings_diagonal
from henderson.kernels.record_loops import TermLists
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]
Levels = NDArray[np.int32]
Pairs = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]
OwnGamma = Callable[[int, int, Floats], bool]


def add_blocks(
    operator: Operator,
    blocks: list[list[LevelBlocks]],
    work: Vectors,
    *,
    diagonal: bool = False,
    own_gamma: OwnGamma | None = None,
) -> None:
    """Add the diagonal blocks of C to `blocks`, per partition and group; `work` is overwritten. **Collective**.

    Levels without a row must have a block that is a multiple of Sigma^-1: they get its inverse as scale. With
    `diagonal` only diagonal elements count. `own_gamma` adds the diagonal of Gamma^-1 of a partition and group to the
    first elements of levels and returns whether it did. Cost: one pass over the records per group, with one step per
    pair of terms.
    """
    for g, group in enumerate(operator.design.groups):
        size = group.width * (group.width + 1) // 2
        ghosts = [np.zeros((len(p.layout.groups[g].ghosts), size)) for p in operator.partitions]
        pairs = _pairs(operator.design.term_lists(frozenset({g})), operator.design.n_traits, diagonal)

        def records(p: int, g: int = g, pairs: Pairs = pairs, ghosts: list[Floats] = ghosts) -> None:
            partition = operator.partitions[p]
            local, mine = partition.layout.groups[g], blocks[p][g]
            where = (local.n_owned, local.first_ghost)
            kernels.add_records(partition.records, *pairs, operator.residual, *where, mine, ghosts[p])
            if (pins := partition.pins) is not None:
                for element, t, precision in zip(pins.element, pins.position, pins.precision, strict=True):
                    level = (int(element) - local.first_owned) // local.width
                    if 0 <= level < local.n_owned:
                        row = level if mine.place is None else mine.place[level]
                        mine.packed[row, t * (t + 3) // 2] += precision

        operator.team.run(records, operator.n_partitions)
        if operator.exchange.sum([float(mine.any()) for mine in ghosts]) > 0.0:
            add_ghosts(operator, g, blocks, ghosts, work, shared_levels(operator, g, work))
    _add_multiples(operator, blocks, work, diagonal, own_gamma)
    _add_own(operator, blocks, work, diagonal)


def _pairs(lists: TermLists, n_traits: int, diagonal: bool) -> Pairs:
    """Return the pairs of terms in a lower triangle, as `kernels.record_blocks.add_records` wants them."""
    begins, rows = [0], []
    for begin, end in pairwise(lists.first.tolist()):
        terms = lists.terms[begin:end].tolist()
        for trait, slot, t, column in sorted(terms, key=lambda term: term[1]):
            for other_trait, other, u, beside in terms:
                if u == t or (u < t and not diagonal):
                    place = t * (t + 1) // 2 + u
                    rows.append((slot, other, column, beside, place, trait * n_traits + other_trait))
        begins.append(len(rows))
    return lists.of_pattern, np.array(begins, np.int64), np.array(rows, np.int32).reshape(-1, 6)


def shared_levels(operator: Operator, g: int, work: Vectors) -> list[Levels]:
    """Return the owned levels of group `g` that others use, per partition. **Collective**.

    They are few, and what is done for them alone leaves the pages of all others as they are. `work` is set to zero.
    """

    def mark(p: int) -> None:
        local = operator.partitions[p].layout.groups[g]
        work[p][:] = 0.0
        work[p][local.ghost_elements] = 1.0

    def read(p: int) -> Levels:
        local = operator.partitions[p].layout.groups[g]
        found = np.flatnonzero(work[p][local.elements][:: local.width]).astype(np.int32)
        work[p][local.elements].reshape(-1, local.width)[found] = 0.0
        work[p][local.ghost_elements] = 0.0
        return found

    operator.team.run(mark, operator.n_partitions)
    operator.exchange.reverse_add(work)
    return operator.team.run(read, operator.n_partitions)


def add_ghosts(
    operator: Operator,
    g: int,
    blocks: list[list[LevelBlocks]],
    ghosts: list[Floats],
    work: Vectors,
    levels: Sequence[Levels],
) -> None:
    """Add packed blocks of ghosts of group `g` to those of their owners, which are among `levels`. **Collective**.

    `work` is zero, and is zero again.
    """

    def send(column: int, p: int) -> None:
        local = operator.partitions[p].layout.groups[g]
        mine = work[p][local.ghost_elements].reshape(-1, local.width)
        mine[:, :column] = 0.0
        for t in range(column, local.width):
            mine[:, t] = ghosts[p][:, t * (t + 1) // 2 + column]

    def take(column: int, p: int) -> None:
        kernels.take_column(column, levels[p], blocks[p][g], work[p])

    for column in range(operator.design.groups[g].width):
        operator.team.run(partial(send, column), operator.n_partitions)
        operator.exchange.reverse_add(work)
        operator.team.run(partial(take, column), operator.n_partitions)
    for partition, part in zip(operator.partitions, work, strict=True):
        part[partition.layout.groups[g].ghost_elements] = 0.0


def _add_multiples(
    operator: Operator, blocks: list[list[LevelBlocks]], work: Vectors, diagonal: bool, own_gamma: OwnGamma | None
) -> None:
    """Add diag(Gamma^-1)_i Sigma^-1 of the groups whose levels share one Sigma. **Collective**."""

    def gamma(p: int) -> None:
        work[p][:] = 0.0
        partition = operator.partitions[p]
        for g, inverse in enumerate(operator.sigma_inverse):
            if inverse is not None and partition.sigmas[g] is None and not (own_gamma and own_gamma(p, g, work[p])):
                _add_gamma(partition, g, work[p])

    def add(p: int) -> None:
        for g, inverse in enumerate(operator.sigma_inverse):
            if inverse is not None and operator.partitions[p].sigmas[g] is None:
                kernels.add_multiple(np.diag(np.diag(inverse)) if diagonal else inverse, blocks[p][g], work[p])

    operator.team.run(gamma, operator.n_partitions)
    operator.exchange.reverse_add(work)
    operator.team.run(add, operator.n_partitions)


def _add_own(operator: Operator, blocks: list[list[LevelBlocks]], work: Vectors, diagonal: bool) -> None:
    """Add the blocks of groups whose levels have Sigmas of their own, column by column. **Collective**."""
    groups = operator.design.groups
    with_own = [
        g for g, group in enumerate(groups) if group.covariance is not None and group.covariance.own is not None
    ]

    def gamma(p: int, column: int) -> None:
        work[p][:] = 0.0
        partition = operator.partitions[p]
        for g in with_own:
            own = partition.sigmas[g]
            if own is not None and column < groups[g].width:
                inside = np.zeros_like(work[p])  # the diagonal of Gamma^-1, at the first element of each level
                _add_gamma(partition, g, inside)
                own.add_diagonal(column, inside, work[p])

    def add(p: int, column: int) -> None:
        for g in with_own:
            if column < groups[g].width:
                last = column + 1 if diagonal else groups[g].width
                kernels.add_column(column, last, blocks[p][g], work[p])

    for column in range(max((groups[g].width for g in with_own), default=0)):
        operator.team.run(lambda p: gamma(p, column), operator.n_partitions)  # noqa: B023
        operator.exchange.reverse_add(work)
        operator.team.run(lambda p: add(p, column), operator.n_partitions)  # noqa: B023


def _add_gamma(partition: Partition, g: int, y: Floats) -> None:
    """Add diag(Gamma^-1) of group `g` to the first elements of its levels in `y`."""
    local, relationship = partition.layout.groups[g], partition.relationship[g]
    first, width = local.first_owned, local.width
    one = np.zeros(width)
    one[0] = 1.0
    if isinstance(relationship, LocalPedigree):
        own = (relationship.sire, relationship.dam, relationship.precision)
        relationship_kernels.pedigree_diagonal(first, width, *own, one, y)
        if (m := relationship.loadings) is not None:
            loadings_diagonal(width, m.own, m.indptr, m.parent, m.weight, m.precision, one, y)
    else:
        known = isinstance(relationship, LocalMatrix)
        diagonal = relationship.diagonal if known else np.ones(local.n_owned)  # type: ignore[union-attr]
        relationship_kernels.level_diagonal(first, width, diagonal, one, y)
