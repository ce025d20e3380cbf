"""`report.html`: a run on one self-contained page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from henderson.reml.result import RemlFit
from henderson.results.files import replacing
from henderson.results.stages import Stage
from henderson.results.summary import Digest

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid #d9e2ec; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; } th { border-bottom: 1px solid #9fb3c8; font-weight: 600; }
th.text, td.text { text-align: left; } pre { background: #f5f7fa; padding: .8rem; overflow-x: auto; }
.columns { display: flex; flex-wrap: wrap; gap: 2.5rem; } svg { max-width: 100%; height: auto; }
"""


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
        _table(("", ""), report.facts, texts=2),
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
    sections += ["<h2>Stages</h2>", _table(("stage", "seconds", "peak MiB"), rows, texts=1)]
    body = "\n".join(sections)
    head = f"<meta charset='utf-8'><title>{escape(report.title)}</title><style>{STYLE}</style>"
    return f"<!doctype html>\n<html lang='en'><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


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
    return _table(header, rows, texts=2)


def _best(effect: Digest) -> str:
    rows = [
        (t.level, f"{t.value:.5g}", "" if t.se is None else f"{t.se:.4g}", _share(t.reliability))
        for t in effect.best
    ]
    title = escape(f"{effect.summary.factor}: {effect.summary.subfactor}")
    return f"<div><b>{title}</b>{_table(('level', 'solution', 'se', 'reliability'), rows, texts=1)}</div>"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int) -> str:
    """Return an HTML table whose first `texts` columns are flush left; columns without any content are left out."""
    body = list(rows)
    shown = [k for k in range(len(header)) if any(row[k] for row in body)]

    def line(tag: str, cells: Sequence[str]) -> str:
        marks = ((escape(cells[k]), " class='text'" if k < texts else "") for k in shown)
        return "<tr>" + "".join(f"<{tag}{mark}>{cell}</{tag}>" for cell, mark in marks) + "</tr>"

    head = line("th", header) if any(header) else ""
    return f"<table>{head}{''.join(line('td', row) for row in body)}</table>"
