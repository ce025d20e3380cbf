"""T^-1, A^-1 and the diagonal of A as SciPy matrices, for pedigrees small enough: with groups and weighted parents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csr_array, eye_array
from scipy.sparse.linalg import splu

from henderson.store.model_data import Pedigree

COLUMNS = 256

Floats = NDArray[np.float64]


def inverse_transform(pedigree: Pedigree) -> csr_array:
    """Return T^-1: row i has 1 at animal i and less than 0 at its parents, -1/2 each or their weights."""
    n = len(pedigree)
    rows, columns, values = [], [], []
    for parent in (pedigree.sire, pedigree.dam):
        known = np.flatnonzero(parent >= 0)
        rows.append(known)
        columns.append(parent[known])
        values.append(np.full(len(known), -0.5))
    if (own := pedigree.loadings) is not None:
        rows.append(np.repeat(np.arange(n), np.diff(own.indptr)))
        columns.append(own.parent)
        values.append(-own.weight)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(eye_array(n) + coo_array(entries, shape=(n, n)))


def inverse_relationship(pedigree: Pedigree) -> csc_array:
    """Return A^-1 = (T^-1)' D^-1 T^-1, of animals and groups where there are any."""
    T = csc_array(inverse_transform(pedigree))
    return csc_array(T.T @ csc_array(T.multiply((1.0 / pedigree.mendelian_variance)[:, None])))


def log_determinant(pedigree: Pedigree) -> float:
    """Return log |A|; fixed groups have no part in it."""
    d = pedigree.mendelian_variance
    return float(np.log(d[np.isfinite(d)]).sum())


def n_fixed_groups(pedigree: Pedigree) -> int:
    """Return how many rows stand for groups that are fixed effects: A^-1 lacks as much of full rank."""
    return int(np.isinf(pedigree.mendelian_variance).sum())


def relationship_diagonal(pedigree: Pedigree, rows: NDArray[np.int64] | None = None) -> Floats:
    """Return the diagonal of A, or its elements `rows`; NaN for groups that are fixed.

    It is 1 + F, but for Henderson's rules without inbreeding and for random groups that of T D T'; fixed groups add
    nothing to that of their descendants. Cost: for T D T' a sparse triangular solve per row, `COLUMNS` at a time.
    """
    rows = np.arange(len(pedigree)) if rows is None else rows
    fixed = np.isinf(pedigree.mendelian_variance)
    groups = pedigree.groups
    random = groups is not None and not fixed[groups].all() and not pedigree.inbreeding[groups].any()
    by_rules = not pedigree.inbreeding.any() and pedigree.loadings is None
    diagonal = _diagonal(pedigree, rows) if random or by_rules else 1.0 + pedigree.inbreeding[rows]
    return np.where(fixed[rows], np.nan, diagonal)


def _diagonal(pedigree: Pedigree, rows: NDArray[np.int64]) -> Floats:
    n = len(pedigree)
    order = np.argsort(pedigree.generation, kind="stable")
    transposed = csc_array(inverse_transform(pedigree)[order][:, order].T)  # (T^-1)', so that solutions are rows of T
    factor = splu(transposed, permc_spec="NATURAL", diag_pivot_thresh=0.0)
    d = np.where(np.isinf(pedigree.mendelian_variance), 0.0, pedigree.mendelian_variance)[order]
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    wanted = place[rows]
    diagonal = np.empty(len(rows))
    for start in range(0, len(rows), COLUMNS):
        some = wanted[start : start + COLUMNS]
        units = np.zeros((n, len(some)))
        units[some, np.arange(len(some))] = 1.0
        diagonal[start : start + COLUMNS] = d @ factor.solve(units) ** 2
    return diagonal
