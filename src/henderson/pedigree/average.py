"""The average relationship of a group of animals, without any relationship matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.store.model_data import Pedigree


def mean_relationship(pedigree: Pedigree, rows: NDArray[np.int64]) -> float:
    """Return the mean of A over all pairs of the animals `rows`, themselves included: twice their mean coancestry.

    x'Ax = sum_i d_i (T'x)_i^2 with x = 1/n on the rows (A = TDT', Henderson 1976): contributions pass from animals to
    their parents, generation by generation (Colleau 2002). Groups that are fixed have no part in it. Cost: one pass.
    """
    v = np.zeros(len(pedigree))
    np.add.at(v, rows, 1.0 / len(rows))
    order = np.argsort(pedigree.generation, kind="stable")
    bounds = np.searchsorted(pedigree.generation[order], np.arange(int(pedigree.generation.max(initial=0)) + 2))
    for lo, hi in zip(bounds[-2::-1].tolist(), bounds[:0:-1].tolist(), strict=True):
        animals = order[lo:hi]
        for parent in (pedigree.sire, pedigree.dam):
            there = parent[animals]
            known = there >= 0
            np.add.at(v, there[known], 0.5 * v[animals[known]])
        if (own := pedigree.loadings) is not None:
            counts = np.diff(own.indptr)[animals]
            first = np.repeat(own.indptr[animals] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
            entries = first + np.arange(len(first))
            np.add.at(v, own.parent[entries], own.weight[entries] * np.repeat(v[animals], counts))
    d = np.where(np.isinf(pedigree.mendelian_variance), 0.0, pedigree.mendelian_variance)
    return float(d @ v**2)
