"""The spectrum that conjugate gradients have seen: Gauss quadrature from their own coefficients.

PCG on C x = b from x = 0, with M = L L', is the Lanczos process on L^-1 C L^-T from L^-1 b: its step lengths and
energies are the elements of the tridiagonal matrix (Golub & Meurant 2010, section 5.1). The eigenvalues of that and the
first elements of its eigenvectors integrate functions against the spectral measure of b, with twice the speed of the
iteration.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass
class Coefficients:
    """What several iterations side by side leave behind, step by step: columns, step lengths, and r'M^-1 r before."""

    columns: list[Ints] = field(default_factory=list)
    steps: list[Floats] = field(default_factory=list)
    energies: list[Floats] = field(default_factory=list)

    def add(self, columns: Ints, steps: Floats, energies: Floats) -> None:
        """Keep one step of some columns."""
        self.columns.append(columns)
        self.steps.append(steps)
        self.energies.append(energies)

    def quadratures(self, n_columns: int) -> list[tuple[Floats, Floats]]:
        """Return nodes and weights per column j: sum(weights * f(nodes)) is b_j'L^-T f(L^-1 C L^-T) L^-1 b_j.

        Cost: k^2 for the k iterations of a column.
        """
        columns = np.concatenate([np.empty(0, np.int64), *self.columns])
        order = np.argsort(columns, kind="stable")
        cuts = np.searchsorted(columns[order], np.arange(1, n_columns))
        steps = np.split(np.concatenate([np.empty(0), *self.steps])[order], cuts)
        energies = np.split(np.concatenate([np.empty(0), *self.energies])[order], cuts)
        return [_quadrature(a, e) for a, e in zip(steps, energies, strict=True)]


def _quadrature(steps: Floats, energies: Floats) -> tuple[Floats, Floats]:
    if len(steps) == 0:
        return np.empty(0), np.empty(0)
    ratios = energies[1:] / energies[:-1]
    diagonal = 1.0 / steps
    diagonal[1:] += ratios / steps[:-1]
    nodes, vectors = eigh_tridiagonal(diagonal, np.sqrt(ratios) / steps[:-1])
    return np.asarray(nodes, np.float64), np.asarray(energies[0] * vectors[0] ** 2, np.float64)
