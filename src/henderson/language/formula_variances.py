"""What formulas say of variances: structure, Gamma, start values; and the residual formula."""

from __future__ import annotations

from collections.abc import Mapping

from henderson.language.draft import DraftVariance
from henderson.language.formula_algebra import INTERCEPT, expand, is_bar
from henderson.language.formula_context import (
    STRUCTURES,
    TRAIT,
    UNITS,
    Context,
    column_of,
    is_trait,
    only,
    only_argument,
    values_of,
)
from henderson.language.formula_grammar import Node, print_node, unwrap
from henderson.language.source import Problems
from henderson.language.spec import RESIDUAL, GammaSpec, Matrix
from henderson.language.syntax import Misfit


def merge_variance(
    name: str,
    structure: str,
    gamma: GammaSpec | None,
    init: Node | None,
    size: int,
    context: Context,
    problems: Problems,
) -> None:
    """Add what a formula says of a variance to what its table says; where both speak they must agree."""
    variance = context.draft.variances.setdefault(name, DraftVariance(name))
    start = _start_values(init, structure, size) if init is not None else None
    if structure in ("corh", "corgv"):
        equal = _same_correlations(size) if structure == "corh" else _same_variances(size)
        structure, variance.equal = "corgh", tuple(sorted({*variance.equal, *equal}))
        variance.equal_at = variance.equal_at or context.source.at(0)
    if variance.structure not in (None, structure):
        message = f"variance {name!r} has structure {variance.structure!r}, but {structure!r} in its formula"
        problems.add(message, variance.at)
    variance.structure = structure
    if gamma is not None and variance.gamma not in (None, gamma):
        problems.add(f"gamma of variance {name!r} is not that of its formula", variance.gamma_at, "leave it out")
    variance.gamma = gamma or variance.gamma
    if init is not None and variance.sigma is None:
        variance.sigma = start
        variance.sigma_at = context.at(init)


def _same_correlations(n: int) -> list[tuple[tuple[int, int], ...]]:
    return [tuple((i, j) for i in range(2, n + 1) for j in range(1, i))] if n > 2 else []


def _same_variances(n: int) -> list[tuple[tuple[int, int], ...]]:
    return [tuple((i, i) for i in range(1, n + 1))] if n > 1 else []


def _start_values(node: Node, structure: str, n: int) -> Matrix:
    """Return Sigma of ASReml's start values: the lower triangle by rows; for corgh, cs correlations, then variances."""
    try:
        values = [float(v) for v in values_of([node])]
    except ValueError:
        raise Misfit(f"init={print_node(node)} must be numbers", node.index) from None
    pairs = [(i, j) for i in range(n) for j in range(i)]
    few, one = structure in ("cs", "corh"), structure in ("cs", "corgv")  # one correlation, one variance
    counts = {"us": n + len(pairs), "diag": n, "id": 1}
    wanted = counts.get(structure, (1 if few else len(pairs)) + (1 if one else n))
    if len(values) != wanted:
        raise Misfit(f"init has {len(values)} numbers; {structure} of {n} positions has {wanted}", node.index)
    entries: Mapping[tuple[int, int], float]
    if structure == "us":
        entries = dict(zip([(i, j) for i in range(n) for j in range(i + 1)], values, strict=True))
    elif structure in ("diag", "id"):
        entries = {(i, i): values[i % len(values)] for i in range(n)}
    else:
        n_correlations = 1 if few else len(pairs)
        correlations = values[:1] * len(pairs) if few else values[:n_correlations]
        variances = values[n_correlations:] * (n if one else 1)
        entries = {(i, i): variances[i] for i in range(n)}
        for (i, j), r in zip(pairs, correlations, strict=True):
            entries[i, j] = r * (variances[i] * variances[j]) ** 0.5
    return tuple(tuple(entries.get((max(i, j), min(i, j)), 0.0) for j in range(n)) for i in range(n))


def add_residual(node: Node, context: Context, problems: Problems) -> None:
    """Read the residual formula: ``units``, ``units:us(trait)``, ``dsum(~ units | sex)``, ``at(sex):units``."""
    by = None
    inner = unwrap(node)
    if inner.is_call("dsum"):
        argument = unwrap(only(inner))
        if argument.kind != "formula" or len(argument.arguments) != 1 or argument.arguments[0].value != "|":
            raise Misfit("dsum() takes ~ units | class", inner.index)
        inner, group = argument.arguments[0].arguments
        by = column_of(group)
    terms = expand(inner, intercept=False)
    if len(terms) != 1 or is_bar(terms[0]) or terms[0] == INTERCEPT:
        raise Misfit("the residual formula has one term, such as units or units:us(trait)", node.index)
    structure, init, units = "us", None, False
    for factor in terms[0].factors:
        if factor.is_name(UNITS) or (factor.is_call("id", "idv") and only_argument(factor).is_name(UNITS)):
            units = True
        elif factor.is_name(TRAIT) and not context.trait_is_column:
            structure = "id"
        elif factor.is_call(*STRUCTURES) and is_trait(only_argument(factor), context):
            structure, init = STRUCTURES[factor.value], dict(factor.named).get("init")
        elif factor.is_call("at", "diag", "idh") and len(factor.arguments) == 1 and by is None:
            by = column_of(factor.arguments[0])
        elif factor.is_call(*STRUCTURES) and only_argument(factor).is_name(TRAIT):
            message = f"{print_node(factor)!r}: residuals of different rows are independent; for several traits of one "
            raise Misfit(message + "individual make them columns, and write cbind(y1, y2) ~ ...", factor.index)
        else:
            remedy = "known: units, units:us(trait), at(class):units, dsum(~ units | class)"
            raise Misfit(f"{print_node(factor)!r} is not supported in the residual; {remedy}", factor.index)
    if not units:
        raise Misfit("the residual formula lacks 'units'", node.index)
    size = len(context.traits)
    merge_variance(RESIDUAL, structure if size > 1 else "us", None, init, size, context, problems)
    if by is not None:
        variance = context.draft.variances[RESIDUAL]
        if variance.by not in (None, by):
            problems.add(f"variance {RESIDUAL!r} is by {variance.by!r}, but by {by!r} in its formula", variance.by_at)
        variance.by, variance.by_at = by, context.at(node)
