"""Polynomials of a covariate, evaluated on arrays: any expression in ``x``, and Legendre's ``l0``..``l7``."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from henderson.errors import ModelError
from henderson.language.expressions import (
    Element,
    Expression,
    Name,
    evaluate_expression,
    leaves,
    parse_expression,
    print_expression,
)
from henderson.language.syntax import Misfit

X = "x"
LEGENDRE = tuple(f"l{n}" for n in range(8))
CONSTANTS = {"pi": math.pi}
# Points of every size and sign, none of them special to a usual function, to tell a constant from a function of x.
PROBES = np.array([-1873.7, -97.3, -3.71, -0.913, -0.377, -0.0213, 0.0371, 0.319, 0.871, 1.37, 4.19, 31.7, 911.3, 2e4])


def evaluate(text: str, x: ArrayLike) -> NDArray[np.float64]:
    """Return the polynomial at every x, in the shape of x; not finite where it is not defined.

    ``l0``..``l7`` are Legendre's P_n without normalisation, as in lmt: l3 = (5x^3 - 3x)/2. `log` is natural.

    Raises
    ------
    ModelError
        The text is not an expression in x.

    """
    points = np.asarray(x, dtype=np.float64)
    try:
        tree = _tree(text)
    except Misfit as e:
        raise ModelError(f"polynomial {text!r}, column {e.index + 1}: {e.message}") from None
    with np.errstate(all="ignore"):
        value = evaluate_expression(tree, lambda name: _value(name, points))
        return np.array(np.broadcast_to(value, points.shape), dtype=np.float64)


def canonical(text: str) -> str:
    """Return the one text of all polynomials that differ in blanks and needless parentheses only.

    Raises
    ------
    Misfit
        The text is not an expression in x alone, with the character at fault.

    """
    return print_expression(_tree(text))


def is_constant(text: str) -> bool:
    """Return whether the polynomial has one and the same value wherever it is defined, such as ``x^0`` and ``l0``."""
    values = evaluate(text, PROBES)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return not any(isinstance(leaf, Name) and leaf.name not in CONSTANTS for leaf in leaves(_tree(text)))
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def is_defined(text: str) -> bool:
    """Return whether the polynomial has a finite value anywhere."""
    return bool(np.isfinite(evaluate(text, PROBES)).any())


@lru_cache(maxsize=256)
def _tree(text: str) -> Expression:
    tree = parse_expression(text)
    for leaf in leaves(tree):
        if isinstance(leaf, Element) or leaf.name not in (X, *LEGENDRE, *CONSTANTS):
            raise Misfit(f"a polynomial is an expression in x (or l0 to l7); {leaf.name!r} is not x", leaf.index)
    return tree


def _value(leaf: Name | Element, x: NDArray[np.float64]) -> NDArray[np.float64] | float:
    if leaf.name == X:
        return x
    if leaf.name in CONSTANTS:
        return CONSTANTS[leaf.name]
    order = int(leaf.name[1:])
    return np.asarray(np.polynomial.legendre.legval(x, [0.0] * order + [1.0]), dtype=np.float64)
