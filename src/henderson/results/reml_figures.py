"""Pictures of a fit: residuals, quantiles, and the way of the log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES
from henderson.reml.result import RemlFit
from henderson.results.figures import ACCENT, INK, LIGHT
from henderson.results.fitted import Fitted, fitted_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (ACCENT, "#c2571a", "#3f7d4e", "#7b4b94", "#a38a1f", "#5b6770", "#b0306a", "#1f8a8a")
MOST_TRAITS = 4
MOST_POINTS = 20_000


def diagnostics(fit: RemlFit) -> Figure:
    """Return a figure: of each trait residuals and their quantiles; below, random effects and the log-likelihood.

    At most four traits; more than `MOST_POINTS` points are thinned evenly.
    """
    traits = min(len(fit.spec.traits), MOST_TRAITS)
    figure = Figure(figsize=(9.0, 3.4 * (traits + 1)), layout="constrained")
    axes = figure.subplots(traits + 1, 2, squeeze=False)
    for t in range(traits):
        fitted = fitted_values(fit, t)
        _residuals(axes[t, 0], fitted)
        _quantiles(axes[t, 1], [(fitted.trait, fitted.scaled)])
        axes[t, 1].set_title(f"{fitted.trait}: residuals over their standard deviation", fontsize=9, color=INK)
    random = [
        (p.subfactor, p.values / max(float(p.values.std()), 1e-300))
        for p in fit.solutions
        if p.factor not in (FIXED_CLASSES, FIXED_COVARIATES) and len(p.values) > 1
    ]
    if random:
        _quantiles(axes[traits, 0], random)
        axes[traits, 0].set_title("random effects over their standard deviation", fontsize=9, color=INK)
    else:
        axes[traits, 0].set_axis_off()
    _history(axes[traits, 1], fit)
    for one in axes.ravel():
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color=LIGHT, linewidth=0.6)
        one.set_axisbelow(True)
        one.tick_params(labelsize=8)
    return figure


def _residuals(axes: Axes, fitted: Fitted) -> None:
    step = max(1, len(fitted.value) // MOST_POINTS)
    axes.scatter(fitted.value[::step], fitted.residual[::step], s=7, color=ACCENT, alpha=0.6, linewidths=0)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set_xlabel("fitted value", fontsize=8)
    axes.set_ylabel("residual", fontsize=8)
    axes.set_title(f"{fitted.trait}: residuals by fitted values", fontsize=9, color=INK)


def _quantiles(axes: Axes, samples: list[tuple[str, NDArray[np.float64]]]) -> None:
    """Draw sample quantiles against those of the normal distribution (Blom's positions)."""
    limit = 0.0
    for (name, values), colour in zip(samples[: len(COLOURS)], COLOURS, strict=False):
        n = len(values)
        theory = norm.ppf((np.arange(1, n + 1) - 0.375) / (n + 0.25))
        step = max(1, n // MOST_POINTS)
        axes.scatter(theory[::step], np.sort(values)[::step], s=7, color=colour, alpha=0.7, linewidths=0, label=name)
        limit = max(limit, float(np.abs(theory).max()))
    axes.plot([-limit, limit], [-limit, limit], color=INK, linewidth=0.8)
    axes.set_xlabel("normal quantile", fontsize=8)
    axes.set_ylabel("sample quantile", fontsize=8)
    if len(samples) > 1:
        axes.legend(fontsize=7, frameon=False, markerscale=2)


def _history(axes: Axes, fit: RemlFit) -> None:
    values = [r.loglik for r in fit.history]
    axes.plot(np.arange(len(values)), values, color=ACCENT, linewidth=1.4, marker="o", markersize=3.5)
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("round", fontsize=8)
    axes.set_ylabel("log-likelihood", fontsize=8)
    axes.set_title(f"log-likelihood {fit.loglik:.4f} ({fit.method})", fontsize=9, color=INK)
