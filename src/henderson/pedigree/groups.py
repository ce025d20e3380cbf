"""The matrix Q of genetic groups: fractions of the genes of every animal that come from each phantom parent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.pedigree_groups import group_fractions
from henderson.kernels.pedigree_order import generation_numbers
from henderson.pedigree.order import topological_order
from henderson.store.model_data import Loadings, Pedigree

COLUMNS = 8  # groups at a time: one cache line of float64

NO_LOADINGS = Loadings(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0))


def groups_of(pedigree: Pedigree) -> NDArray[np.int64]:
    """Return the animals that stand for groups, in the order of their file, int64 (n_groups,)."""
    return np.empty(0, np.int64) if pedigree.groups is None else pedigree.groups


def mean_fractions(pedigree: Pedigree) -> NDArray[np.float64]:
    """Return the mean fraction of each group over the animals that are no groups, float64 (n_groups,)."""
    groups = groups_of(pedigree)
    total = np.zeros(len(groups))
    for first, part in _parts(pedigree):
        total[first : first + part.shape[1]] = part.sum(axis=0)
    return np.asarray((total - 1.0) / max(1, len(pedigree) - len(groups)))


def without_groups(pedigree: Pedigree) -> Pedigree:
    """Return the pedigree of the animals alone, where the groups are its first rows: they are unknown parents."""
    m = len(groups_of(pedigree))
    if m == 0:
        return pedigree
    sire, dam = (np.where(p[m:] >= m, p[m:] - m, -1).astype(np.int32) for p in (pedigree.sire, pedigree.dam))
    generation = generation_numbers(sire, dam)[0]
    if pedigree.loadings is not None:
        generation = pedigree.generation[m:] - pedigree.generation[m:].min()
    return replace(
        pedigree,
        labels=pedigree.labels.take(np.arange(m, len(pedigree))),
        sire=sire,
        dam=dam,
        generation=generation,
        inbreeding=pedigree.inbreeding[m:],
        mendelian_variance=pedigree.mendelian_variance[m:],
        groups=None,
        loadings=None,
    )


def fractions(pedigree: Pedigree, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return Q, float64 (n_animals, n_groups), written into `out` if given (a file mapped to memory, say).

    Rows of animals whose ancestry is known to the groups sum to 1. Cost: n_animals * n_groups additions, in passes of
    `COLUMNS` groups over the parents; memory: 64 n_animals bytes, and 8 n_animals n_groups unless `out` is given.
    """
    Q = np.zeros((len(pedigree), len(groups_of(pedigree)))) if out is None else out
    for first, part in _parts(pedigree):
        Q[:, first : first + part.shape[1]] = part
    return Q


def _parts(pedigree: Pedigree) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the columns of Q, `COLUMNS` at a time, each with the number of the first."""
    groups = groups_of(pedigree)
    n = len(pedigree)
    number = np.full(n, -1, np.int32)
    number[groups] = np.arange(len(groups), dtype=np.int32)
    rows = topological_order(pedigree.generation)
    own = pedigree.loadings or NO_LOADINGS
    loadings = (own.indptr, own.parent, own.weight)
    for first in range(0, len(groups), COLUMNS):
        part = np.empty((n, min(COLUMNS, len(groups) - first)))
        group_fractions(rows, pedigree.sire, pedigree.dam, *loadings, number, first, part)
        yield first, part
