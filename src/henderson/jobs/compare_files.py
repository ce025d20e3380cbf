"""What `henderson compare` leaves: `compare.json` and the page `compare.html`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from henderson.jobs.compare import Comparison, EffectComparison
from henderson.results.comparison import Agreement
from henderson.results.files import finite, replacing, write_json
from henderson.results.page import html_page, html_table
from henderson.results.summary import is_random

ORDERED = ("birth year", "generation")  # groups that make a trend
MOST_PICTURES = 12

COLUMNS = (
    "n",
    "only old",
    "only new",
    "correlation",
    "slope",
    "sd old",
    "sd new",
    "mean change",
    "sd change",
    "largest",
)


def agreement_cells(a: Agreement, only: tuple[int, int] = (0, 0)) -> tuple[str, ...]:
    """Return the numbers of an agreement as texts, in the order of `COLUMNS`."""
    alone = (f"{n:,}" if n else "" for n in only)
    numbers = (a.sd_old, a.sd_new, a.mean_change, a.sd_change, a.largest_change)
    return (f"{a.n:,}", *alone, _text(a.correlation, ".4f"), _text(a.slope, ".4f"), *(_text(v, ".4g") for v in numbers))


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it; what cannot be said is null."""
    effects = [
        {
            "factor": e.factor,
            "subfactor": e.subfactor,
            "both": e.all.n,
            "only_old": e.only_old,
            "only_new": e.only_new,
            "all": _plain(e.all),
            "groups": {title: [{"group": g, **_plain(a)} for g, a in of] for title, of in e.groups.items()},
            "movers": [{k: finite(v) for k, v in asdict(m).items()} for m in e.movers],
        }
        for e in comparison.effects
    ]
    components = {n: {"old": pair[0], "new": pair[1]} for n, pair in comparison.components.items()}
    return {
        "old": str(comparison.old),
        "new": str(comparison.new),
        "effects": effects,
        "components": components,
        "only_old": list(comparison.only_old),
        "only_new": list(comparison.only_new),
        "notes": list(comparison.notes),
    }


def write_comparison(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Return the paths of `compare.html` and `compare.json` in `out`, written whole."""
    out.mkdir(parents=True, exist_ok=True)
    page, data = out / "compare.html", out / "compare.json"
    write_json(data, comparison_json(comparison))
    with replacing(page) as part:
        part.write_text(_page(comparison), encoding="utf-8")
    return page, data


def _page(comparison: Comparison) -> str:
    title = f"{comparison.old} against {comparison.new}"
    sections = [
        f"<h1>{escape(title)}</h1>",
        html_table(("", ""), [("old", str(comparison.old)), ("new", str(comparison.new))], texts=2),
        *(f"<p>{escape(note)}</p>" for note in comparison.notes),
        "<h2>Sub-factors</h2>",
        "<p>slope: regression of the new on the old; change: new - old; sd: standard deviation</p>",
        html_table(
            ("factor", "sub-factor", *COLUMNS),
            ((e.factor, e.subfactor, *agreement_cells(e.all, (e.only_old, e.only_new))) for e in comparison.effects),
            texts=2,
        ),
        *_alone(comparison),
    ]
    if comparison.components:
        rows = [(n, *(("" if v is None else f"{v:.6g}") for v in pair)) for n, pair in comparison.components.items()]
        sections += ["<h2>Variance components</h2>", html_table(("component", "old", "new"), rows, texts=1)]
    varied = [e for e in comparison.effects if e.all.n > 1]
    varied.sort(key=lambda e: not is_random(e.factor))  # breeding values first
    for k, effect in enumerate(varied):
        sections += _effect(effect, k < MOST_PICTURES)
    return html_page(title, sections)


def _alone(comparison: Comparison) -> Iterable[str]:
    for which, names in (("old", comparison.only_old), ("new", comparison.only_new)):
        if names:
            yield f"<p>only in the {which} run: {escape(', '.join(names))}</p>"


def _effect(effect: EffectComparison, pictured: bool) -> list[str]:
    from henderson.results import comparison_figures as figures  # loads Matplotlib

    sections = [f"<h2>{escape(effect.factor)}: {escape(effect.subfactor)}</h2>"]
    if pictured:
        sections.append(figures.old_against_new(*effect.matched.values, effect.all))
    for title, groups in effect.groups.items():
        if pictured and title in ORDERED and len(groups) > 1:
            sections.append(figures.trend(title, groups))
        rows = [(name, *agreement_cells(a)) for name, a in groups]
        sections.append(html_table((title, *COLUMNS), rows, texts=1))
    rows = [
        (
            m.level,
            f"{m.old:.5g}",
            f"{m.new:.5g}",
            f"{m.change:+.4g}",
            _text(m.standardised, "+.2f"),
            "; ".join(m.reasons),
        )
        for m in effect.movers
    ]
    header = ("top movers", "old", "new", "change", "in sd", "what is not as it was")
    return [*sections, html_table(header, rows, texts=1, last_text=True)]


def _plain(a: Agreement) -> dict[str, Any]:
    return {k: finite(v) for k, v in asdict(a).items()}


def _text(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else ""
