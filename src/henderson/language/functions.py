"""Functions of (co)variances that users want reported, such as heritabilities: ``g[1,1] / (g[1,1] + res[1,1])``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from henderson.errors import unknown
from henderson.language.expressions import (
    Element,
    Expression,
    Name,
    evaluate_expression,
    leaves,
    parse_expression,
    print_expression,
)
from henderson.language.polynomials import CONSTANTS
from henderson.language.source import Problems, Source
from henderson.language.syntax import Misfit


def parse_function(name: str, source: Source, sizes: Mapping[str, int | None], problems: Problems) -> str | None:
    """Return the canonical text of a function, None if it is wrong (noted in `problems`).

    `sizes` has the number of positions of each variance, None where unknown; the key ``res.*`` stands for residual
    variances of any class.
    """
    try:
        tree = parse_expression(source.text)
        for leaf in leaves(tree):
            _check(leaf, sizes)
    except Misfit as e:
        problems.add(f"function {name!r}, {source.text!r}: {e.message}", source.at(e.index))
        return None
    return print_expression(tree)


def evaluate_function(text: str, sigma: Mapping[str, np.ndarray]) -> float:
    """Return the value of a function at the given covariance matrices."""
    tree: Expression = parse_expression(text)

    def value(leaf: Name | Element) -> float:
        if isinstance(leaf, Name):
            return CONSTANTS[leaf.name]
        return float(sigma[leaf.name][leaf.row - 1, leaf.column - 1])

    with np.errstate(all="ignore"):
        return float(evaluate_expression(tree, value))


def _check(leaf: Name | Element, sizes: Mapping[str, int | None]) -> None:
    if isinstance(leaf, Name):
        if leaf.name in CONSTANTS:
            return
        if leaf.name in sizes:
            raise Misfit(f"{leaf.name!r} is a variance; write an element of it, such as {leaf.name}[1,1]", leaf.index)
        raise Misfit(unknown("name", leaf.name, list(sizes)), leaf.index)
    name = leaf.name if leaf.name in sizes else f"{leaf.name.partition('.')[0]}.*" if "." in leaf.name else leaf.name
    if name not in sizes:
        raise Misfit(unknown("variance", leaf.name, list(sizes)), leaf.index)
    size = sizes[name]
    if size is not None and max(leaf.row, leaf.column) > size:
        element = f"{leaf.name}[{leaf.row},{leaf.column}]"
        raise Misfit(f"{element} lies outside of {leaf.name!r}, {size} by {size}", leaf.index)
