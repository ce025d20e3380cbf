"""The matrix Q of genetic groups: fractions of the genes of every animal that come from each phantom parent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.pedigree_groups import group_fractions
from henderson.pedigree.order import topological_order
from henderson.store.model_data import Loadings, Pedigree

COLUMNS = 8  # groups at a time: one cache line of float64

NO_LOADINGS = Loadings(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))


def groups_of(pedigree: Pedigree) -> NDArray[np.int64]:
    """Return the animals that stand for groups, in the order of their file, int64 (n_groups,)."""
    return np.empty(0, np.int64) if pedigree.groups is None else pedigree.groups


def fractions(pedigree: Pedigree, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return Q, float64 (n_animals, n_groups), written into `out` if given (a file mapped to memory, say).

    Rows of animals whose ancestry is known to the groups sum to 1. Cost: n_animals * n_groups additions, in passes of
    `COLUMNS` groups over the parents; memory: 64 n_animals bytes, and 8 n_animals n_groups unless `out` is given.
    """
    groups = groups_of(pedigree)
    n = len(pedigree)
    Q = np.zeros((n, len(groups))) if out is None else out
    number = np.full(n, -1, np.int32)
    number[groups] = np.arange(len(groups), dtype=np.int32)
    rows = topological_order(pedigree.generation)
    own = pedigree.loadings or NO_LOADINGS
    loadings = (own.indptr, own.parent, own.weight)
    for first in range(0, len(groups), COLUMNS):
        part = np.empty((n, min(COLUMNS, len(groups) - first)))
        group_fractions(rows, pedigree.sire, pedigree.dam, *loadings, number, first, part)
        Q[:, first : first + COLUMNS] = part
    return Q
