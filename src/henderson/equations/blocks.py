"""Diagonal blocks of C, level by level, column by column: what the level-block preconditioner is made of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.kernels import records as record_kernels
from henderson.kernels import relationship as kernels
from henderson.kernels.pedigree_loadings import loadings_diagonal
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]


def widest(operator: Operator) -> int:
    """Return the number of positions of the widest group."""
    return max((g.width for g in operator.design.groups), default=0)


def block_column(operator: Operator, column: int, out: Vectors) -> None:
    """Set `out` to column `column` of every diagonal block of C, in the elements of the block's level. **Collective**.

    Groups with fewer positions get zeros. Cost: one pass over the records, with one step per pair of terms that share a
    group.
    """
    design = operator.design
    first, pairs = _pairs(operator, column)

    def add(p: int) -> None:
        y = out[p]
        y[:] = 0.0
        partition = operator.partitions[p]
        if (pins := partition.pins) is not None:
            at = pins.position == column
            y[pins.element[at]] += pins.precision[at]
        terms = operator.terms
        record_kernels.block_column(first, pairs, partition.records, terms, operator.residual, design.n_traits, y)
        for g, local in enumerate(partition.layout.groups):
            inverse = operator.sigma_inverse[g]
            if inverse is None or column >= local.width:
                continue
            if (own := partition.sigmas[g]) is None:
                _add_gamma(partition, g, np.ascontiguousarray(inverse[:, column]), y)
            else:
                gamma = np.zeros_like(y)  # its diagonal, at the first element of each level
                _add_gamma(partition, g, np.ascontiguousarray(inverse[:, 0]), gamma)
                own.add_diagonal(column, gamma, y)

    operator.team.run(add, operator.n_partitions)
    operator.exchange.reverse_add(out)


def _add_gamma(partition: Partition, g: int, sigma_column: Floats, y: Floats) -> None:
    """Add diag(Gamma^-1) of group `g` times a column of Sigma^-1 to `y`."""
    local, relationship = partition.layout.groups[g], partition.relationship[g]
    first, width = local.first_owned, local.width
    if isinstance(relationship, LocalPedigree):
        own = (relationship.sire, relationship.dam, relationship.precision)
        kernels.pedigree_diagonal(first, width, *own, sigma_column, y)
        if (m := relationship.loadings) is not None:
            rows = (m.own, m.indptr, m.parent, m.weight, m.precision)
            loadings_diagonal(width, *rows, sigma_column, y)
    else:
        known = isinstance(relationship, LocalMatrix)
        diagonal = relationship.diagonal if known else np.ones(local.n_owned)  # type: ignore[union-attr]
        kernels.level_diagonal(first, width, diagonal, sigma_column, y)


def _pairs(operator: Operator, column: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the pairs of terms of one group, the second with position `column`, and where those of a list begin."""
    lists, slots = operator.terms, operator.design.slots
    first, pairs = [0], []
    for begin, end in pairwise(lists.first.tolist()):
        terms = lists.terms[begin:end].tolist()
        for b, (_, other, position, _) in enumerate(terms, begin):
            same = (a for a, (_, slot, _, _) in enumerate(terms, begin) if slots[slot].group == slots[other].group)
            pairs += [(a, b) for a in same if position == column]
        first.append(len(pairs))
    return np.array(first, np.int64), np.array(pairs, np.int32).reshape(-1, 2)
