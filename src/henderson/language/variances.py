"""Checks of Sigma by itself: shape, symmetry, positive definiteness, and the pattern of its structure."""

from __future__ import annotations

import numpy as np

from henderson.language.draft import DraftVariance
from henderson.language.source import Problems

STRUCTURES = ("us", "diag", "corgh", "cs", "id")


def check_sigma(variance: DraftVariance, problems: Problems) -> bool:
    """Return whether Sigma is given and sound; note what is wrong with it."""
    if variance.sigma is None:
        return False
    name, at = variance.name, variance.sigma_at
    n = len(variance.sigma)
    if n == 0 or any(len(row) != n for row in variance.sigma):
        shape = ", ".join(str(len(row)) for row in variance.sigma)
        problems.add(f"sigma of variance {name!r} is not square: {n} rows of {shape or 'no'} numbers", at)
        return False
    sigma = np.array(variance.sigma)
    if not np.isfinite(sigma).all():
        problems.add(f"sigma of variance {name!r} has an element that is not a finite number", at)
        return False
    sound = True
    scale = np.sqrt(np.abs(np.outer(sigma.diagonal(), sigma.diagonal())))
    skew = np.argwhere(np.abs(sigma - sigma.T) > 1e-8 * np.maximum(scale, np.abs(sigma)))
    if len(skew):
        i, j = skew[0]
        problems.add(
            f"sigma of variance {name!r} is not symmetric: element ({i + 1},{j + 1}) is {sigma[i, j]:g}, "
            f"({j + 1},{i + 1}) is {sigma[j, i]:g}",
            at,
        )
        sound = False
    elif smallest := _not_positive(sigma):
        problems.add(f"sigma of variance {name!r} is not positive definite: {smallest}", at)
        sound = False
    if variance.structure and (fault := _pattern(sigma, variance.structure)):
        problems.add(f"sigma of variance {name!r} has structure {variance.structure!r}, but {fault}", at)
        sound = False
    return sound


def _not_positive(sigma: np.ndarray) -> str | None:
    if (low := sigma.diagonal().min()) <= 0:
        k = int(sigma.diagonal().argmin()) + 1
        return f"its element ({k},{k}) is {low:g}"
    deviation = np.sqrt(sigma.diagonal())
    values = np.linalg.eigvalsh(sigma / np.outer(deviation, deviation))
    if values[0] <= 1e-12:
        return f"the smallest eigenvalue of its correlations is {values[0]:.3g}"
    return None


def _pattern(sigma: np.ndarray, structure: str) -> str | None:
    n = len(sigma)
    diagonal, off = sigma.diagonal(), sigma[~np.eye(n, dtype=bool)]
    if structure in ("diag", "id") and off.any():
        return "it has covariances"
    if structure in ("cs", "id") and np.ptp(diagonal) > 1e-8 * diagonal.max():
        return "its variances differ"
    if structure == "cs" and n > 1 and np.ptp(off) > 1e-8 * diagonal.max():
        return "its covariances differ"
    return None
