"""Method LR: predictions from part of the data against those from all of it, with bootstrap intervals.

Legarra & Reverter (2018), Genet. Sel. Evol. 50:53. p: solutions from the earlier part of the data, w: from the whole,
of the same (focal) individuals. With the right model E(p) = E(w), cov(p, w) = var(p), so that of w on p the regression
is 1; cov(p, w) is the reliability of p times the genetic variance among the focal individuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LEVEL = 0.95
LEAST_FAMILIES, FEW_FAMILIES = 5, 20  # below the first there are no intervals, below the other they are rough
_BLOCK = 1 << 22  # families drawn at a time


@dataclass(frozen=True)
class Estimate:
    """A statistic with its bootstrap interval; NaN what cannot be computed, or is of too few families."""

    value: float
    low: float
    high: float

    def holds(self, expected: float) -> bool | None:
        """Return whether the interval has `expected`, None if there is none."""
        return self.low <= expected <= self.high if np.isfinite(self.low) else None


@dataclass(frozen=True)
class LrStatistics:
    """Statistics of method LR, by the equations of the paper.

    bias: mean p - mean w, 0 without bias; bias_sd: in genetic standard deviations; dispersion: regression of w on p,
    1 without, below 1 if p varies too much (inflation); correlation of p and w: ratio of their accuracies;
    ratio: regression of p on w, the ratio of their reliabilities; reliability of p: cov(p, w) / variance.
    n, families: focal individuals, and resampled families; variance: genetic variance among focal individuals.
    """

    n: int
    families: int
    variance: float
    bias: Estimate
    bias_sd: Estimate
    dispersion: Estimate
    correlation: Estimate
    ratio: Estimate
    reliability: Estimate


@dataclass(frozen=True)
class TrendTest:
    """Genetic trend by forward prediction: change by unit of birth time of p and w, and of their difference w - p.

    difference: trend(w) - trend(p), 0 if the trend was foretold; difference_sd: in genetic standard deviations.
    """

    n: int
    partial: Estimate
    whole: Estimate
    difference: Estimate
    difference_sd: Estimate


class Bootstrap:
    """Families drawn with replacement, all their members together; the same draws for the same seed."""

    def __init__(self, family: Indices, replicates: int, seed: int) -> None:
        self.family = np.unique(family, return_inverse=True)[1].astype(np.int64)
        self.n_families = int(self.family.max(initial=-1)) + 1
        self.replicates, self.seed = replicates, seed

    @property
    def expansion(self) -> float:
        """Return how much wider intervals are than the percentiles, 1 for many families."""
        G = max(self.n_families, 2)
        return float(stdtrit(G - 1, 0.5 + LEVEL / 2) / ndtri(0.5 + LEVEL / 2) * np.sqrt(G / (G - 1)))

    def sums(self, columns: list[Floats]) -> tuple[Floats, Floats]:
        """Return sums of columns over all individuals, (k,), and over those of each replicate, (replicates, k).

        There are no replicates of fewer than `LEAST_FAMILIES`. Cost: a draw for each family and replicate.
        """
        m = self.n_families
        of_family = np.column_stack([np.bincount(self.family, c, minlength=m) for c in columns])
        replicates = self.replicates if m >= LEAST_FAMILIES else 0
        out = np.empty((replicates, len(columns)))
        for r in range(replicates):
            rng = np.random.Generator(np.random.Philox(key=[self.seed, r]))
            counts = np.zeros(m)
            for start in range(0, m, _BLOCK):
                counts += np.bincount(rng.integers(0, m, min(_BLOCK, m - start)), minlength=m)
            out[r] = counts @ of_family
        return of_family.sum(axis=0), out


def lr_statistics(
    p: Floats, w: Floats, sigma2: float, variance: float, bootstrap: Bootstrap, by_model: Sequence[float] = ()
) -> LrStatistics:
    """Return method LR of focal individuals.

    sigma2: genetic variance of the base, the unit of `bias_sd`; variance: that among the focal individuals, (1 + mean F
    - mean relationship) sigma2, the denominator of the reliability; by_model: standard deviations of bias and
    dispersion by the model.
    """
    centre = float(w.mean()) if len(w) else 0.0  # against cancellation
    x, y = p - centre, w - centre
    sums = bootstrap.sums([np.ones(len(x)), x, y, x * x, y * y, x * y])
    found = [_moments(s) for s in sums]
    sd_bias, sd_slope = by_model or (None, None)

    def estimate(name: str, scale: float = 1.0, deviation: float | None = None) -> Estimate:
        sd = None if deviation is None else deviation / scale
        return estimate_of(found[0][name] / scale, found[1][name] / scale, bootstrap, sd)

    return LrStatistics(
        len(p),
        bootstrap.n_families,
        variance,
        estimate("bias", 1.0, sd_bias),
        estimate("bias", float(np.sqrt(sigma2)), sd_bias),
        estimate("w on p", 1.0, sd_slope),
        estimate("correlation"),
        estimate("p on w"),
        estimate("covariance", variance),
    )


def trend_test(
    time: Floats, p: Floats, w: Floats, sigma2: float, bootstrap: Bootstrap, difference_sd: float | None = None
) -> TrendTest | None:
    """Return whether the genetic trend of focal individuals was foretold; None if all have the same birth time.

    difference_sd: standard deviation of the difference by the model.
    """
    if len(time) < 3 or np.ptp(time) == 0.0:
        return None
    t, centre = time - time.mean(), float(w.mean())
    x, y = p - centre, w - centre
    total, drawn = bootstrap.sums([np.ones(len(t)), t, x, y, t * t, t * x, t * y])

    def slopes(s: Floats) -> tuple[Floats, Floats]:
        n, t, x, y, tt, tx, ty = np.moveaxis(s, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (tx - t * x / n) / (tt - t * t / n), (ty - t * y / n) / (tt - t * t / n)

    (p_all, w_all), (p_drawn, w_drawn) = slopes(total), slopes(drawn)
    sd = float(np.sqrt(sigma2))
    by_model = None if difference_sd is None else difference_sd / sd
    return TrendTest(
        len(t),
        estimate_of(p_all, p_drawn, bootstrap),
        estimate_of(w_all, w_drawn, bootstrap),
        estimate_of(w_all - p_all, w_drawn - p_drawn, bootstrap, difference_sd),
        estimate_of((w_all - p_all) / sd, (w_drawn - p_drawn) / sd, bootstrap, by_model),
    )


def _moments(sums: Floats) -> dict[str, Floats]:
    """Return the statistics of sums of 1, p, w, p^2, w^2, pw; NaN where nothing varies."""
    n, p, w, pp, ww, pw = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        var_p, var_w, cov = ((s - a * b / n) / (n - 1) for s, a, b in ((pp, p, p), (ww, w, w), (pw, p, w)))
        return {
            "bias": (p - w) / n,
            "w on p": cov / var_p,
            "p on w": cov / var_w,
            "correlation": cov / np.sqrt(var_p * var_w),
            "covariance": cov,
        }


def estimate_of(value: Floats, drawn: Floats, bootstrap: Bootstrap, sd: float | None = None) -> Estimate:
    """Return a statistic with the percentiles of its replicates, drawn apart as few families need.

    The distance of a percentile from the value is that of the t distribution with G - 1 degrees of freedom for that of
    the normal, times sqrt(G / (G - 1)), G families: 1.17 for 10, 1.02 for 100. sd: standard deviation of the statistic
    by the model (`jobs.contrasts`); the wider interval counts.
    """
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]) if len(drawn) else (np.nan, np.nan)
    wide = bootstrap.expansion
    low, high = value - (value - low) * wide, value + (high - value) * wide
    if sd is not None:
        half = float(ndtri(0.5 + LEVEL / 2)) * sd
        low, high = np.fmin(low, value - half), np.fmax(high, value + half)
    return Estimate(float(value), float(low), float(high))
