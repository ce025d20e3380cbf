"""The diagonal of Gamma, by which reliabilities are measured: of data in memory, or of some levels of a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Covariance
from henderson.pedigree.transform import relationship_diagonal
from henderson.store.model_data import ModelData, Pedigree
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

ROWS = 1 << 20  # that are looked at together

Floats = NDArray[np.float64]
Levels = NDArray[np.int64]
GammaDiagonal = Callable[[Covariance, Levels], Floats]


def gamma_diagonal(covariance: Covariance, data: ModelData, n_levels: int) -> Floats:
    """Return the diagonal of Gamma: 1 + F for a pedigree (NaN for fixed groups), that of a user matrix, or ones."""
    if covariance.kind == "pedigree" and covariance.name is not None:
        return relationship_diagonal(data.pedigrees[covariance.name])
    if covariance.kind == "matrix" and covariance.name is not None:
        return data.matrices[covariance.name].diagonal
    return np.ones(n_levels)


def of_data(data: ModelData) -> GammaDiagonal:
    """Return a function that gives the diagonal of Gamma at some levels, from data in memory."""

    def at(covariance: Covariance, levels: Levels) -> Floats:
        if covariance.kind == "pedigree" and covariance.name is not None:
            return relationship_diagonal(data.pedigrees[covariance.name], levels)
        if covariance.kind == "matrix" and covariance.name is not None:
            return np.asarray(data.matrices[covariance.name].diagonal[levels])
        return np.ones(len(levels))

    return at


def of_store(store: Path) -> GammaDiagonal:
    """Return a function that gives the diagonal of Gamma at some levels, reading what it needs of a store.

    Of a pedigree without inbreeding, or with groups, it reads the whole.
    """

    def at(covariance: Covariance, levels: Levels) -> Floats:
        name = covariance.name
        if covariance.kind not in ("pedigree", "matrix") or name is None:
            return np.ones(len(levels))
        parts = StoreParts(store)
        if covariance.kind == "matrix":
            return np.asarray(parts.array(f"{group_path('matrix', name)}/diagonal")[levels])
        F = parts.array(f"{group_path('pedigree', name)}/inbreeding")
        if not parts.has_groups(name) and any(F[k : k + ROWS].any() for k in range(0, len(F), ROWS)):
            return 1.0 + np.asarray(F[levels])
        return relationship_diagonal(_whole(parts, name), levels)

    return at


def _whole(parts: StoreParts, name: str) -> Pedigree:
    """Return a whole pedigree, its labels aside."""
    everyone = {of: (0, n if of == name else 0) for of, n in parts.sizes().items()}
    return parts.read((0, 0), everyone).pedigrees[name]
