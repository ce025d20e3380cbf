"""Pictures of a run as SVG texts, drawn without a screen; colours follow the page, which may be light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from henderson.results.groups import GroupMeans
from henderson.results.stages import Stage
from henderson.results.summary import Histogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, LIGHT = "#1f2933", "#22668c", "#d9e2ec"
OF_PAGE = {INK: "var(--ink)", ACCENT: "var(--accent)", LIGHT: "var(--line)", "#000000": "var(--ink)"}
PANEL = 3.05, 2.1  # inches; three beside each other in a page
TICKS = 6  # at most, along a panel

_FONTS = re.compile(r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'[^;\"]*")


def convergence(values: Sequence[float], label: str, rtol: float | None = None, steps: str = "iteration") -> str:
    """Return values by iteration (log scale), with the tolerance as a line if there is one."""
    figure = Figure(figsize=(6.4, 2.7))
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.18, top=0.96)
    axes = figure.add_subplot()
    shown = np.array(values, np.float64)
    axes.semilogy(np.arange(len(shown)), np.where(shown > 0, shown, np.nan), color=ACCENT, linewidth=1.6)
    if rtol is not None:
        axes.axhline(rtol, color=INK, linewidth=0.8, linestyle="--")
        axes.annotate(f"rtol {rtol:g}", (0, rtol), xytext=(4, 4), textcoords="offset points", fontsize=8, color=INK)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(steps)
    axes.set_ylabel(label)
    return as_svg(figure)


def distribution(title: str, histogram: Histogram, count: str = "levels", mean: float | None = None) -> str:
    """Return a histogram, with a line at the mean if it is given."""
    figure, axes = _panel(title)
    axes.stairs(histogram.counts, histogram.edges, fill=True, color=ACCENT)
    if mean is not None and np.isfinite(mean):
        axes.axvline(mean, color=INK, linewidth=0.9, linestyle="--")
    axes.set_ylabel(count, fontsize=8)
    _brief(axes, "y")
    axes.locator_params(axis="x", nbins=5)
    return as_svg(figure)


def trend(title: str, means: GroupMeans) -> str:
    """Return means by group as a line, within a band of one standard deviation on either side."""
    figure, axes = _panel(title)
    at = np.arange(len(means.labels))
    axes.fill_between(at, means.mean - means.sd, means.mean + means.sd, color=ACCENT, alpha=0.18, linewidth=0)
    axes.plot(at, means.mean, color=ACCENT, linewidth=1.5, marker="o", markersize=2.5)
    _name_groups(axes, means)
    return as_svg(figure)


def inbreeding(title: str, means: GroupMeans) -> str:
    """Return the mean of F by group as a line, from zero on."""
    figure, axes = _panel(title)
    axes.plot(np.arange(len(means.labels)), means.mean, color=ACCENT, linewidth=1.5, marker="o", markersize=2.5)
    axes.set_ylim(bottom=0.0)
    _name_groups(axes, means)
    return as_svg(figure)


def members(title: str, means: GroupMeans) -> str:
    """Return the number of members by group as bars."""
    figure, axes = _panel(title)
    axes.bar(np.arange(len(means.labels)), means.n, color=ACCENT, width=0.8)
    _name_groups(axes, means)
    _brief(axes, "y")
    return as_svg(figure)


def stage_bars(title: str, stages: Sequence[Stage], values: Sequence[float]) -> str:
    """Return one value for each stage as bars that lie."""
    figure = Figure(figsize=(4.6, 0.55 + 0.24 * len(stages)))
    edge = 0.3 / figure.get_figheight()
    figure.subplots_adjust(0.24, 0.9 * edge, 0.9, 1 - 0.8 * edge)
    axes = figure.add_subplot()
    at = np.arange(len(stages))[::-1]
    axes.barh(at, values, color=ACCENT, height=0.65)
    axes.set_yticks(at, [s.name for s in stages], fontsize=8)
    axes.tick_params(labelsize=8)
    axes.locator_params(axis="x", nbins=5)
    axes.set_title(title, fontsize=9, color=INK)
    return as_svg(figure)


def as_svg(figure: Figure) -> str:
    """Return a figure as text of SVG, without frames, with a light grid, in the colours and fonts of the page."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=LIGHT, linewidth=0.6)
        axes.set_axisbelow(True)
    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "henderson"}):  # texts stay texts; the same every time
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()[out.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = _FONTS.sub(r"\1sans-serif", text)
    for colour, name in OF_PAGE.items():
        text = text.replace(colour, name)
    return re.sub(r"\n\s*", "\n", text)


def _panel(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=PANEL)
    figure.subplots_adjust(0.2, 0.15, 0.96, 0.88)
    axes = figure.add_subplot()
    axes.set_title(title if len(title) < 40 else f"{title[:38]}…", fontsize=9, color=INK)
    axes.tick_params(labelsize=8)
    return figure, axes


def _name_groups(axes: Axes, means: GroupMeans) -> None:
    step = -(-len(means.labels) // TICKS)
    axes.set_xticks(np.arange(len(means.labels))[::step], means.labels[::step])


def _brief(axes: Axes, which: str) -> None:
    """Let large numbers be 20k or 3M."""

    def text(value: float, _: int) -> str:
        for unit, size in (("M", 1e6), ("k", 1e3)):
            if abs(value) >= size:
                return f"{value / size:g}{unit}"
        return f"{value:g}"

    getattr(axes, f"{which}axis").set_major_formatter(text)
