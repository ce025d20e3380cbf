"""The model in words: its factors with their terms, its variances."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from henderson.language.spec import RESIDUAL, GammaSpec, IndexSpec, ModelSpec, Term, VarianceSpec
from henderson.results.component_table import position_names
from henderson.results.page import html_details, html_table

MOST_TERMS = 60
MOST_WEIGHTS = 20
MOST_POSITIONS = 8  # of a matrix that is shown at once

STRUCTURES = {
    "us": "unstructured",
    "diag": "diagonal",
    "corgh": "correlations and variances",
    "cs": "one variance and one covariance",
    "id": "one variance",
}


def terms_table(spec: ModelSpec) -> str:
    """Return the terms as a table: sub-factor, of which factor, what it is a coefficient of, in which traits."""
    traits: dict[tuple[str, str], list[str]] = {}
    for equation in spec.equations:
        for term in equation.terms:
            traits.setdefault((term.subfactor, _coefficient(term)), []).append(equation.trait)
    rows = []
    for (name, what), of in traits.items():
        variance = spec.subfactor(name).variance
        kind = "fixed" if variance is None else f"random: {variance}"
        rows.append((name, kind, what, _listed(of)))
    note = f"<p>{len(rows) - MOST_TERMS} more terms are in the equations.</p>" if len(rows) > MOST_TERMS else ""
    table = html_table(("sub-factor", "", "effect of", "traits"), rows[:MOST_TERMS], texts=4) + note
    if spec.polynomials:
        named = [(str(k), text) for k, text in enumerate(spec.polynomials[:MOST_TERMS], 1)]
        table += html_table(("polynomial", ""), named, texts=2)
    if spec.indices:
        rows_of = [(i.name, i.variance, index_text(i)) for i in spec.indices[:MOST_TERMS]]
        table += html_table(("index", "of", "of each level"), rows_of, texts=3)
    return table


def index_text(index: IndexSpec) -> str:
    """Return an index as a sum, ``301 a1_1 - 0.5 a1_2``, of its first coefficients at least."""
    shown = index.weights[:MOST_WEIGHTS]
    text = "".join(f" {'-' if w < 0 else '+'} {abs(w):.6g} {name}" for name, w in shown)
    text = text.removeprefix(" + ").strip()
    left_out = len(index.weights) - len(shown)
    return text + (f" and {left_out} more" if left_out else "")


def variances_section(spec: ModelSpec) -> str:
    """Return every variance: what it is in words, and its matrix with correlations above the diagonal."""
    return "<div class='columns'>" + "".join(_variance(spec, v) for v in spec.variances) + "</div>"


def _coefficient(term: Term) -> str:
    where = "".join(f", records of {column} {level}" for column, level in term.where)
    if term.kind == "group":
        return f"fractions of the groups of pedigree {term.pedigree}{where}"
    if term.kind == "class":
        return ("the mean" if term.variable == "1" else f"class {term.variable}") + where
    centred = "centred " if term.centred else ""
    nested = f" within {term.nested_in}" if term.nested_in else ""
    if term.polynomials:
        shown = _listed([str(k) for k in term.polynomials])
        return f"polynomial{'s' * (len(term.polynomials) > 1)} {shown} of {centred}{term.variable}{nested}{where}"
    return f"regression on {centred}{term.variable}{nested}{where}"


def _variance(spec: ModelSpec, variance: VarianceSpec) -> str:
    residual = variance.name == RESIDUAL
    n = spec.n_positions(variance.name)
    words = [] if residual else [_gamma(spec, variance.gamma)]
    words += [f"of rank {variance.rank}"] if variance.rank is not None else []
    words += [f"{STRUCTURES[variance.structure]} over {n} {'traits' if residual else 'positions'}"] if n > 1 else []
    words += [f"one for each class of {variance.by}"] if variance.by is not None else []
    words += [f"of some levels in {variance.blocks.file}"] if variance.blocks is not None else []
    title = "residual" if residual else variance.name
    head = f"<div><h3>{escape(title)}</h3><p>{escape('; '.join(words))}</p>"
    if variance.sigma is None:
        return head + "</div>"
    sigma = np.array(variance.sigma)
    names = position_names(spec, variance.name)
    deviation = np.sqrt(np.diag(sigma))
    if n == 1:
        return f"{head}<p>variance {sigma[0, 0]:.5g}</p></div>"
    if n > MOST_POSITIONS:
        rows = [(name, f"{v:.5g}") for name, v in zip(names, np.diag(sigma).tolist(), strict=True)]
        head += html_table(("", "variance"), rows[:MOST_TERMS], texts=1)
        if n > MOST_TERMS:
            return head + f"<p class='note'>The matrix of {n} positions is left out; run.json has it.</p></div>"
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = sigma / np.outer(deviation, deviation)
    cells = [[f"{sigma[i, j]:.5g}" if i >= j else f"{correlation[i, j]:.3f}" for j in range(n)] for i in range(n)]
    note = "<p class='note'>Above the diagonal: correlations.</p>"
    table = html_table(("", *names), [(name, *row) for name, row in zip(names, cells, strict=True)], texts=1)
    whole = table + note
    return head + (whole if n <= MOST_POSITIONS else html_details("the whole matrix", whole)) + "</div>"


def _gamma(spec: ModelSpec, gamma: GammaSpec) -> str:
    if gamma.kind == "pedigree":
        pedigree = next((p for p in spec.pedigrees if p.name == gamma.name), None)
        inbreeding = "" if pedigree is None or pedigree.inbreeding else ", inbreeding taken as zero"
        return f"levels related by pedigree {gamma.name}{inbreeding}"
    return "independent levels" if gamma.kind == "identity" else f"levels related by matrix {gamma.name}"


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
