"""`report.html`: a run on one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from henderson.language.spec import ModelSpec
from henderson.reml.result import RemlFit
from henderson.results.background import Background
from henderson.results.files import replacing
from henderson.results.groups import GroupMeans
from henderson.results.model_words import terms_table, variances_section
from henderson.results.page import html_details, html_page, html_panels, html_table
from henderson.results.report_sections import (
    Section,
    best_table,
    components_section,
    data_section,
    effects_table,
    pedigree_sections,
    trend_table,
)
from henderson.results.stages import Stage
from henderson.results.summary import Digest

MOST = 12  # sub-factors with pictures and best levels
MOST_EFFECTS = 24  # sub-factors in a table that is open
IN_TABLE = 6  # sub-factors with their trend in a table
PATHS = (
    "Blue: value and 95 % band of its Monte Carlo error; dotted: more samples from here on; grey: the estimate and its "
    "standard error."
)


@dataclass(frozen=True)
class Report:
    """What the page shows; history: the relative residual by iteration; fit: whose components have a path.

    spec: the model in words; background: the data behind it.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    equations: str
    effects: Sequence[Digest]
    stages: Sequence[Stage]
    history: Sequence[float] = ()
    rtol: float = 1e-8
    notes: Sequence[str] = field(default_factory=tuple)
    fit: RemlFit | None = None
    spec: ModelSpec | None = None
    background: Background | None = None


def write_report(report: Report, out: Path) -> Path:
    """Return the path of `report.html`, written whole."""
    path = out / "report.html"
    with replacing(path) as part:
        part.write_text(_page(report), encoding="utf-8")
    return path


def _page(report: Report) -> str:
    sections = [(title, body) for title, body in _sections(report) if body]
    links = "".join(f"<a href='#s{k}'>{escape(title)}</a>" for k, (title, _) in enumerate(sections))
    return html_page(
        report.title,
        [
            f"<h1>{escape(report.title)}</h1>",
            html_table(("", ""), report.facts, texts=2),
            *(f"<p>{escape(note)}</p>" for note in report.notes),
            f"<nav>{links}</nav>",
            *("\n".join([f"<h2 id='s{k}'>{escape(title)}</h2>", *body]) for k, (title, body) in enumerate(sections)),
        ],
    )


def _sections(report: Report) -> Iterable[Section]:
    random = [d for d in report.effects if d.is_random]
    shown = chosen(report.spec, random)
    yield "Model", [f"<pre>{escape(report.equations)}</pre>", *([terms_table(report.spec)] if report.spec else [])]
    if report.spec is not None:
        yield "Variances", [variances_section(report.spec)]
    if report.background is not None:
        yield data_section(report.background)
        yield from _pedigrees(report.background)
    yield "Convergence", list(_convergence(report))
    if report.fit is not None:
        yield "Variance components", [*components_section(report.fit), *_paths(report.fit)]
    effects = effects_table(report.effects)
    many = len(report.effects) > MOST_EFFECTS
    yield "Effects", [html_details(f"all {len(report.effects)} sub-factors", effects) if many else effects]
    left_out = len(random) - len(shown)
    note = f"<p class='note'>{left_out} more random sub-factors are not shown here; the table of effects has them.</p>"
    notes = [note] if left_out else []
    yield "Distribution of solutions", _distributions(shown) + notes if shown else []
    trends = [(d.summary.subfactor, d.trend) for d in shown if d.trend is not None and len(d.trend.labels) > 1]
    yield "Genetic trend", list(_trends(trends))
    yield "Largest solutions", ["<div class='columns'>", *map(best_table, shown), "</div>", *notes] if shown else []
    yield "Reliabilities", list(_reliabilities(shown))
    yield "Time and memory", list(_stages(report.stages))


def chosen(spec: ModelSpec | None, random: Sequence[Digest]) -> list[Digest]:
    """Return at most `MOST` sub-factors in their order; indices, first coefficients, those of pedigrees come first."""
    own = set() if spec is None else {i.name for i in spec.indices}
    first = set() if spec is None else {s.name for s in spec.subfactors} | {f"{s.name}_1" for s in spec.subfactors}
    ranked = sorted(
        range(len(random)),
        key=lambda k: (
            random[k].summary.subfactor not in own,
            random[k].summary.subfactor not in first,
            random[k].trend is None,
            k,
        ),
    )
    return [random[k] for k in sorted(ranked[:MOST])]


def _pedigrees(background: Background) -> Iterable[Section]:
    from henderson.results import figures

    for facts, table in pedigree_sections(background):
        body, means = [table], facts.inbreeding_by_group
        if means is not None and len(means.labels) > 1:
            by = f"by {means.title}"
            pictures = [figures.members(f"animals {by}", means), figures.inbreeding(f"mean inbreeding {by}", means)]
            body += [html_panels(pictures), *_unknown(means)]
        yield f"Pedigree {facts.name}", body


def _convergence(report: Report) -> Iterable[str]:
    from henderson.results import figures

    if len(report.history) > 1:
        yield figures.convergence(report.history, "||b - Cx|| / ||b||", report.rtol)
    if report.fit is not None and len(report.fit.history) > 1:
        steps = [r.decrement for r in report.fit.history]
        if sum(math.isfinite(v) and v > 0 for v in steps) > 1:
            yield figures.convergence(steps, "decrement", steps="round of REML")
            yield "<p class='note'>Decrement: what the gradient promises the log-likelihood to rise yet.</p>"


def _paths(fit: RemlFit) -> Iterable[str]:
    from henderson.results import path_figures

    if len(fit.history) > 1:
        yield "<h3>By round</h3>"
        yield html_panels(path_figures.component_paths(fit))
        if fit.mc_covariance is not None:
            yield f"<p class='note'>{PATHS}</p>"


def _distributions(shown: Sequence[Digest]) -> list[str]:
    from henderson.results import figures

    pictures = [
        figures.distribution(f"{d.summary.factor}: {d.summary.subfactor}", d.histogram, mean=d.summary.mean)
        for d in shown
        if d.histogram is not None
    ]
    return [html_panels(pictures)]


def _trends(trends: Sequence[tuple[str, GroupMeans]]) -> Iterable[str]:
    from henderson.results import figures

    if not trends:
        return
    titles = list(dict.fromkeys(m.title for _, m in trends))
    yield f"<p>Mean solutions by {escape(' or '.join(titles))}, and one standard deviation among animals.</p>"
    yield html_panels(figures.trend(name, means) for name, means in trends)
    for title in titles:
        mine = [(name, m) for name, m in trends if m.title == title]
        yield trend_table(title, mine[:IN_TABLE])
        yield from _unknown(mine[0][1])


def _unknown(means: GroupMeans) -> Iterable[str]:
    if means.unknown:
        yield f"<p class='note'>{means.unknown:,} animals without a known {escape(means.title)} are left out.</p>"


def _reliabilities(shown: Sequence[Digest]) -> Iterable[str]:
    from henderson.results import figures

    known = [d for d in shown if d.reliability is not None]
    if known:
        yield html_panels(
            figures.distribution(d.summary.subfactor, d.reliability, mean=d.summary.mean_reliability)
            for d in known
            if d.reliability is not None
        )
        yield "<p class='note'>Dashed: the mean.</p>"


def _stages(stages: Sequence[Stage]) -> Iterable[str]:
    from henderson.results import figures

    rows = [(s.name, f"{s.seconds:.2f}", f"{s.peak_bytes / 2**20:,.0f}") for s in stages]
    rows.append(("in all", f"{sum(s.seconds for s in stages):.2f}", ""))
    yield html_table(("stage", "seconds", "peak MiB"), rows, texts=1)
    if len(stages) > 1:
        memory = [s.peak_bytes / 2**20 for s in stages]
        pictures = figures.stage_bars("seconds", stages, [s.seconds for s in stages])
        yield html_panels([pictures, figures.stage_bars("peak memory, MiB", stages, memory)])
    yield "<p class='note'>Without this page and the checksums after it; run.json has all.</p>"
