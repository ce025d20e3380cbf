"""What formulas are compiled against, and their smallest parts: classes, covariates, traits, levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from henderson.errors import unknown
from henderson.language import polynomials as poly
from henderson.language.draft import Draft, Schema
from henderson.language.expressions import FUNCTIONS
from henderson.language.formula_algebra import MAX_TERMS
from henderson.language.formula_grammar import Node, print_node, unwrap, walk
from henderson.language.source import Place, Source
from henderson.language.syntax import Misfit

FACTOR = ("factor", "as.factor")
TRAIT = "trait"
UNITS = "units"
# ASReml's and our names of a covariance structure, and ours; corh and corgv are corgh with equal elements.
STRUCTURES = {
    "us": "us", "diag": "diag", "idh": "diag", "corgh": "corgh", "cs": "cs", "corv": "cs", "coruv": "cs", "id": "id",
    "idv": "id", "corh": "corh", "coruh": "corh", "corgv": "corgv",
}  # fmt: skip
# Words of ASReml and lme4 that are no structure here, and what to write instead.
FOREIGN = {
    "fa": "us(x)", "rr": "us(x)", "sfa": "us(x)", "facv": "us(x)", "chol": "us(x)", "cholc": "us(x)", "ante": "us(x)",
    "cor": "corgh(x)", "corg": "corgh(x)", "corb": "corgh(x)",
    "str": "one variance with equations such as id*u(v(g(1))) + dam*m(v(g(2)))",
    "and": "equations with one sub-factor twice, mate1*s(v(g(1))) + mate2*s(v(g(1)))",
    "grp": "columns of their own", "mbf": "columns of their own", "lin": "the column itself", "C": "the column itself",
    "scale": "a column that is scaled", "poly": "I(x^2)", "pol": "I(x^2)", "leg": "polynomials and equations",
    "offset": "a response less the offset", "dev": "factor(x)", "fac": "factor(x)", "as.integer": "the column itself",
    "interaction": "a:b", "dummy": "at(x, 'level')", "mv": "nothing: missing responses are left out by themselves",
    "con": "factor(x)",
}  # fmt: skip
_SPATIAL = ("ar1", "ar1v", "ar1h", "ar2", "ar3", "sar", "ma1", "arma", "exp", "gau", "iexp", "aexp", "spl", "tps")


@dataclass
class Context:
    """The data that formulas speak of, and what has been made of them so far."""

    draft: Draft
    schema: Schema
    levels: Callable[[str], list[str]] | None
    traits: tuple[str, ...] = ()
    source: Source = field(default_factory=lambda: Source.plain(""))
    polynomials: list[Source] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # of sub-factors

    def at(self, node: Node) -> Place:
        """Return the place of a node of the formula at work."""
        return self.source.at(node.index)

    def is_class(self, column: str) -> bool:
        """Return whether a bare column is a class in a fixed part; an unknown one is reported later."""
        classes = self.draft.data.classes if self.draft.data else ()
        return column in classes or self.schema.get(column, "text") == "text"

    def polynomial(self, text: str, node: Node) -> int:
        """Return the number of a polynomial, added if it is new."""
        canonical = poly.canonical(text)
        for number, source in enumerate(self.polynomials, start=1):
            if source.text == canonical:
                return number
        self.polynomials.append(Source.plain(canonical, self.at(node)))
        return len(self.polynomials)

    @property
    def trait_is_column(self) -> bool:
        """Return whether ``trait`` is a column: there is one response, and the records have that column."""
        return len(self.traits) == 1 and TRAIT in self.schema

    def levels_of(self, column: str, node: Node) -> list[str]:
        """Return the sorted levels of a class column."""
        if column not in self.schema:
            raise Misfit(f"{print_node(node)}: {unknown('column', column, list(self.schema))}", node.index)
        if self.levels is None:
            raise Misfit(f"{print_node(node)}: a term for each level of {column!r} is not supported yet", node.index)
        return list(self.levels(column))

    def levels_in(self, column: str, nodes: Sequence[Node], node: Node) -> list[str]:
        """Return the levels of a class column that an ``at(column, ...)`` names, all of them if it names none.

        A number that is no level counts the levels from 1.
        """
        if not nodes:
            return self.levels_of(column, node)
        chosen = values_of(nodes)
        if self.levels is None:
            return chosen
        levels = self.levels_of(column, node)
        found = []
        for value in chosen:
            if value not in levels and value.isdecimal() and 1 <= int(value) <= len(levels):
                value = levels[int(value) - 1]
            if value not in levels:
                raise Misfit(f"column {column!r}: {unknown('level', value, levels)}", node.index)
            found.append(value)
        return list(dict.fromkeys(found))

    def unique(self, name: str, taken: set[str]) -> str:
        """Return `name`, or `name_2`, `name_3`, ... if it is taken; it is taken from now on."""
        result, n = name, 1
        while result in taken:
            n += 1
            result = f"{name}_{n}"
        taken.add(result)
        return result


def column_of(node: Node) -> str:
    """Return the column that a name stands for."""
    inner = unwrap(node)
    if inner.kind != "name":
        raise Misfit(f"found {print_node(node)!r} where the name of a column was expected", node.index)
    return inner.value


def class_of(node: Node) -> str | None:
    """Return the column of a class: a name or ``factor(x)``; None if the node is something else."""
    if node.kind == "name":
        return node.value
    if node.is_call(*FACTOR):
        return column_of(only(node))
    return None


def only(node: Node) -> Node:
    """Return the only argument of a call."""
    if len(node.arguments) != 1 or node.named:
        raise Misfit(f"{node.value}() takes one argument", node.index)
    return node.arguments[0]


def covariate_of(node: Node, context: Context) -> tuple[str, tuple[int, ...]] | None:
    """Return column and polynomials of ``I(...)`` or of a function of a column; None if the node is something else."""
    if node.is_call("I"):
        inner = only(node)
    elif node.is_call(*FUNCTIONS):
        inner = node
    else:
        return None
    names = (n.value for n in walk(inner) if n.kind == "name")
    columns = list(dict.fromkeys(n for n in names if n in context.schema or n not in poly.CONSTANTS))
    if len(columns) != 1:
        what = "no column" if not columns else f"several columns, {', '.join(columns)}"
        raise Misfit(f"{print_node(node)!r} names {what}: that is not supported, add a column to the data", node.index)
    text = _arithmetic(inner, columns[0])
    try:
        canonical = poly.canonical(text)
    except Misfit as e:
        raise Misfit(f"{print_node(node)!r}: {e.message}", node.index) from None
    return columns[0], () if canonical == poly.X else (context.polynomial(canonical, node),)


def _arithmetic(node: Node, column: str) -> str:
    """Return a node as an expression in x, which stands for the column."""
    match node.kind:
        case "name":
            return poly.X if node.value == column else node.value
        case "number":
            return node.value
        case "parentheses":
            return f"({_arithmetic(node.arguments[0], column)})"
        case "sign":
            return f"{node.value}{_arithmetic(node.arguments[0], column)}"
        case "operator" if node.value in "+-*/^":
            return node.value.join(_arithmetic(n, column) for n in node.arguments)
        case "call" if node.value in FUNCTIONS:
            return f"{node.value}({_arithmetic(only(node), column)})"
        case "call":
            raise Misfit(unknown("function", node.value, list(FUNCTIONS)), node.index)
        case _:
            raise Misfit(f"{print_node(node)!r} is no arithmetic", node.index)


def values_of(nodes: Any) -> list[str]:
    """Return the levels in the arguments of a call: texts, numbers, names, ``1:3``, also within ``c(...)``."""
    values: list[str] = []
    for node in nodes:
        inner = unwrap(node)
        if inner.is_call("c"):
            values += values_of(inner.arguments)
        elif inner.kind == "operator" and inner.value == ":" and all(n.value.isdecimal() for n in inner.arguments):
            first, last = (int(n.value) for n in inner.arguments)
            values += map(str, range(first, min(last, first + MAX_TERMS) + 1))
        elif inner.kind in ("string", "number", "name"):
            values.append(inner.value)
        else:
            raise Misfit(f"found {print_node(node)!r} where a level was expected", node.index)
    return values


def traits_at(node: Node, context: Context) -> tuple[str, ...]:
    """Return the traits of ``trait`` or ``at(trait, ...)``, named or numbered, in the order of the responses."""
    if node.kind == "name":
        return context.traits
    chosen = values_of(node.arguments[1:])
    if not chosen:
        return context.traits
    names = []
    for value in chosen:
        if value in context.traits:
            names.append(value)
        elif value.isdigit() and 1 <= int(value) <= len(context.traits):
            names.append(context.traits[int(value) - 1])
        else:
            raise Misfit(unknown("trait", value, context.traits), node.index)
    return tuple(t for t in context.traits if t in names)


def is_trait(node: Node, context: Context) -> bool:
    """Return whether a factor is ``trait`` or ``at(trait, ...)``, and that means the responses."""
    at_trait = node.is_call("at") and bool(node.arguments) and unwrap(node.arguments[0]).is_name(TRAIT)
    return (node.is_name(TRAIT) or at_trait) and not context.trait_is_column


def stranger(node: Node, known: Sequence[str]) -> Misfit:
    """Return the mistake of a call that means nothing here: what to write instead, or which word is nearest."""
    name = node.value
    if name in FOREIGN:
        return Misfit(f"{print_node(node)!r}: {name}() is not supported; write {FOREIGN[name]}", node.index)
    if name in _SPATIAL:
        return Misfit(f"{print_node(node)!r}: autoregressive, spatial and spline terms are not supported", node.index)
    return Misfit(unknown("function", name, known), node.index)


def only_argument(node: Node) -> Node:
    """Return the first argument of a structure, the column or trait it is over."""
    if len(node.arguments) != 1:
        raise Misfit(f"{node.value}() takes the trait or one column, and init=", node.index)
    return unwrap(node.arguments[0])
