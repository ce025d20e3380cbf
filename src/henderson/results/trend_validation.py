"""Interbull's method III: is the genetic trend biased? Proofs of bulls from all data against those from earlier data.

    y2_i = a + b y1_i + delta t_i + e_i

y1, y2: of bulls with daughters in the earlier data, from these and from all; t_i = sum_j j n_ij / n_i, n_ij the
daughters that bull i has got in year j after the cut-off, of n_i in all: 0 without new ones. With the right model
E(y2 | y1, t) = y1, so that b = 1 and delta = 0; delta is the bias of the trend by year (Boichard, Bonaiti, Barbat &
Mattalia 1995, J. Dairy Sci. 78:431). National evaluations pass where delta is below 0.02 genetic standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.results.lr import Bootstrap, Estimate, estimate_of

Floats = NDArray[np.float64]

BOUND = 0.02  # of delta, genetic standard deviations a year
LEAST_BULLS, LEAST_NEW = 10, 5  # bulls, and those of them with new daughters


@dataclass(frozen=True)
class MethodThree:
    """Method III of some bulls.

    n, with_new, families: bulls, those with new daughters, and families of bulls that are resampled; slope: b; delta:
    by year; delta_sd: in genetic standard deviations; slope_se, delta_se, delta_sd_se: standard errors that allow for
    what bulls of a family have in common.
    """

    n: int
    with_new: int
    families: int
    slope: Estimate
    slope_se: float
    delta: Estimate
    delta_se: float
    delta_sd: Estimate
    delta_sd_se: float

    @property
    def within_bound(self) -> bool:
        """Return whether delta is below Interbull's bound."""
        return abs(self.delta_sd.value) < BOUND


def years_added(new: NDArray[np.int64], year: Floats, n: Floats, n_bulls: int) -> Floats:
    """Return t of each bull: new, year: bull and year after the cut-off of each new daughter; n: daughters in all."""
    return np.bincount(new, weights=year, minlength=n_bulls)[:n_bulls] / np.maximum(n, 1.0)


def is_enough(y1: Floats, t: Floats) -> bool:
    """Return whether there are `LEAST_BULLS` bulls, `LEAST_NEW` with new daughters, that differ."""
    return bool(len(y1) >= LEAST_BULLS and np.count_nonzero(t) >= LEAST_NEW and np.ptp(t) > 0.0 and np.ptp(y1) > 0.0)


def weights_of_bulls(y1: Floats, t: Floats) -> Floats:
    """Return the weights, (n, 2), by which y2 - y1 of bulls adds to slope and delta: columns of X (X'X)^-1."""
    X = np.column_stack([np.ones(len(y1)), y1 - y1.mean(), t - t.mean()])
    return np.asarray(np.linalg.solve(X.T @ X, X.T)[1:].T)


def method_three(
    y1: Floats, y2: Floats, t: Floats, sigma2: float, bootstrap: Bootstrap, by_model: Sequence[float] = ()
) -> MethodThree | None:
    """Return the regression of `y2` on `y1` and `t`, None for too few bulls (`is_enough`).

    sigma2: genetic variance, the unit of `delta_sd`; bootstrap: of the families of the bulls; by_model: standard
    deviations of slope and delta by the model.
    """
    if not is_enough(y1, t):
        return None
    x, y, s = y1 - y1.mean(), y2 - y1.mean(), t - t.mean()
    columns = [np.ones(len(x)), x, s]
    sd_slope, sd_delta = by_model or (None, None)
    pairs = [(i, j) for i in range(3) for j in range(i + 1)]
    sums = bootstrap.sums([*(columns[i] * columns[j] for i, j in pairs), *(c * y for c in columns)])
    found, drawn = (_coefficients(each, pairs) for each in sums)
    sd = float(np.sqrt(sigma2))
    se = _standard_errors(np.column_stack(columns), y, found, bootstrap)
    return MethodThree(
        len(x),
        int(np.count_nonzero(t > 0.0)),
        bootstrap.n_families,
        estimate_of(found[1], drawn[:, 1], bootstrap, sd_slope),
        float(se[1]),
        estimate_of(found[2], drawn[:, 2], bootstrap, sd_delta),
        float(se[2]),
        estimate_of(found[2] / sd, drawn[:, 2] / sd, bootstrap, None if sd_delta is None else sd_delta / sd),
        float(se[2]) / sd,
    )


def _coefficients(sums: Floats, pairs: list[tuple[int, int]]) -> Floats:
    """Return (..., 3) solutions of the normal equations in `sums`; NaN of replicates that do not determine them."""
    lhs = np.empty((*sums.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(pairs):
        lhs[..., i, j] = lhs[..., j, i] = sums[..., k]
    scale = np.sqrt(np.maximum(np.diagonal(lhs, axis1=-2, axis2=-1), 1e-300))
    unit = lhs / (scale[..., :, None] * scale[..., None, :])
    sound = np.linalg.eigvalsh(unit)[..., 0] > 1e-10
    unit = np.where(sound[..., None, None], unit, np.eye(3))
    found = np.linalg.solve(unit, (sums[..., len(pairs) :] / scale)[..., None])[..., 0] / scale
    return np.asarray(np.where(sound[..., None], found, np.nan))


def _standard_errors(X: Floats, y: Floats, coefficients: Floats, bootstrap: Bootstrap) -> Floats:
    """Return standard errors from the scores of families: (X'X)^-1 (sum_f s_f s_f') (X'X)^-1 G / (G - 1)."""
    G = bootstrap.n_families
    if G < 2:
        return np.full(X.shape[1], np.nan)
    e = y - X @ coefficients
    scores = np.column_stack([np.bincount(bootstrap.family, x * e, minlength=G) for x in X.T])
    bread = np.linalg.inv(X.T @ X)
    return np.asarray(np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread) * G / (G - 1.0)))
