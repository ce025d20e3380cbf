"""The path of every variance component over the rounds, with the band of its Monte Carlo error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from henderson.reml.result import Parameter, RemlFit
from henderson.results.figures import ACCENT, INK, LIGHT, as_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 36  # pictures
BAND = 1.96


def component_paths(fit: RemlFit) -> list[str]:
    """Return an SVG for each component that is not held: its value by round.

    Around it the band of its Monte Carlo error (95 %), where that is known; grey: the estimate and its standard error.
    Rounds that begin with more samples have a dotted line. Of more than `MOST` components the variances are shown.
    """
    shown = list(enumerate(p for p in fit.parameters if p.constraint != "fixed"))
    if len(shown) > MOST:
        shown = [(k, p) for k, p in shown if p.row == p.col][:MOST]
    pictures = []
    for k, parameter in shown:
        figure = Figure(figsize=(2.4, 1.75))
        figure.subplots_adjust(0.22, 0.21, 0.97, 0.87)
        _panel(figure.add_subplot(), fit, k, parameter)
        pictures.append(as_svg(figure))
    return pictures


def _panel(axes: Axes, fit: RemlFit, k: int, parameter: Parameter) -> None:
    history = fit.history
    rounds = np.arange(len(history))
    values = np.array([r.parameters[k] for r in history])
    sigma = fit.sigma[parameter.variance, parameter.label]
    at = parameter.row - 1, parameter.col - 1
    end, se = float(sigma.sigma[at]), float(sigma.se[at])
    if np.isfinite(se):
        axes.axhspan(end - se, end + se, color=LIGHT, alpha=0.5, linewidth=0)
    axes.axhline(end, color=INK, linewidth=0.6, linestyle="--")
    known = [(n, r.noise.errors[k]) for n, r in enumerate(history) if r.noise is not None and r.noise.errors]
    if known:
        where, errors = (np.array(v) for v in zip(*known, strict=True))
        middle = values[where]
        axes.fill_between(where, middle - BAND * errors, middle + BAND * errors, color=ACCENT, alpha=0.25, linewidth=0)
    axes.plot(rounds, values, color=ACCENT, linewidth=1.3, marker="o", markersize=2.5)
    for n, r in enumerate(history):
        if r.step == "samples":
            axes.axvline(n, color=INK, linewidth=0.6, linestyle=":")
    axes.set_title(parameter.name.removeprefix("cor(").replace(")", ""), fontsize=9, color=INK)
    axes.tick_params(labelsize=7)
    axes.locator_params(axis="x", integer=True)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("round", fontsize=8)
