"""The grammar of R's formulas, and the tree of a parsed one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

from lark import Lark, Token, Transformer

from henderson.language.syntax import MAX_DEPTH, Misfit, parse

# R's precedence, from loose to tight: ~  |  + -  * /  %in%  :  sign  ^
GRAMMAR = r"""
start: [expression] TILDE expression -> formula
?expression: bar
?bar: sum | bar (BARS | BAR) sum -> operation
?sum: product | sum (PLUS | MINUS) product -> operation
?product: in | product (STAR | SLASH) in -> operation
?in: interaction | in IN interaction -> operation
?interaction: signed | interaction COLON signed -> operation
?signed: power | (PLUS | MINUS) signed -> sign
?power: primary | primary (CARET | STARS) signed -> operation
?primary: NAME -> name
        | BACKTICKED -> name
        | NUMBER -> number
        | STRING -> string
        | NAME OPEN [arguments] CLOSE -> call
        | OPEN expression CLOSE -> parentheses
arguments: argument (COMMA argument)*
?argument: expression
         | TILDE expression -> onesided
         | NAME EQUALS expression -> named

TILDE: "~"
BARS.2: "||"
BAR: "|"
PLUS: "+"
MINUS: "-"
STAR: "*"
STARS.2: "**"
SLASH: "/"
IN: "%in%"
COLON: ":"
CARET: "^"
EQUALS: "="
OPEN: "("
CLOSE: ")"
COMMA: ","
NUMBER: /(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
STRING: /"[^"\n]*"|'[^'\n]*'/
BACKTICKED: /`[^`\n]+`/
NAME: /([^\W\d]|\.(?!\d))[\w.]*/
WS: /[ \t\r\n\f\v]+/
%ignore WS
"""
WORDS = {
    "TILDE": "~", "BARS": "", "BAR": "|", "PLUS": "+", "MINUS": "-", "STAR": "*", "STARS": "", "SLASH": "/",
    "IN": "", "COLON": ":", "CARET": "^", "EQUALS": "", "OPEN": "(", "CLOSE": ")", "COMMA": "a comma",
    "NUMBER": "a number", "STRING": "", "BACKTICKED": "", "NAME": "a name", "$END": "the end",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A part of a formula; `index` is the character where it begins.

    value
        The name, number, string, operator or name of the function.
    arguments, named
        Operands of an operator; arguments of a call.
    quoted
        A name in backticks, which is always a column.
    """

    kind: Literal["name", "number", "string", "call", "operator", "sign", "parentheses", "formula"]
    value: str
    index: int
    arguments: tuple[Node, ...] = ()
    named: tuple[tuple[str, Node], ...] = ()
    quoted: bool = False
    depth: int = 1

    def is_name(self, *names: str) -> bool:
        """Return whether the node is one of these names, not in backticks."""
        return self.kind == "name" and not self.quoted and self.value in names

    def is_call(self, *names: str) -> bool:
        """Return whether the node is a call of one of these functions."""
        return self.kind == "call" and self.value in names

    def is_number(self, *values: float) -> bool:
        """Return whether the node is one of these numbers."""
        return self.kind == "number" and float(self.value) in values


def _node(kind: Any, value: str, index: int, arguments: Any = (), named: Any = ()) -> Node:
    depth = 1 + max((n.depth for n in (*arguments, *(n for _, n in named))), default=0)
    if depth > MAX_DEPTH:
        raise Misfit(f"the formula is nested deeper than {MAX_DEPTH}", index)
    return Node(kind, value, index, tuple(arguments), tuple(named), depth=depth)


class _Build(Transformer):  # type: ignore[misc]
    def formula(self, children: list[Any]) -> Node:
        left, _, right = children
        index = left.index if left is not None else 0
        return _node("formula", "~", index, (right,) if left is None else (left, right))

    def onesided(self, children: list[Any]) -> Node:
        return _node("formula", "~", children[0].start_pos, (children[1],))

    def operation(self, children: list[Any]) -> Node:
        left, operator, right = children
        return _node("operator", "^" if operator == "**" else str(operator), left.index, (left, right))

    def sign(self, children: list[Any]) -> Node:
        return _node("sign", str(children[0]), children[0].start_pos, (children[1],))

    def name(self, children: list[Token]) -> Node:
        token = children[0]
        return Node("name", str(token).strip("`"), token.start_pos or 0, quoted=token.type == "BACKTICKED")

    def number(self, children: list[Token]) -> Node:
        return Node("number", str(children[0]), children[0].start_pos or 0)

    def string(self, children: list[Token]) -> Node:
        return Node("string", str(children[0])[1:-1], children[0].start_pos or 0)

    def named(self, children: list[Any]) -> tuple[str, Node]:
        return str(children[0]), children[2]

    def arguments(self, children: list[Any]) -> list[Any]:
        return [c for c in children if not isinstance(c, Token)]

    def call(self, children: list[Any]) -> Node:
        given = children[2] or []
        named = [c for c in given if isinstance(c, tuple)]
        return _node("call", str(children[0]), children[0].start_pos, [c for c in given if isinstance(c, Node)], named)

    def parentheses(self, children: list[Any]) -> Node:
        return _node("parentheses", "(", children[0].start_pos, (children[1],))


@cache
def _grammar() -> Lark:
    return Lark(GRAMMAR, parser="lalr", transformer=_Build(), maybe_placeholders=True)


def parse_formula(text: str) -> Node:
    """Return the tree of a formula; its arguments are the right side, or the left and the right side.

    Raises
    ------
    Misfit
        The text is not a formula; carries the character at fault.

    """
    return cast(Node, parse(_grammar(), text, WORDS))


def print_node(node: Node) -> str:
    """Return a part of a formula as text, without blanks."""
    match node.kind:
        case "name" | "number":
            return node.value
        case "string":
            return f"'{node.value}'"
        case "call":
            named = [f"{name}={print_node(n)}" for name, n in node.named]
            return f"{node.value}({','.join([print_node(n) for n in node.arguments] + named)})"
        case "sign":
            return node.value + print_node(node.arguments[0])
        case "parentheses":
            return f"({print_node(node.arguments[0])})"
        case _:
            return node.value.join(print_node(n) for n in node.arguments)


def unwrap(node: Node) -> Node:
    """Return a node without the parentheses around it."""
    while node.kind == "parentheses":
        node = node.arguments[0]
    return node


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and everything in it."""
    yield node
    for child in (*node.arguments, *(n for _, n in node.named)):
        yield from walk(child)
