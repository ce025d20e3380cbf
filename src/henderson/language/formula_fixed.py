"""The fixed part of a model formula, as terms of equations."""

from __future__ import annotations

from dataclasses import dataclass

from henderson.language.equations import ParsedSubFactor, ParsedTerm, ParsedVariable
from henderson.language.expressions import FUNCTIONS
from henderson.language.formula_algebra import INTERCEPT, FormulaTerm
from henderson.language.formula_context import (
    FACTOR,
    TRAIT,
    UNITS,
    Context,
    class_of,
    column_of,
    covariate_of,
    is_trait,
    stranger,
    traits_at,
)
from henderson.language.formula_grammar import Node, print_node
from henderson.language.spec import ONE
from henderson.language.syntax import Misfit

INTERCEPT_NAME = "(Intercept)"
KNOWN = ("I", "at", *FACTOR, *FUNCTIONS)
Terms = dict[str, list[ParsedTerm]]


@dataclass(frozen=True)
class _Parts:
    """The factors of a fixed term by what they are."""

    traits: tuple[str, ...] | None  # None: one effect that all traits share
    classes: tuple[str, ...]
    covariate: tuple[str, tuple[int, ...]] | None
    where: tuple[tuple[tuple[str, str], ...], ...]
    name: str


def add_fixed(terms: list[FormulaTerm], context: Context, equations: Terms) -> None:
    """Add the fixed terms to the equations of their traits, the intercept first.

    ``trait`` and the intercept both are one mean for each trait; a term without ``trait`` is one effect that all traits
    share, as in ASReml.
    """
    traits = [t for t in terms if len(t.factors) == 1 and t.factors[0].is_name(TRAIT) and not context.trait_is_column]
    per_trait = bool(traits)
    if INTERCEPT in terms or per_trait:
        _add_intercepts(context, equations)
    for term in terms:
        if term == INTERCEPT or term in traits:
            continue
        parts = _parts(term, context)
        for where in parts.where:
            _add(parts, where, term.factors[0], context, equations)


def _add_intercepts(context: Context, equations: Terms) -> None:
    for trait in context.traits:
        name = INTERCEPT_NAME if len(context.traits) == 1 else f"{INTERCEPT_NAME}_{trait}"
        context.names.add(name)
        at = context.source.at(0)
        equations[trait].append(ParsedTerm(ParsedVariable(ONE, at), ParsedSubFactor(name, at)))


def _parts(term: FormulaTerm, context: Context) -> _Parts:
    traits: tuple[str, ...] | None = None
    classes: list[str] = []
    covariate = None
    conditions: list[list[tuple[str, str]]] = []
    names: list[str] = []
    for factor in term.factors:
        if is_trait(factor, context):
            traits = traits_at(factor, context)
            continue
        names.append(print_node(factor))
        if factor.is_name(UNITS):
            raise Misfit("'units' belongs to the residual formula", factor.index)
        if factor.is_call("at"):
            conditions.append(_condition(factor, context))
        elif (column := class_of(factor)) is not None and (factor.kind == "call" or context.is_class(column)):
            classes.append(column)
        else:
            if covariate is not None:
                text = ":".join(map(print_node, term.factors))
                raise Misfit(f"{text!r} is a product of two covariates: add it as a column to the data", factor.index)
            covariate = (factor.value, ()) if factor.kind == "name" else covariate_of(factor, context)
            if covariate is None:
                raise stranger(factor, KNOWN)
    where: list[tuple[tuple[str, str], ...]] = [()]
    for condition in conditions:
        where = [(*old, pair) for old in where for pair in condition]
    return _Parts(traits, tuple(classes), covariate, tuple(where), ":".join(names))


def _condition(factor: Node, context: Context) -> list[tuple[str, str]]:
    if not factor.arguments:
        raise Misfit("at() needs a column", factor.index)
    column = column_of(factor.arguments[0])
    levels = context.levels_in(column, factor.arguments[1:], factor)
    return [(column, level) for level in levels]


def _add(parts: _Parts, where: tuple[tuple[str, str], ...], first: Node, context: Context, equations: Terms) -> None:
    at = context.at(first)
    joint = ":".join(parts.classes)
    if parts.covariate is None:
        variable = ParsedVariable(joint or ONE, at, where=where)
    else:
        column, polynomials = parts.covariate
        variable = ParsedVariable(
            column, at, "covariate", polynomials=polynomials, nested_in=joint or None, centred=False, where=where
        )
    name = parts.name or INTERCEPT_NAME
    if where and len(parts.where) > 1:
        name = f"{name}_{'_'.join(level for _, level in where)}"
    if parts.traits is None or len(context.traits) == 1:
        shared = ParsedSubFactor(context.unique(name, context.names), at)
        for trait in context.traits if parts.traits is None else parts.traits:
            equations[trait].append(ParsedTerm(variable, shared))
        return
    for trait in parts.traits:
        own = ParsedSubFactor(context.unique(f"{name}_{trait}", context.names), at)
        equations[trait].append(ParsedTerm(variable, own))
