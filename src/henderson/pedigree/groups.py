"""The matrix Q of genetic groups: fractions of the genes of every animal that come from each phantom parent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.pedigree_groups import group_fractions
from henderson.pedigree.order import topological_order
from henderson.store.model_data import Pedigree

COLUMNS = 8  # groups at a time: one cache line of float64


def groups_of(pedigree: Pedigree) -> NDArray[np.int64]:
    """Return the animals that stand for groups, in the order of their file, int64 (n_groups,)."""
    groups = np.flatnonzero(np.isinf(pedigree.mendelian_variance))
    return groups if pedigree.row is None else groups[np.argsort(pedigree.row[groups], kind="stable")]


def fractions(pedigree: Pedigree, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return Q, float64 (n_animals, n_groups), written into `out` if given (a file mapped to memory, say).

    Rows of animals whose ancestry is known to the groups sum to 1. Cost: n_animals * n_groups additions, in passes of
    `COLUMNS` groups over the parents; memory: 8 n_animals n_groups bytes, or those of `out`.
    """
    groups = groups_of(pedigree)
    n = len(pedigree)
    Q = np.zeros((n, len(groups))) if out is None else out
    number = np.full(n, -1, np.int32)
    number[groups] = np.arange(len(groups), dtype=np.int32)
    rows = topological_order(pedigree.generation)
    for first in range(0, len(groups), COLUMNS):
        part = np.empty((n, min(COLUMNS, len(groups) - first)))
        group_fractions(rows, pedigree.sire, pedigree.dam, number, first, part)
        Q[:, first : first + COLUMNS] = part
    return Q
