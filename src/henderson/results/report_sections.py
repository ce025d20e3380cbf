"""The sections of `report.html` that are tables: data, edits, pedigrees, variance components, effects, levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from scipy.special import ndtri

from henderson.reml.result import Parameter, RemlFit
from henderson.results.background import Background, EditFacts
from henderson.results.groups import GroupMeans
from henderson.results.page import html_table
from henderson.results.store_facts import PedigreeFacts
from henderson.results.summary import Digest
from henderson.results.variances import COLUMNS, variance_rows

MOST_COMPONENTS = 60
MOST_ROWS = 40  # of groups, edits, classes
INTERVAL = float(ndtri(0.975))

Section = tuple[str, list[str]]


def data_section(background: Background) -> Section:
    """Return the records in numbers, and what the checks have done."""
    data = background.data
    rows = [
        (
            t.trait,
            f"{t.observed:,}",
            f"{t.missing:,}",
            f"{100 * t.missing / max(data.seen, 1):.1f}",
            *(f"{v:.5g}" if t.observed else "" for v in (t.mean, t.sd, t.minimum, t.maximum)),
        )
        for t in data.traits
    ]
    header = ("trait", "observed", "missing", "% missing", "mean", "sd", "minimum", "maximum")
    without = data.rows - data.records
    how = "missing, edited, or left out by a cut-off"
    note = f" {without:,} of the first {data.rows:,} rows of the files have none ({how})." if without > 0 else ""
    body = [f"<p>{data.records:,} records with an observation.{note}</p>", html_table(header, rows, texts=1)]
    if data.seen < data.records:
        body.append(_note(f"Numbers of the traits are from {data.seen:,} of the records, in blocks spread evenly."))
    if data.classes:
        classes = [(c, f"{n:,}") for c, n in data.classes[:MOST_ROWS]]
        body.append(html_table(("class", "levels"), classes, texts=1))
        body += _more(len(data.classes) - MOST_ROWS, "classes")
    return "Data", [*body, *_edits(background.edits)]


def _edits(edits: Sequence[EditFacts] | None) -> Iterable[str]:
    yield "<h3>Edits</h3>"
    if edits is None:
        yield "<p>The model has no [checks]: every record is used as it is.</p>"
        return
    if not edits:
        yield "<p>Nothing broke a check.</p>"
        return
    actions = {"drop": "taken as missing", "warn": "kept", "error": "refused"}
    done: dict[str, int] = {}
    for e in edits:
        done[e.action] = done.get(e.action, 0) + e.count
    total = "; ".join(f"{n:,} values {actions.get(action, action)}" for action, n in done.items())
    yield f"<p>{escape(total)}. The log of edits beside the store has each with its reason.</p>"
    rows = [
        (e.trait, e.column, e.reason, actions.get(e.action, e.action), f"{e.count:,}", "; ".join(e.first))
        for e in edits[:MOST_ROWS]
    ]
    header = ("trait", "column", "reason", "done", "values", "first")
    yield html_table(header, rows, texts=4, last_text=True)
    yield from _more(len(edits) - MOST_ROWS, "rules and traits")


def pedigree_sections(background: Background) -> Iterable[tuple[PedigreeFacts, str]]:
    """Yield each pedigree with its table."""
    for p in background.pedigrees:
        rows = [
            ("animals", f"{p.animals:,}"),
            ("with records of their own", f"{p.with_records:,}"),
            ("founders (both parents unknown)", f"{p.founders:,}"),
            ("one parent unknown", f"{p.one_parent_unknown:,}"),
            ("parents with weights of their own", f"{p.weighted:,}" if p.weighted else ""),
            ("genetic groups", f"{p.groups:,}" if p.groups else ""),
            ("sires", f"{p.sires:,} ({p.progeny_per_sire:.1f} progeny each)"),
            ("dams", f"{p.dams:,} ({p.progeny_per_dam:.1f} progeny each)"),
            ("generations", f"{p.generations:,}"),
            ("inbred", f"{p.inbred:,} ({100 * p.inbred / max(p.animals, 1):.1f} %)"),
            ("inbreeding", f"mean {p.mean_inbreeding:.5f}, largest {p.max_inbreeding:.4f}"),
        ]
        yield p, html_table(("", ""), [r for r in rows if r[1]], texts=2)


def trend_table(title: str, means: Sequence[tuple[str, GroupMeans]]) -> str:
    """Return means by group, a column for each quantity; all have the same kind of groups."""
    labels = sorted({name for _, m in means for name in m.labels}, key=_number_or_text)
    columns = [dict(zip(m.labels, m.mean.tolist(), strict=True)) for _, m in means]
    counts = dict(zip(means[0][1].labels, means[0][1].n.tolist(), strict=True))
    shown = labels[-MOST_ROWS:]
    rows = [
        (name, f"{counts.get(name, 0):,}", *("" if name not in c else f"{c[name]:.4g}" for c in columns))
        for name in shown
    ]
    table = html_table((title, "animals", *(name for name, _ in means)), rows, texts=1)
    left_out = len(labels) - len(shown)
    return table + ("" if left_out <= 0 else _note(f"The last {len(shown)}; {left_out} earlier ones are left out."))


def components_section(fit: RemlFit) -> list[str]:
    """Return the variance components with 95 % intervals, at most `MOST_COMPONENTS`: the variances first."""
    rows = variance_rows(fit)
    intervals = [_interval_text(p) for p in fit.parameters]
    intervals += [_normal(f.value, f.se) for f in fit.functions.values()]
    kept = list(range(len(rows)))
    if len(rows) > MOST_COMPONENTS:
        n = len(fit.parameters)
        kept = [k for k in kept if k >= n or fit.parameters[k].row == fit.parameters[k].col][:MOST_COMPONENTS]
    header = (*COLUMNS[:3], "95 % interval", *COLUMNS[3:])
    body = [(*rows[k][:3], intervals[k], *rows[k][3:]) for k in kept]
    left_out = len(rows) - len(kept)
    return [
        html_table(header, body, texts=1),
        *([_note(f"{left_out} more, covariances above all, are in variances.json.")] if left_out else []),
        _note(
            "Intervals are from the standard errors: of variances on the scale of logarithms, of correlations on that "
            "of Fisher's z, of all else as of a normal estimate."
        ),
    ]


def interval(p: Parameter) -> tuple[float, float] | None:
    """Return the 95 % interval of a component, None if its standard error is withheld."""
    if not p.se:
        return None
    if p.kind == "variance" and p.value > 0:
        factor = math.exp(INTERVAL * p.se / p.value)
        return p.value / factor, p.value * factor
    if p.kind == "correlation" and abs(p.value) < 1:
        z, width = math.atanh(p.value), INTERVAL * p.se / (1 - p.value**2)
        return math.tanh(z - width), math.tanh(z + width)
    return p.value - INTERVAL * p.se, p.value + INTERVAL * p.se


def _interval_text(p: Parameter) -> str:
    found = interval(p)
    return "" if found is None else f"{found[0]:.4g} to {found[1]:.4g}"


def _normal(value: float, se: float) -> str:
    known = math.isfinite(se) and se > 0
    return f"{value - INTERVAL * se:.4g} to {value + INTERVAL * se:.4g}" if known else ""


def effects_table(effects: Sequence[Digest]) -> str:
    """Return one row per sub-factor: levels and the spread of the solutions."""
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


def best_table(effect: Digest) -> str:
    """Return the levels with the largest solutions of one sub-factor."""
    rows = [
        (
            t.level,
            f"{t.value:.5g}",
            "" if t.se is None else f"{t.se:.4g}",
            "" if t.reliability is None else f"{t.reliability:.3f}",
        )
        for t in effect.best
    ]
    title = escape(f"{effect.summary.factor}: {effect.summary.subfactor}")
    return f"<div><b>{title}</b>{html_table(('level', 'solution', 'se', 'reliability'), rows, texts=1)}</div>"


def _more(count: int, what: str) -> Iterable[str]:
    if count > 0:
        yield _note(f"{count:,} more {what} are left out.")


def _note(text: str) -> str:
    return f"<p class='note'>{escape(text)}</p>"


def _number_or_text(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return math.inf, label
