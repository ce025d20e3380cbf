"""A fit printed as a statistician expects it: text and HTML from the same tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES
from henderson.reml.result import RemlFit
from henderson.results.component_table import LEGEND, components, position_names
from henderson.results.variances import loglik_text
from henderson.results.wald import WaldTest

MOST_FIXED = 20


@dataclass(frozen=True)
class Section:
    """A titled table: rows of texts under `header`, the first `texts` columns flush left; notes below it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Criteria:
    """Log-likelihoods and information criteria as they are printed."""

    aic: float
    bic: float


def sections(fit: RemlFit, criteria: Criteria, tests: Sequence[WaldTest]) -> tuple[list[str], list[Section]]:
    """Return the lines of the head, and the tables."""
    head = [
        f"Linear mixed model fit by {fit.method}: {', '.join(fit.spec.traits)}",
        f"{fit.n_observations:,} observations, {fit.rank:,} fixed effect{'s' * (fit.rank != 1)}"
        + (f" ({len(fit.dropped):,} more left out as dependent)" if fit.dropped else ""),
        f"{fit.rounds} rounds; {fit.stop_reason.value}",
        f"logLik {loglik_text(fit)}   with constants {fit.loglik_full:.4f}   AIC {criteria.aic:.2f}   "
        f"BIC {criteria.bic:.2f}",
    ]
    tables = [_components(fit), *_correlations(fit), *_functions(fit), _levels(fit), *_fixed(fit), *_wald(tests)]
    return head, [t for t in tables if t.rows]


def _components(fit: RemlFit) -> Section:
    rows = components(fit)
    codes = dict.fromkeys(c.constraint for c in rows)
    legend = ", ".join(f"{code} {LEGEND[code]}" for code in codes)
    return Section(
        "Variance components",
        ("", "component", "std_error", "z_ratio", "constraint"),
        tuple((c.name, number(c.value), number(c.std_error), _fixed_point(c.z_ratio, 2), c.constraint) for c in rows),
        notes=(legend,),
    )


def _correlations(fit: RemlFit) -> list[Section]:
    rows = []
    for (name, label), sigma in fit.sigma.items():
        structure = fit.spec.variance(name).structure
        if structure in ("diag", "id", "corgh"):
            continue
        names = position_names(fit.spec, name)
        pairs = [(i, j) for i in range(len(sigma.sigma)) for j in range(i)]
        for i, j in pairs[:1] if structure == "cs" else pairs:
            title = f"{name}{'' if label is None else f' {label}'}"
            pair = "all pairs" if structure == "cs" else f"{names[i]}, {names[j]}"
            r, se = float(sigma.correlation[i, j]), float(sigma.correlation_se[i, j])
            rows.append((f"{title}: {pair}", _fixed_point(r, 4), "" if se != se else f"{se:.4f}"))
    return [Section("Correlations", ("", "correlation", "std_error"), tuple(rows))] if rows else []


def _functions(fit: RemlFit) -> list[Section]:
    rows = tuple((name, number(f.value), number(f.se)) for name, f in fit.functions.items())
    return [Section("Functions", ("", "value", "std_error"), rows)]


def _levels(fit: RemlFit) -> Section:
    rows = []
    for group in fit.design.groups:
        if group.covariance is not None:
            rows.append((group.name, f"{group.n_levels:,}", f"{group.width}"))
    return Section("Random factors", ("", "levels", "positions"), tuple(rows))


def _fixed(fit: RemlFit) -> list[Section]:
    rows: list[tuple[str, ...]] = []
    more = 0
    for part in fit.solutions:
        if part.factor not in (FIXED_CLASSES, FIXED_COVARIATES):
            continue
        shown = range(min(len(part.labels), MOST_FIXED + 1))
        labels = part.labels.text(0, len(shown))
        for k in shown:
            if part.kept is not None and not part.kept[k]:
                continue
            if len(rows) == MOST_FIXED:
                break
            value, se = float(part.values[k]), float(part.se[k]) if part.se is not None else float("nan")
            name = (
                part.subfactor if labels[k] in ("", "1") and len(part.labels) == 1 else f"{part.subfactor} {labels[k]}"
            )
            rows.append((name, number(value), number(se), _fixed_point(value / se if se else None, 2)))
        more += part.n_rows
    more -= len(rows)
    notes = (f"... and {more:,} more: fixef()",) if more > 0 else ()
    return [Section("Fixed effects", ("", "estimate", "std_error", "z_ratio"), tuple(rows), notes=notes)]


def _wald(tests: Sequence[WaldTest]) -> list[Section]:
    rows = tuple((t.term, f"{t.df}", f"{t.statistic:.3f}", f"{t.f_value:.3f}", p_text(t.p_value)) for t in tests)
    note = "each term adjusted for those above it; chi-squared, no denominator degrees of freedom"
    return [Section("Wald tests", ("", "df", "Wald", "F", "Pr(chisq)"), rows, notes=(note,))]


def as_text(head: Sequence[str], tables: Sequence[Section]) -> str:
    """Return head and tables as aligned text."""
    return "\n\n".join(["\n".join(head), *map(_text_table, tables)])


def as_html(head: Sequence[str], tables: Sequence[Section]) -> str:
    """Return head and tables as HTML."""
    lines = [f"<p><b>{escape(head[0])}</b><br>{'<br>'.join(escape(h) for h in head[1:])}</p>"]
    for t in tables:
        lines.append(f"<table><caption style='text-align:left'><b>{escape(t.title)}</b></caption>")
        lines.append("<tr>" + "".join(f"<th>{escape(h)}</th>" for h in t.header) + "</tr>")
        for row in t.rows:
            cells = (
                f"<td style='text-align:{'left' if k < t.texts else 'right'}'>{escape(c)}</td>"
                for k, c in enumerate(row)
            )
            lines.append(f"<tr>{''.join(cells)}</tr>")
        lines.append("</table>")
        lines += [f"<p>{escape(note)}</p>" for note in t.notes if note]
    return "\n".join(lines)


def _text_table(t: Section) -> str:
    widths = [max(len(row[k]) for row in (t.header, *t.rows)) for k in range(len(t.header))]

    def line(row: tuple[str, ...]) -> str:
        cells = [c.ljust(w) if k < t.texts else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join([f"{t.title}:", line(t.header), *map(line, t.rows), *(n for n in t.notes if n)])


def number(value: float | None, digits: int = 6) -> str:
    """Return a number with `digits` significant digits, empty where there is none."""
    return "" if value is None or value != value else f"{value:#.{digits}g}".rstrip(".")


def _fixed_point(value: float | None, places: int) -> str:
    return "" if value is None or value != value else f"{value:.{places}f}"


def p_text(p: float) -> str:
    """Return a probability as R prints it."""
    return "" if p != p else "< 2.2e-16" if p < 2.2e-16 else f"{p:.4g}"
