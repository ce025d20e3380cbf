"""Arithmetic expressions as trees: parsed by a grammar, printed canonically, evaluated without `eval`.

Two dialects share them: polynomials (names ``x``, ``pi``, ``l0``..``l7``) and functions of variances (``g[1,2]``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
from lark import Lark, Token, Transformer
from numpy.typing import NDArray

from henderson.errors import unknown
from henderson.language.syntax import MAX_DEPTH, Misfit, parse

Array = NDArray[np.float64]

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
OPERATORS: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
}

# A power binds tighter than a sign (-x^2 is -(x^2)) and to the right (2^3^2 is 2^9), as in R and in mathematics.
GRAMMAR = r"""
?start: sum
?sum: product | sum SIGN product -> binary
?product: signed | product (STAR | SLASH) signed -> binary
?signed: power | SIGN signed -> sign
?power: atom | atom (CARET | STARS) signed -> binary
?atom: NUMBER -> number
     | NAME -> name
     | NAME "(" sum ")" -> call
     | NAME "[" INDEX "," INDEX "]" -> element
     | BACKTICKED "[" INDEX "," INDEX "]" -> element
     | "(" sum ")"
SIGN: "+" | "-"
STAR: "*"
STARS.2: "**"
SLASH: "/"
CARET: "^"
NUMBER: /(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
INDEX.2: /[1-9]\d*(?![\w.])/
NAME: /[^\W\d][\w.:]*/
BACKTICKED: /`[^`\n]+`/
WS: /[ \t\r\n\f]+/
%ignore WS
"""
WORDS = {
    "SIGN": "+ or -", "STAR": "*", "STARS": "", "SLASH": "/", "CARET": "^", "NUMBER": "a number", "INDEX": "a position",
    "NAME": "a name", "BACKTICKED": "", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "COMMA": "a comma",
    "$END": "the end",
}  # fmt: skip
SUM, PRODUCT, SIGNED, POWER, ATOM = 1, 2, 3, 4, 5
PRECEDENCE = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "^": POWER}


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float
    depth: int = 1


@dataclass(frozen=True)
class Name:
    """A variable or named constant; `index` is its character in the text."""

    name: str
    index: int
    depth: int = 1


@dataclass(frozen=True)
class Element:
    """Element (row, column) of the matrix `name`, counted from 1."""

    name: str
    row: int
    column: int
    index: int
    depth: int = 1


@dataclass(frozen=True)
class Apply:
    """An operator (`+ - * / ^`, or `neg`) or a function on its arguments."""

    function: str
    arguments: tuple[Expression, ...]
    depth: int


Expression = Number | Name | Element | Apply


def _apply(function: str, index: int, *arguments: Expression) -> Apply:
    depth = 1 + max(a.depth for a in arguments)
    if depth > MAX_DEPTH:
        raise Misfit(f"the expression is nested deeper than {MAX_DEPTH}", index)
    return Apply(function, arguments, depth)


class _Build(Transformer):  # type: ignore[misc]
    def number(self, children: list[Token]) -> Number:
        token = children[0]
        if not np.isfinite(float(token)):
            raise Misfit(f"the number {str(token)!r} is too large", token.start_pos or 0)
        return Number(float(token))

    def name(self, children: list[Token]) -> Name:
        token = children[0]
        return Name(str(token), token.start_pos or 0)

    def element(self, children: list[Token]) -> Element:
        name, row, column = children
        return Element(str(name).strip("`"), int(row), int(column), name.start_pos or 0)

    def call(self, children: list[Any]) -> Apply:
        name, argument = children
        if str(name) not in FUNCTIONS:
            raise Misfit(unknown("function", str(name), list(FUNCTIONS)), name.start_pos or 0)
        return _apply(str(name), name.start_pos or 0, argument)

    def sign(self, children: list[Any]) -> Expression:
        sign, argument = children
        return cast(Expression, argument) if sign == "+" else _apply("neg", sign.start_pos or 0, argument)

    def binary(self, children: list[Any]) -> Apply:
        left, operator, right = children
        return _apply("^" if operator == "**" else str(operator), operator.start_pos or 0, left, right)


@cache
def _grammar() -> Lark:
    return Lark(GRAMMAR, parser="lalr", transformer=_Build())


def parse_expression(text: str) -> Expression:
    """Return the tree of an expression.

    Raises
    ------
    Misfit
        The text is not an expression; carries the character at fault.

    """
    return cast(Expression, parse(_grammar(), text, WORDS))


def print_expression(expression: Expression, precedence: int = SUM) -> str:
    """Return the canonical text: no blanks, no parentheses that are not needed, ``^`` for powers."""
    match expression:
        case Number(value):
            return repr(int(value)) if value == int(min(value, 1e15)) else repr(value)
        case Name(name):
            return name
        case Element(name, row, column):
            plain = name.replace(".", "").replace(":", "").replace("_", "").isalnum() and not name[0].isdigit()
            return f"{name if plain else f'`{name}`'}[{row},{column}]"
        case Apply("neg", (argument,)):
            text, own = f"-{print_expression(argument, SIGNED)}", SIGNED
        case Apply(function, (left, right)):
            own = PRECEDENCE[function]
            sides = (ATOM, SIGNED) if function == "^" else (own, own + 1)
            text = f"{print_expression(left, sides[0])}{function}{print_expression(right, sides[1])}"
        case Apply(function, (argument,)):
            return f"{function}({print_expression(argument)})"
        case _:
            raise TypeError(expression)
    return text if own >= precedence else f"({text})"


def evaluate_expression(expression: Expression, value: Callable[[Name | Element], Any]) -> Any:
    """Return the value of an expression of arrays or scalars, `value` giving that of each name and element."""
    match expression:
        case Number(number):
            return number
        case Apply("neg", (argument,)):
            return np.negative(evaluate_expression(argument, value))
        case Apply(function, arguments):
            values = [evaluate_expression(a, value) for a in arguments]
            operation = OPERATORS.get(function) or FUNCTIONS[function]
            return operation(*(np.asarray(v, dtype=np.float64) for v in values))
        case Name() | Element():
            return value(expression)


def leaves(expression: Expression) -> Iterator[Name | Element]:
    """Yield the names and elements of an expression from left to right."""
    match expression:
        case Apply(_, arguments):
            for argument in arguments:
                yield from leaves(argument)
        case Name() | Element():
            yield expression
