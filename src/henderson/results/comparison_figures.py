"""Pictures of two evaluations beside each other, as SVG texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from henderson.results.comparison import Agreement
from henderson.results.figures import ACCENT, INK, as_svg

MANY = 2000  # points above which cells are counted instead
MARKS = 12  # names of groups on an axis, at most
OLD = "#9fb3c8"

Floats = NDArray[np.float64]


def old_against_new(old: Floats, new: Floats, agreement: Agreement, names: tuple[str, str] = ("old", "new")) -> str:
    """Return the new solutions over the old, with the line of equality and the regression, and the changes.

    names: what the two are called.
    """
    figure = Figure(figsize=(7.4, 3.2), layout="constrained")
    axes, beside = figure.subplots(1, 2, width_ratios=(1.15, 1))
    low, high = float(min(old.min(), new.min())), float(max(old.max(), new.max()))
    margin = 0.04 * (high - low) or 1.0
    ends = np.array([low - margin, high + margin])
    if len(old) > MANY:
        axes.hexbin(old, new, gridsize=45, bins="log", cmap="Blues", mincnt=1, extent=(*ends, *ends), linewidths=0.1)
    else:
        axes.plot(old, new, "o", color=ACCENT, markersize=3, alpha=0.6, markeredgewidth=0)
    axes.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--", label="equal")
    if np.isfinite(agreement.slope):
        line = agreement.intercept + agreement.slope * ends
        axes.plot(ends, line, color="#c05621", linewidth=1.2, label=f"slope {agreement.slope:.3f}")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    change = new - old
    bins = min(60, max(8, int(np.sqrt(len(change)))))
    span = (float(change.min()), float(change.max()))
    span = span if span[1] > span[0] else (span[0] - 0.5, span[1] + 0.5)
    beside.hist(change, bins=bins, range=span, color=ACCENT)
    beside.axvline(0.0, color=INK, linewidth=0.8, linestyle="--")
    beside.set_xlabel(f"{names[1]} - {names[0]}")
    beside.set_ylabel("levels")
    return as_svg(figure)


def trend(title: str, groups: Sequence[tuple[str, Agreement]], names: tuple[str, str] = ("old", "new")) -> str:
    """Return the means of the old and the new solutions by group, in the order of the groups; names: as above."""
    figure = Figure(figsize=(7.4, 2.6), layout="constrained")
    axes = figure.add_subplot()
    at = np.arange(len(groups))
    axes.plot(at, [a.mean_old for _, a in groups], "o-", color=OLD, markersize=4, label=names[0])
    axes.plot(at, [a.mean_new for _, a in groups], "o-", color=ACCENT, markersize=4, label=names[1])
    step = max(1, -(-len(groups) // MARKS))
    axes.set_xticks(at[::step], [name for name, _ in groups][::step])
    axes.set_xlabel(title)
    axes.set_ylabel("mean")
    axes.legend(loc="best", fontsize=8, frameon=False)
    return as_svg(figure)
