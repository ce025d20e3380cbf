"""Checks of Sigma by itself: shape, symmetry, positive definiteness, and the pattern of its structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from henderson.language.draft import DraftVariance
from henderson.language.source import Problems

Group = tuple[tuple[int, int], ...]
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


def check_constraints(variance: DraftVariance, n: int, sound: bool, problems: Problems) -> None:
    """Note what is wrong with the rank, or with elements that are held (`fix`) or kept equal, of an `n` by `n` Sigma.

    `sound`: Sigma is given and nothing is wrong with it.
    """
    fix = variance.fix
    if (fault := _rank_fault(variance, n)) is not None:
        problems.add(f"rank of variance {variance.name!r}: {fault}", variance.rank_at)
    if fix is not None:
        if len(fix) != n or any(len(row) != n for row in fix):
            rows = ", ".join(str(len(row)) for row in fix)
            message = f"fix of variance {variance.name!r} must be {n} by {n}; it has rows of {rows}"
            problems.add(message, variance.fix_at)
            fix = None
        elif any(fix[i][j] != fix[j][i] for i in range(n) for j in range(i)):
            problems.add(f"fix of variance {variance.name!r} is not symmetric", variance.fix_at)
        elif variance.sigma is None and variance.sigma_at is None and any(map(any, fix)):
            problems.add(
                f"fix of variance {variance.name!r} holds elements of a sigma that is not given",
                variance.fix_at,
                "give sigma: elements are held at its values",
            )
    seen: set[tuple[int, int]] = set()
    for group in variance.equal:
        if fault := _equal_fault(group, variance, n, seen) or _unequal(group, variance, fix, n, sound):
            problems.add(f"equal of variance {variance.name!r}: {fault}", variance.equal_at)
        seen |= set(group)


def _rank_fault(variance: DraftVariance, n: int) -> str | None:
    if variance.rank is None:
        return None
    if variance.rank > n:
        return f"{variance.rank} is more than the {n} positions"
    if variance.structure not in (None, "us"):
        return f"structure {variance.structure!r} has full rank; leave one of the two out"
    if variance.equal or (variance.fix is not None and any(map(any, variance.fix))):
        return "elements that are held or equal are for a Sigma of full rank"
    return None


def _equal_fault(group: Group, variance: DraftVariance, n: int, seen: set[tuple[int, int]]) -> str | None:
    """Return what is wrong with a group of equal elements in itself."""
    names = _elements(group)
    if len(group) < 2:
        return f"a group needs two different elements, not {names or 'none'}"
    if beyond := [e for e in group if e[0] > n]:
        return f"{_elements(beyond)} lies outside of sigma, {n} by {n}"
    if twice := [e for e in group if e in seen]:
        return f"{_elements(twice)} is in two groups; join them"
    if variance.structure in ("cs", "id"):
        return f"structure {variance.structure!r} says which elements are equal; use 'us', 'diag' or 'corgh'"
    on_diagonal = {i == j for i, j in group}
    if len(on_diagonal) > 1:
        return f"{names} mix variances with {'correlations' if variance.structure == 'corgh' else 'covariances'}"
    if variance.structure == "diag" and on_diagonal == {False}:
        return f"{names} are covariances, which structure 'diag' does not have"
    return None


def _unequal(
    group: Group, variance: DraftVariance, fix: tuple[tuple[bool, ...], ...] | None, n: int, sound: bool
) -> str | None:
    """Return how the values of a group, or whether they are held, differ."""
    if fix is not None and len({fix[i - 1][j - 1] for i, j in group}) > 1:
        return f"some of {_elements(group)} are held by fix, some are not"
    if not sound or variance.sigma is None or len(variance.sigma) != n:
        return None
    sigma = np.array(variance.sigma)
    if variance.structure == "corgh" and group[0][0] != group[0][1]:
        sigma = sigma / np.sqrt(np.outer(sigma.diagonal(), sigma.diagonal()))
    values = np.array([sigma[i - 1, j - 1] for i, j in group])
    if np.ptp(values) > 1e-8 * np.abs(values).max():
        return f"{_elements(group)} differ in sigma: {', '.join(f'{v:g}' for v in values)}"
    return None


def _elements(group: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"({i},{j})" for i, j in group)
