"""Model formulas in the words of ASReml-R and lme4, compiled to the same equations as lmt's language.

``fixed`` has a response, or several in ``cbind(...)``; an lme4 formula with its ``(x | g)`` stands whole in it. Text
columns are classes, numeric ones covariates, unless ``factor(x)`` or listed in ``[data] classes``; covariates are not
centred. Columns of random terms are always classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from henderson.language.draft import Draft, Schema
from henderson.language.equations import ParsedEquation
from henderson.language.formula_algebra import FormulaTerm, expand, is_bar
from henderson.language.formula_context import Context, column_of
from henderson.language.formula_fixed import Terms, add_fixed
from henderson.language.formula_grammar import Node, parse_formula, print_node, unwrap, walk
from henderson.language.formula_random import add_random
from henderson.language.formula_variances import add_residual
from henderson.language.source import Problems, Source
from henderson.language.spec import RESIDUAL
from henderson.language.syntax import Misfit


def parse_formulas(formulas: Mapping[str, Source], problems: Problems) -> dict[str, Node]:
    """Return the trees of the formulas by name (``fixed``, ``random``, ``residual``); none if one of them is wrong."""
    nodes = {}
    for name, source in formulas.items():
        try:
            nodes[name] = parse_formula(source.text)
            _check_sides(name, nodes[name])
        except Misfit as e:
            _note(name, source, e, problems)
            nodes.pop(name, None)
    return nodes if len(nodes) == len(formulas) and "fixed" in nodes else {}


def compile_formulas(
    nodes: Mapping[str, Node],
    draft: Draft,
    schema: Schema,
    levels: Callable[[str], list[str]] | None,
    problems: Problems,
) -> None:
    """Write the equations, polynomials and variances of the formulas into the draft; note mistakes in `problems`."""
    context = Context(draft, schema, levels)
    context.source = draft.formulas["fixed"]
    try:
        responses = _responses(nodes["fixed"].arguments[0])
    except Misfit as e:
        _note("fixed", context.source, e, problems)
        return
    context.traits = tuple(column for column, _ in responses)
    if len(set(context.traits)) < len(context.traits):
        problems.add("formula 'fixed': a response is named twice", context.source.at(0))
        return
    equations: Terms = {trait: [] for trait in context.traits}
    taken = {RESIDUAL}

    def fixed() -> None:
        terms = expand(nodes["fixed"].arguments[1], intercept=True)
        main_effects_first = sorted((t for t in terms if not is_bar(t)), key=lambda t: len(t.factors))
        add_fixed(main_effects_first, context, equations)
        add_random([t for t in terms if is_bar(t)], context, equations, taken, problems)

    def random() -> None:
        right = nodes["random"].arguments[0]
        bare = right.kind == "operator" and right.value in ("|", "||")  # nlme's ~ x | g
        terms = [FormulaTerm((right,))] if bare else expand(right, intercept=False)
        add_random(terms, context, equations, taken, problems)

    def residual() -> None:
        add_residual(nodes["residual"].arguments[0], context, problems)

    steps: dict[str, Callable[[], None]] = {"fixed": fixed, "random": random, "residual": residual}
    for name, step in steps.items():
        if name in nodes:
            context.source = draft.formulas[name]
            try:
                step()
            except Misfit as e:
                _note(name, context.source, e, problems)
    source = draft.formulas["fixed"]
    draft.equations = [
        ParsedEquation(column, source.at(node.index), tuple(equations[column])) for column, node in responses
    ]
    for equation in draft.equations:
        if not equation.terms and not problems.found:
            problems.add(f"formula 'fixed': response {equation.response!r} has no term", equation.at)
    draft.polynomials = context.polynomials


def _note(name: str, source: Source, misfit: Misfit, problems: Problems) -> None:
    remedy = None
    if re.search(r",\s*REML\s*=", source.text):
        remedy = 'maximum likelihood is an option of the job, reml = { REML = false }, or method="ML" in Python'
    problems.add(f"formula {name!r}, {source.text.strip()!r}: {misfit.message}", source.at(misfit.index), remedy)


def _check_sides(name: str, node: Node) -> None:
    if name == "fixed" and len(node.arguments) != 2:
        raise Misfit("the response is missing on the left of ~", 0)
    if name != "fixed" and len(node.arguments) != 1:
        raise Misfit("nothing may stand on the left of ~", 0)
    for part in walk(node.arguments[-1]):
        if part.is_name("."):
            raise Misfit("'.' is not supported: name the columns", part.index)


def _responses(node: Node) -> list[tuple[str, Node]]:
    inner = unwrap(node)
    if inner.is_call("cbind") and not inner.named and inner.arguments:
        return [(column_of(n), n) for n in inner.arguments]
    if inner.kind != "name":
        raise Misfit(
            f"the response {print_node(node)!r} must be a column, or several in cbind(...)",
            node.index,
        )
    return [(inner.value, inner)]
