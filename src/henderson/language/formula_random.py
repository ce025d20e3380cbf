"""The random part of a model formula: ASReml's ``us(trait):vm(id, ped)`` and lme4's ``(x | g)``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from henderson.errors import unknown
from henderson.language.equations import ParsedSubFactor, ParsedTerm, ParsedVariable
from henderson.language.formula_algebra import INTERCEPT, FormulaTerm, expand, is_bar
from henderson.language.formula_context import (
    FACTOR,
    STRUCTURES,
    TRAIT,
    UNITS,
    Context,
    class_of,
    column_of,
    covariate_of,
    is_trait,
    only_argument,
    stranger,
    traits_at,
)
from henderson.language.formula_fixed import INTERCEPT_NAME, Terms
from henderson.language.formula_grammar import Node, print_node
from henderson.language.formula_variances import merge_variance
from henderson.language.source import Problems
from henderson.language.spec import GammaSpec
from henderson.language.syntax import Misfit

RELATED = ("vm", "ped", "giv", "ide")
KNOWN = (*STRUCTURES, "at", *RELATED, *FACTOR)


@dataclass(frozen=True)
class _Position:
    """One position of a random term: the traits it enters, its variable, and what its sub-factor adds to the name."""

    traits: tuple[str, ...]
    variable: ParsedVariable
    suffix: str = ""


@dataclass(frozen=True)
class _Levels:
    """What supplies the levels of a random term: class columns, their covariance, and the name of the variance."""

    column: str
    name: str
    node: Node
    gamma: GammaSpec | None = None


def add_random(
    terms: Sequence[FormulaTerm], context: Context, equations: Terms, taken: set[str], problems: Problems
) -> None:
    """Add the random terms to the equations of their traits, and their variances to the draft."""
    for term in terms:
        if is_bar(term):
            _add_bar(term.factors[0], context, equations, taken, problems)
        elif term == INTERCEPT:
            raise Misfit("'1' is no random term", 0)
        else:
            _add_term(term, context, equations, taken, problems)


def _add_term(term: FormulaTerm, context: Context, equations: Terms, taken: set[str], problems: Problems) -> None:
    text = ":".join(map(print_node, term.factors))
    structured = [f for f in term.factors if f.is_call(*STRUCTURES, "at") or is_trait(f, context)]
    others = [f for f in term.factors if f not in structured]
    if not others:
        # ASReml's idv(Block) is Block: the structure is then of the levels.
        first = structured[0]
        if len(structured) > 1 or not first.is_call("id", "idv") or only_argument(first).is_name(TRAIT):
            raise Misfit(f"{text!r} has no column with random levels, such as id in us(trait):id", first.index)
        others, structured = [only_argument(first)], []
    related = [f for f in others if f.is_call(*RELATED) and f.value != "ide"]
    if related and len(others) == 2:  # Env:vm(id, ped) is id(Env):vm(id, ped)
        structured += [f for f in others if f not in related]
        name = ":".join(_levels([f], context).name for f in others)
        levels = replace(_levels(related, context), name=name)
    else:
        levels = _levels(others, context)
    conditions = [f for f in structured if f.is_call("at") and not is_trait(f, context)]
    structured = [f for f in structured if f not in conditions]
    if len(structured) > 1:
        raise Misfit(f"{text!r} has more than one covariance structure: that is not supported", structured[1].index)
    places = _places(conditions, context)
    first = term.factors[0]
    if not structured:  # at(site):Block is one variance for each site
        plain = _Position(context.traits, ParsedVariable(levels.column, context.at(first)))
        positions = [_at_place(plain, place) for place in places]
        _add_variance(levels, "diag", positions, None, first, context, equations, taken, problems)
        return
    structure, positions, init = _positions(structured[0], levels, first, context)
    for place in places:  # at(site):us(trait):Block is one matrix for each site
        mine = [_at_place(p, place) if place else p for p in positions]
        _add_variance(levels, structure, mine, init, first, context, equations, taken, problems)


def _places(conditions: Sequence[Node], context: Context) -> list[tuple[tuple[str, str], ...]]:
    """Return the combinations of levels that the ``at(...)`` of a term name; one without any if there are none."""
    places: list[tuple[tuple[str, str], ...]] = [()]
    for factor in conditions:
        if not factor.arguments:
            raise Misfit("at() needs a column", factor.index)
        column = column_of(factor.arguments[0])
        levels = context.levels_in(column, factor.arguments[1:], factor)
        places = [(*place, (column, level)) for place in places for level in levels]
    return places


def _at_place(position: _Position, place: tuple[tuple[str, str], ...]) -> _Position:
    variable = replace(position.variable, where=(*position.variable.where, *place))
    return _Position(position.traits, variable, "".join(f"_{level}" for _, level in place) + position.suffix)


def _levels(factors: Sequence[Node], context: Context, bar: bool = False) -> _Levels:
    columns, gamma = [], None
    for factor in factors:
        if factor.is_name(UNITS):
            raise Misfit("'units' belongs to the residual formula", factor.index)
        if factor.is_call(*RELATED):
            if not factor.arguments:
                raise Misfit(f"{factor.value}() needs a column", factor.index)
            if factor.value != "ide" and len(factors) > 1:
                raise Misfit("an interaction with related levels needs a structure, such as us(x)", factor.index)
            columns.append(column_of(factor.arguments[0]))
            gamma = _gamma(factor, context)
        elif (column := class_of(factor)) is not None:
            real = context.schema.get(column) == "real" and not context.is_class(column)
            if real and factor.kind == "name" and len(factors) > 1 and not bar:
                remedy = f"a regression on it is written ({column} | group), a class factor({column})"
                raise Misfit(f"{column!r} holds real numbers, whose values would be levels; {remedy}", factor.index)
            columns.append(column)
        else:
            raise stranger(factor, KNOWN)
    return _Levels(":".join(columns), ":".join(columns), factors[0], gamma)


def _gamma(factor: Node, context: Context) -> GammaSpec | None:
    pedigrees, matrices = list(context.draft.pedigrees), list(context.draft.matrices)
    if factor.value == "ide":
        return None
    if len(factor.arguments) > 2:
        raise Misfit(f"{factor.value}() takes a column and a pedigree or matrix", factor.index)
    if len(factor.arguments) < 2:
        if factor.value == "ped" and len(pedigrees) == 1:
            return GammaSpec("pedigree", pedigrees[0])
        raise Misfit(f"{print_node(factor)!r} does not say by which pedigree or matrix", factor.index)
    name = column_of(factor.arguments[1])
    if name in pedigrees:
        return GammaSpec("pedigree", name)
    if name in matrices:
        return GammaSpec("matrix", name)
    raise Misfit(unknown("pedigree or matrix", name, [*pedigrees, *matrices]), factor.arguments[1].index)


def _positions(
    factor: Node, levels: _Levels, first: Node, context: Context
) -> tuple[str, list[_Position], Node | None]:
    """Return the structure, the positions, and the node of the start values, of a term over its traits or a class."""
    at = context.at(first)
    plain = ParsedVariable(levels.column, at)
    init = dict(factor.named).pop("init", None)
    for name, node in factor.named:
        if name != "init":
            raise Misfit(unknown(f"argument of {factor.value}():", name, ("init",)), node.index)
    structured = factor.is_call(*STRUCTURES)
    over = only_argument(factor) if structured else factor
    if is_trait(over, context):
        # at(trait):Block is a variance for each trait, trait:Block the same one for all
        structure = STRUCTURES[factor.value] if structured else "id" if factor.kind == "name" else "diag"
        if len(context.traits) == 1:
            return "us", [_Position(context.traits, plain)], init
        return structure, [_Position((t,), plain, f"_{t}") for t in traits_at(over, context)], init
    column = class_of(over)
    if column is None:
        raise Misfit(f"{print_node(factor)!r}: a structure is over the trait or a class column", factor.index)
    positions = [
        _Position(context.traits, ParsedVariable(levels.column, at, where=((column, level),)), f"_{level}")
        for level in context.levels_of(column, factor)
    ]
    return STRUCTURES[factor.value] if structured else "id", positions, init


def _add_bar(bar: Node, context: Context, equations: Terms, taken: set[str], problems: Problems) -> None:
    left, right = bar.arguments
    groups = expand(right, intercept=False)
    for group in groups:
        if group == INTERCEPT or is_bar(group):
            raise Misfit(f"{print_node(right)!r} names no groups", right.index)
        levels = _levels(group.factors, context, bar=True)
        positions = _coefficients(left, levels, context)
        if bar.value == "|":
            _add_variance(levels, "us", positions, None, bar, context, equations, taken, problems)
        elif all(len(p.traits) < len(context.traits) for p in positions):  # (0 + trait || g) is diag(trait):g
            _add_variance(levels, "diag", positions, None, bar, context, equations, taken, problems)
        else:
            for position in positions:
                _add_variance(levels, "us", [position], None, bar, context, equations, taken, problems)


def _coefficients(left: Node, levels: _Levels, context: Context) -> list[_Position]:
    """Return the positions of the left side of ``(x | g)``: R's columns, with treatment contrasts where it has them."""
    positions: list[_Position] = []
    terms = expand(left, intercept=True)
    for term in terms:
        traits = [f for f in term.factors if is_trait(f, context)]
        rest = FormulaTerm(tuple(f for f in term.factors if f not in traits))
        if not traits:
            positions += _columns(rest, INTERCEPT in terms, levels, context)
            continue
        chosen = traits_at(traits[0], context)[int(rest in terms) :]
        for position in _columns(rest, False, levels, context):
            stem = "" if rest == INTERCEPT else position.suffix
            positions += [_Position((t,), position.variable, f"{stem}_{t}") for t in chosen]
    if not positions:
        raise Misfit(f"{print_node(left)!r} leaves no coefficient", left.index)
    return positions


def _columns(term: FormulaTerm, contrasts: bool, levels: _Levels, context: Context) -> list[_Position]:
    """Return the positions of one term on the left of a bar; `contrasts`: without the first level of a class."""
    if term == INTERCEPT:
        at = context.at(levels.node)
        return [_Position(context.traits, ParsedVariable(levels.column, at), f"_{INTERCEPT_NAME}")]
    factor = term.factors[0]
    at = context.at(factor)
    if len(term.factors) > 1 or factor.kind == "operator":
        raise Misfit("an interaction on the left of | is not supported", factor.index)
    column = class_of(factor)
    if column is not None and (factor.kind == "call" or context.is_class(column)):
        chosen = context.levels_of(column, factor)[int(contrasts) :]
        variables = [ParsedVariable(levels.column, at, where=((column, level),)) for level in chosen]
        return [_Position(context.traits, v, f"_{column}{level}") for v, level in zip(variables, chosen, strict=True)]
    covariate = (column, ()) if column is not None else covariate_of(factor, context)
    if covariate is None:
        raise stranger(factor, KNOWN)
    variable = ParsedVariable(covariate[0], at, "covariate", polynomials=covariate[1], nested_in=levels.column)
    return [_Position(context.traits, variable, f"_{print_node(factor)}")]


def _add_variance(
    levels: _Levels,
    structure: str,
    positions: Sequence[_Position],
    init: Node | None,
    first: Node,
    context: Context,
    equations: Terms,
    taken: set[str],
    problems: Problems,
) -> None:
    name = context.unique(levels.name, taken)
    several = len(positions) > 1 or (len(context.traits) > 1 and len(positions[0].traits) == 1)
    for number, position in enumerate(positions, start=1):
        wanted = name + position.suffix if several else name
        s = ParsedSubFactor(context.unique(wanted, context.names), context.at(first), name, (number,))
        for trait in position.traits:
            equations[trait].append(ParsedTerm(position.variable, s))
    size = len(positions)
    merge_variance(name, structure if size > 1 else "us", levels.gamma, init, size, context, problems)
