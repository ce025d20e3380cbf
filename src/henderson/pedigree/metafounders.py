"""Metafounders: related and inbred base populations with a given relationship matrix Gamma (Legarra et al. 2015).

Legarra, Christensen, Vitezica, Aguilar & Misztal (2015), Genetics 200:455-468: A of animals and metafounders has Gamma
in the block of the metafounders, a_ii = 1 + a_sd / 2, and d_i = 1 - (a_ss + a_dd) / 4 with metafounders as parents.
Its inverse is T^-1' D^-1 T^-1 with the factor of Gamma = T D T' among the metafounders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.errors import Problem
from henderson.language.spec import PedigreeSpec

SYMMETRIC = 1e-8
SMALLEST = 1e-8  # eigenvalue relative to the largest

Floats = NDArray[np.float64]


def gamma_of(spec: PedigreeSpec) -> Floats | None:
    """Return Gamma of the metafounders, None if there are none."""
    return None if spec.metamatrix is None else np.array(spec.metamatrix, np.float64)


def n_groups(spec: PedigreeSpec) -> int:
    """Return how many of the first rows stand for groups: phantom parents or metafounders."""
    return spec.phantomparents or len(spec.metamatrix or ())


def metafounder_problems(spec: PedigreeSpec, file: str) -> list[Problem]:
    """Return what is wrong with the matrix of the metafounders."""
    if spec.metamatrix is None:
        return []
    rows = {len(row) for row in spec.metamatrix}
    n = len(spec.metamatrix)
    what = f"metafounders of pedigree {spec.name!r}"
    remedy = "correct metamatrix or metafile"

    def problem(text: str, remedy: str = remedy) -> list[Problem]:
        return [Problem(f"{what}: {text}", file=file, remedy=remedy)]

    if rows != {n}:
        return problem(f"the matrix has {n} rows of {', '.join(map(str, sorted(rows)))} numbers; it must be square")
    if spec.phantomparents not in (0, n):
        return problem(
            f"the matrix is {n} by {n}, but there are {spec.phantomparents} phantom parents",
            "metafounders are the first rows of the file, one for each row of the matrix",
        )
    if not spec.inbreeding:
        return problem("inbreeding is switched off", "metafounders need inbreeding: leave 'inbreeding = false' out")
    gamma = np.array(spec.metamatrix, np.float64)
    scale = float(np.abs(gamma).max())
    at = np.argwhere(np.abs(gamma - gamma.T) > SYMMETRIC * scale)
    if len(at):
        i, j = at[0].tolist()
        return problem(f"elements ({i + 1},{j + 1}) = {gamma[i, j]:g} and ({j + 1},{i + 1}) = {gamma[j, i]:g} differ")
    found = []
    if np.any(np.diag(gamma) >= 2.0):
        k = int(np.argmax(np.diag(gamma)))
        found = problem(f"element ({k + 1},{k + 1}) is {gamma[k, k]:g}; a self-relationship is less than 2")
    eigenvalues = np.linalg.eigvalsh(gamma)
    if eigenvalues[0] <= SMALLEST * max(scale, eigenvalues[-1]):
        found += problem(f"the matrix is not positive definite: its smallest eigenvalue is {eigenvalues[0]:.3g}")
    return found


def factor(gamma: Floats) -> tuple[Floats, Floats]:
    """Return W and d with Gamma = T diag(d) T' and T^-1 = I - W, W strictly lower triangular.

    A metafounder is the weighted sum of those before it, and what is its own.
    """
    root = np.linalg.cholesky(gamma)
    own = np.diag(root)
    inverse = np.linalg.inv(root / own)
    return np.tril(-inverse, -1), own**2
