"""`report.html`: a run on one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from henderson.reml.result import RemlFit
from henderson.results.files import replacing
from henderson.results.page import html_page, html_table
from henderson.results.stages import Stage
from henderson.results.summary import Digest

PATHS = (
    "Blue: value and 95 % band of its Monte Carlo error; dotted: more samples from here on; grey: the estimate and its "
    "standard error."
)


@dataclass(frozen=True)
class Report:
    """What the page shows; history: the relative residual by iteration; fit: whose components have a path."""

    title: str
    facts: Sequence[tuple[str, str]]
    equations: str
    effects: Sequence[Digest]
    stages: Sequence[Stage]
    history: Sequence[float] = ()
    rtol: float = 1e-8
    notes: Sequence[str] = field(default_factory=tuple)
    fit: RemlFit | None = None


def write_report(report: Report, out: Path) -> Path:
    """Return the path of `report.html`, written whole."""
    path = out / "report.html"
    with replacing(path) as part:
        part.write_text(_page(report), encoding="utf-8")
    return path


def _page(report: Report) -> str:
    # these load Matplotlib, which the solver's peak memory must not pay for
    from henderson.results import figures, path_figures

    random = [d for d in report.effects if d.is_random]
    sections = [
        f"<h1>{escape(report.title)}</h1>",
        html_table(("", ""), report.facts, texts=2),
        *(f"<p>{escape(note)}</p>" for note in report.notes),
        f"<h2>Model</h2><pre>{escape(report.equations)}</pre>",
        "<h2>Effects</h2>",
        _effects(report.effects),
    ]
    if random:
        sections += ["<h2>Largest solutions</h2><div class='columns'>", *map(_best, random[:12]), "</div>"]
        sections += ["<h2>Distributions</h2>", figures.distributions(random)]
    if len(report.history) > 1:
        sections += ["<h2>Convergence</h2>", figures.convergence(report.history, report.rtol)]
    if report.fit is not None and len(report.fit.history) > 1:
        sections += ["<h2>Variance components by round</h2>", path_figures.component_paths(report.fit)]
        if report.fit.mc_covariance is not None:
            sections.append(f"<p>{PATHS}</p>")
    rows = [(s.name, f"{s.seconds:.2f}", f"{s.peak_bytes / 2**20:,.0f}") for s in report.stages]
    sections += ["<h2>Stages</h2>", html_table(("stage", "seconds", "peak MiB"), rows, texts=1)]
    return html_page(report.title, sections)


def _effects(effects: Sequence[Digest]) -> str:
    rows = [
        (
            e.factor,
            e.subfactor,
            f"{e.levels:,}",
            f"{e.left_out:,}" if e.left_out else "",
            *(f"{v:.5g}" if e.levels else "" for v in (e.mean, e.sd, e.minimum, e.maximum)),
            "" if e.mean_reliability is None else f"{e.mean_reliability:.3f}",
        )
        for e in (d.summary for d in effects)
    ]
    header = ("factor", "sub-factor", "levels", "left out", "mean", "sd", "minimum", "maximum", "mean reliability")
    return html_table(header, rows, texts=2)


def _best(effect: Digest) -> str:
    rows = [
        (t.level, f"{t.value:.5g}", "" if t.se is None else f"{t.se:.4g}", _share(t.reliability)) for t in effect.best
    ]
    title = escape(f"{effect.summary.factor}: {effect.summary.subfactor}")
    return f"<div><b>{title}</b>{html_table(('level', 'solution', 'se', 'reliability'), rows, texts=1)}</div>"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
