"""The picture of a pedigree's inbreeding."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from henderson.pedigree.summary import PedigreeSummary
from henderson.store.model_data import Pedigree

_BINS = 40


def plot_inbreeding(pedigree: Pedigree, summary: PedigreeSummary, path: Path) -> None:
    """Write a PNG: mean and maximum inbreeding by generation, and its distribution among inbred animals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    by_generation, distribution = figure.subplots(1, 2)
    rows = summary.inbreeding_by_generation
    generation = [r.generation for r in rows]
    style = {"marker": "o" if len(rows) <= _BINS else "", "clip_on": False}
    by_generation.plot(generation, [r.mean for r in rows], color="C0", label="mean", **style)
    by_generation.plot(generation, [r.maximum for r in rows], color="C1", linestyle="--", label="maximum", **style)
    by_generation.set(xlabel="generation", ylabel="inbreeding coefficient F", title="Inbreeding by generation")
    by_generation.set_ylim(0, None)
    by_generation.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_generation.legend(frameon=False)

    inbred = pedigree.inbreeding[pedigree.inbreeding > 0]
    distribution.set(xlabel="inbreeding coefficient F", ylabel="animals", title=f"Animals with F > 0: {len(inbred):,}")
    if len(inbred):
        counts, edges = np.histogram(inbred, bins=_BINS, range=(0.0, float(inbred.max())))
        distribution.stairs(counts, edges, fill=True, color="C0")
        distribution.set_yscale("log")
        distribution.set_ylim(0.5, None)
        distribution.set_xlim(0, None)
    for axes in (by_generation, distribution):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
