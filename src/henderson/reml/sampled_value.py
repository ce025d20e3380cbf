"""A number that is known by samples of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sampled:
    """A number known by samples, (n,), and by control variates of expected value 0 beside them, (k, n).

    Its value is the intercept of the regression on the control variates, with the standard error of that as Monte Carlo
    error (Lavenberg & Welch 1981). With the same seed the samples of two models, or of two sets of variances, are
    alike: `minus` tells the error of a difference.
    """

    samples: Floats
    controls: Floats

    @property
    def value(self) -> float:
        """Return the number."""
        return self._fitted[0]

    @property
    def mc_se(self) -> float:
        """Return its Monte Carlo standard error, infinite if there are too few samples to tell."""
        return self._fitted[1]

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.mc_se:.2g}"

    def minus(self, other: Sampled) -> Sampled:
        """Return the difference, pair by pair; both need the same number of samples."""
        if len(self.samples) != len(other.samples):
            raise ValueError(f"{len(self.samples)} and {len(other.samples)} samples are not pairs")
        return Sampled(self.samples - other.samples, np.concatenate([self.controls, other.controls]))

    def moved(self, factor: float, constant: float) -> Sampled:
        """Return `factor` times the number plus `constant`."""
        return Sampled(factor * self.samples + constant, self.controls)

    @cached_property
    def _fitted(self) -> tuple[float, float]:
        n = len(self.samples)
        spread = self.controls.std(axis=1, keepdims=True)
        use = spread[:, 0] > 0.0
        design = np.concatenate([np.ones((1, n)), self.controls[use] / spread[use]]).T
        if n <= 2 * design.shape[1]:  # too few for coefficients
            design = design[:, :1]
        left, sizes, right = np.linalg.svd(design, full_matrices=False)
        kept = sizes > 1e-10 * sizes[0]
        left, inverse = left[:, kept], right[kept, 0] / sizes[kept]
        products = left.T @ self.samples
        freedom = n - int(kept.sum())
        value = float(inverse @ products)
        if freedom < 1:
            return value, math.inf
        square = float(np.sum((self.samples - left @ products) ** 2)) / freedom
        return value, math.sqrt(square * float(inverse @ inverse))
