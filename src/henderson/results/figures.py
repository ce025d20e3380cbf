"""Pictures of a run as SVG texts, drawn without a screen."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from henderson.results.summary import Digest

INK, ACCENT, LIGHT = "#1f2933", "#22668c", "#d9e2ec"


def convergence(history: Sequence[float], rtol: float) -> str:
    """Return the relative residual by iteration (log scale) with the tolerance as a line."""
    figure = Figure(figsize=(6.4, 3.0))
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.16, top=0.97)
    axes = figure.add_subplot()
    axes.semilogy(np.arange(len(history)), history, color=ACCENT, linewidth=1.6)
    axes.axhline(rtol, color=INK, linewidth=0.8, linestyle="--")
    axes.annotate(f"rtol {rtol:g}", (0, rtol), xytext=(4, 4), textcoords="offset points", fontsize=8, color=INK)
    axes.set_xlabel("iteration")
    axes.set_ylabel("||b - Cx|| / ||b||")
    return as_svg(figure)


def distributions(digests: Sequence[Digest]) -> str:
    """Return the histogram of each sub-factor given that has one (at most nine)."""
    shown = [(d.summary, d.histogram) for d in digests if d.histogram is not None][:9]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.3 * rows))
    figure.subplots_adjust(0.18 / columns, 0.2 / rows, 0.99, 1 - 0.12 / rows, wspace=0.3, hspace=0.5)
    for k, (summary, histogram) in enumerate(shown):
        axes = figure.add_subplot(rows, columns, k + 1)
        axes.stairs(histogram.counts, histogram.edges, fill=True, color=ACCENT)
        axes.set_title(f"{summary.factor}: {summary.subfactor}", fontsize=9, color=INK)
        axes.tick_params(labelsize=8)
        axes.set_ylabel("levels", fontsize=8)
    return as_svg(figure)


def as_svg(figure: Figure) -> str:
    """Return a figure as text of SVG, without frames, with a light grid."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=LIGHT, linewidth=0.6)
        axes.set_axisbelow(True)
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):  # texts stay texts
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
