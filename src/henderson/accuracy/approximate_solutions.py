"""What approximate accuracies of all animals look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.solvers.solutions import Solutions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ApproximatePev:
    """What was found: variances of prediction errors and reliabilities, (n_levels, width) per group; None if fixed.

    of_indices: variances of the errors of indices, (n_levels,); exact: animals by whose exact ones they are calibrated.
    """

    variances: tuple[Floats | None, ...]
    reliabilities: tuple[Floats | None, ...]
    rounds: int
    of_indices: tuple[Floats | None, ...] = ()
    exact: int = 0


@dataclass(frozen=True)
class ApproximateSolutions(Solutions):
    """Solutions with approximate standard errors of the random effects."""

    pev: ApproximatePev
