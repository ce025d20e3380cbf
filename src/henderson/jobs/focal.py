"""Individuals whose two predictions `henderson validate` compares, and which functions of them it looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from henderson.jobs.contrasts import Contrasts
from henderson.results.lr import Bootstrap
from henderson.results.trend_validation import is_enough, weights_of_bulls

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
ByModel = Callable[[Sequence[Contrasts]], tuple[list[Floats], list[Floats]]]

MANY_FAMILIES = 200  # of sires, from which on their resampling tells enough


@dataclass(frozen=True)
class Compared:
    """Individuals with a solution of one sub-factor in both runs: names of it, rows of the pedigree, ids, families.

    p, w: their solutions in the earlier run and in that of all; time: float64 (n,), birth times of focal individuals
    (NaN unknown), or t of bulls (`results.trend_validation`).
    """

    factor: str
    subfactor: str
    rows: Indices
    ids: pa.Array
    p: Floats
    w: Floats
    family: Indices
    time: Floats

    @property
    def are_few(self) -> bool:
        """Return whether they are of few families."""
        return len(np.unique(self.family)) < MANY_FAMILIES

    def bootstrap(self, replicates: int, seed: int) -> Bootstrap:
        """Return the resampling of their families."""
        return Bootstrap(self.family, replicates, seed)

    def of_focal(self) -> Contrasts | None:
        """Return w - p as mean, in the regression of w on p and, if they differ, in that on birth times."""
        n = len(self.rows)
        p = self.p - self.p.mean()
        if (squares := float(p @ p)) == 0.0:
            return None
        columns = [np.full(n, 1.0 / n), p / squares]
        born = np.isfinite(self.time)
        t = np.where(born, self.time - self.time[born].mean(), 0.0) if born.any() else np.zeros(n)
        if (squares := float(t @ t)) > 0.0:
            columns.append(t / squares)
        return Contrasts(self.factor, self.subfactor, self.ids, np.column_stack(columns))

    def of_bulls(self) -> Contrasts | None:
        """Return w - p in the slope and in delta of method III, None for too few bulls."""
        if not is_enough(self.p, self.time):
            return None
        return Contrasts(self.factor, self.subfactor, self.ids, weights_of_bulls(self.p, self.time))


def deviations(by_model: ByModel | None, wanted: Sequence[Contrasts | None]) -> list[list[float]]:
    """Return the standard deviations of all functions by the model; an empty list where there are none."""
    asked = [c for c in wanted if c is not None]
    if by_model is None or not asked:
        return [[] for _ in wanted]
    found = (np.sqrt(np.maximum(b - a, 0.0)).tolist() for b, a in zip(*by_model(asked), strict=True))
    return [[] if c is None else next(found) for c in wanted]
