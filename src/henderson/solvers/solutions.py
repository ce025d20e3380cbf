"""Solutions by sub-factor: what results are written from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.store.model_data import Labels


@dataclass(frozen=True)
class SubFactorSolution:
    """The solutions of one sub-factor, or of one of its polynomials (then `subfactor` is ``name_id``).

    labels: the levels' own names, None for a covariate (one level, empty name); values: float64 (n_levels,);
    kept: bool (n_levels,), False for dependent columns of X that were left out; None if all are kept;
    se, reliability: float64 (n_levels,), NaN where not computed or not defined; None without a `pev` job.
    """

    factor: str
    subfactor: str
    labels: Labels | None
    values: NDArray[np.float64]
    kept: NDArray[np.bool_] | None = None
    se: NDArray[np.float64] | None = None
    reliability: NDArray[np.float64] | None = None

    @property
    def n_levels(self) -> int:
        """Return the number of levels, left-out ones included."""
        return len(self.values)

    def __len__(self) -> int:
        return self.n_levels if self.kept is None else int(np.count_nonzero(self.kept))
