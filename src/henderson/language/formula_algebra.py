"""The algebra of model formulas: from ``a*b - 1`` to its terms (Wilkinson & Rogers 1973, as in R)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from henderson.language.formula_grammar import Node, print_node, unwrap
from henderson.language.syntax import Misfit

MAX_TERMS = 1000


@dataclass(frozen=True)
class FormulaTerm:
    """A product of factors in the order they were written; none at all is the intercept. Equal if the factors are."""

    factors: tuple[Node, ...]

    @property
    def key(self) -> frozenset[str]:
        """Return what makes two terms the same."""
        return frozenset(print_node(f) for f in self.factors)

    def times(self, other: FormulaTerm) -> FormulaTerm:
        """Return the interaction of two terms."""
        mine = self.key
        return FormulaTerm((*self.factors, *(f for f in other.factors if print_node(f) not in mine)))


INTERCEPT = FormulaTerm(())


def expand(node: Node, intercept: bool) -> list[FormulaTerm]:
    """Return the terms of the right side of a formula as they are written.

    Parameters
    ----------
    node
        The right side.
    intercept
        Whether there is an intercept unless the formula takes it away.

    Raises
    ------
    Misfit
        A part is no term, such as a number other than 0 and 1.

    """
    return _sum(node, [INTERCEPT] if intercept else [])


def is_bar(term: FormulaTerm) -> bool:
    """Return whether a term is one of lme4's random terms, ``(x | g)``."""
    return len(term.factors) == 1 and term.factors[0].kind == "operator"


def _union(terms: Iterable[FormulaTerm]) -> list[FormulaTerm]:
    unique = {t.key: t for t in reversed(list(terms))}
    if len(unique) > MAX_TERMS:
        raise Misfit(f"the formula has more than {MAX_TERMS} terms", 0)
    return list(reversed(unique.values()))


def _sum(node: Node, terms: list[FormulaTerm]) -> list[FormulaTerm]:
    """Return `terms` with those of `node` added, or taken away where a sign says so."""
    if node.kind == "operator" and node.value in "+-":
        left, right = node.arguments
        return _add(right, _sum(left, terms), node.value == "+")
    if node.kind == "sign":
        return _add(node.arguments[0], terms, node.value == "+")
    return _add(node, terms, True)


def _add(node: Node, terms: list[FormulaTerm], plus: bool) -> list[FormulaTerm]:
    inner = unwrap(node)
    if inner.is_number(0, 1):
        keep = inner.is_number(1) == plus
        return _union([INTERCEPT, *terms] if keep else [t for t in terms if t != INTERCEPT])
    new = _expand(node)
    if plus:
        return _union([*terms, *new])
    gone = {t.key for t in new}
    return [t for t in terms if t.key not in gone]


def _expand(node: Node) -> list[FormulaTerm]:
    if node.kind == "parentheses":
        inner = unwrap(node)
        if inner.kind == "operator" and inner.value in ("|", "||"):
            return [FormulaTerm((inner,))]
        return _sum(inner, [])
    if node.kind in ("name", "call"):
        return [FormulaTerm((node,))]
    if node.kind == "sign" or (node.kind == "operator" and node.value in "+-"):
        return _sum(node, [])
    if node.kind != "operator":
        raise Misfit(f"{print_node(node)!r} is no term of a model", node.index)
    left, right = node.arguments
    if node.value in ("|", "||"):
        raise Misfit("write a random term in parentheses, (x | g)", node.index)
    if node.value == "^":
        power = unwrap(right)
        if power.kind != "number" or float(power.value) not in range(1, 10):
            raise Misfit("the power of a formula is a number from 1 to 9; write arithmetic as I(x^2)", right.index)
        base = _plain(left)
        result = base
        for _ in range(int(float(power.value)) - 1):
            result = _union([*result, *(a.times(b) for a in result for b in base)])
        return result
    one, two = _plain(left), _plain(right)
    products = [a.times(b) for a in one for b in two]
    if node.value in (":", "%in%"):
        return _union(products)
    if node.value == "*":
        return _union([*one, *two, *products])
    whole = FormulaTerm(())
    for term in one:  # a/b: b within all of a
        whole = whole.times(term)
    return _union([*one, *(whole.times(t) for t in two)])


def _plain(node: Node) -> list[FormulaTerm]:
    if unwrap(node).is_number(1):
        return [INTERCEPT]
    terms = _expand(node)
    for term in terms:
        if is_bar(term):
            raise Misfit("a random term (x | g) can be added only", node.index)
    return terms
