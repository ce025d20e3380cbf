"""The grammar of lmt's equations: from text to parsed terms that still know where they stood.

One equation stands on a line, ``response = variable*subfactor + ...``; a variable may carry a specifier ``t(cl)``,
``t(co(t(r);p(1,2);n(herd);c(n)))`` or ``t(gg(pedigree))``, a sub-factor ``v(variance(1,2))``. ``c(n)`` switches off the
centring of a fixed covariate (lmt says that there is such a switch, but nowhere how it is written). Beyond lmt, a name
in backticks may hold any characters, as formulas give them, ``1*`(Intercept)```; a class variable with ``:`` in it is
an interaction, ``` `rep:block`*b ```; and ``id(w(sex=F))*u`` or ``age(t(co);w(sex=F,year=3))*c`` is a term for the
records with these levels only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

from lark import Lark, Token, Transformer

from henderson.language.source import Place, Problems, Source
from henderson.language.spec import ONE
from henderson.language.syntax import Misfit, parse

# No word is reserved: the contextual lexer looks for a keyword only where the grammar allows one, so a column may be
# called t or co. The look-ahead keeps a keyword from being the beginning of a longer word.
GRAMMAR = r"""
start: NAME EQUALS term (PLUS term)*
term: variable STAR subfactor

variable: (NAME | ONE) [variable_specifier]
variable_specifier: OPEN (_kind | where) (SEMICOLON where)* CLOSE
_kind: TYPE OPEN _type CLOSE
where: WHERE OPEN condition (COMMA condition)* CLOSE
condition: NAME EQUALS (NAME | INTEGER | ONE)
_type: class_type | covariate_type | group_type
class_type: CLASS
covariate_type: COVARIATE [OPEN _item (SEMICOLON _item)* CLOSE]
group_type: GROUP OPEN NAME CLOSE
_item: number_kind | polynomials | nesting | centring
number_kind: TYPE OPEN KIND CLOSE
polynomials: POLYNOMIALS OPEN integers CLOSE
nesting: NESTED OPEN NAME CLOSE
centring: CENTRED OPEN SWITCH CLOSE

subfactor: NAME [subfactor_specifier]
subfactor_specifier: OPEN VARIANCE OPEN NAME OPEN integers CLOSE CLOSE CLOSE

integers: (INTEGER | ONE) (COMMA (INTEGER | ONE))*

TYPE.2: /t(?=\s*\()/
CLASS.2: /cl(?=\s*\))/
COVARIATE.2: /co(?=\s*[()])/
GROUP.2: /gg(?=\s*\()/
POLYNOMIALS.2: /p(?=\s*\()/
NESTED.2: /n(?=\s*\()/
CENTRED.2: /c(?=\s*\()/
WHERE.2: /w(?=\s*\()/
VARIANCE.2: /v(?=\s*\()/
KIND.2: /[ri](?=\s*\))/
SWITCH.2: /[yn](?=\s*\))/
NAME: /[^\W\d][\w.]*|`[^`\n]+`/
ONE.2: /1(?![\w.])/
INTEGER: /\d+(?![\w.])/
EQUALS: "="
PLUS: "+"
STAR: "*"
OPEN: "("
CLOSE: ")"
SEMICOLON: ";"
COMMA: ","
WS: /[ \t\r\f\v]+/
%ignore WS
"""
WORDS = {
    "NAME": "a name", "ONE": "1", "INTEGER": "an integer", "EQUALS": "=", "PLUS": "+", "STAR": "*", "OPEN": "(",
    "CLOSE": ")", "SEMICOLON": ";", "COMMA": "a comma", "TYPE": "t(...)", "CLASS": "cl", "COVARIATE": "co",
    "GROUP": "gg(pedigree)", "POLYNOMIALS": "p(polynomial ids)", "NESTED": "n(column)", "CENTRED": "c(y) or c(n)",
    "VARIANCE": "v(variance(positions))", "KIND": "r or i", "SWITCH": "y or n",
    "WHERE": "w(column=level)", "$END": "the end of the line",
}  # fmt: skip


@dataclass(frozen=True)
class ParsedVariable:
    """A variable with its specifier; `centred` is None where nothing was said."""

    name: str
    at: Place
    kind: Literal["class", "covariate", "group"] = "class"
    integer: bool = False
    polynomials: tuple[int, ...] = ()
    nested_in: str | None = None
    centred: bool | None = None
    pedigree: str | None = None
    where: tuple[tuple[str, str], ...] = ()  # pairs (class column, level)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the variable reads."""
        names = [*self.name.split(":"), *(self.nested_in or "").split(":"), *(column for column, _ in self.where)]
        return tuple(dict.fromkeys(n for n in names if n not in ("", ONE)))


@dataclass(frozen=True)
class ParsedSubFactor:
    """A sub-factor with its specifier; fixed if `variance` is None."""

    name: str
    at: Place
    variance: str | None = None
    positions: tuple[int, ...] = ()


@dataclass(frozen=True)
class ParsedTerm:
    """One product of a variable and a sub-factor."""

    variable: ParsedVariable
    subfactor: ParsedSubFactor


@dataclass(frozen=True)
class ParsedEquation:
    """The model of one response."""

    response: str
    at: Place
    terms: tuple[ParsedTerm, ...]


@dataclass(frozen=True)
class _Items:
    """Parts of a specifier, by the name of the field they fill."""

    fields: tuple[tuple[str, Any], ...]


class _Build(Transformer):  # type: ignore[misc]
    def __init__(self, line: Source) -> None:
        super().__init__()
        self.line = line

    def _at(self, token: Token) -> Place:
        return self.line.at(token.start_pos or 0)

    def start(self, children: list[Any]) -> ParsedEquation:
        terms = tuple(c for c in children if isinstance(c, ParsedTerm))
        return ParsedEquation(_plain(children[0]), self._at(children[0]), terms)

    def term(self, children: list[Any]) -> ParsedTerm:
        return ParsedTerm(children[0], children[2])

    def variable(self, children: list[Any]) -> ParsedVariable:
        name, specifier = children
        fields = dict(specifier.fields) if specifier else {}
        return ParsedVariable(_plain(name), self._at(name), **fields)

    def variable_specifier(self, children: list[Any]) -> _Items:
        kinds = [c for c in children if isinstance(c, _Items)]
        where = tuple(pair for c in children if isinstance(c, list) for pair in c)
        return _Items((*(kinds[0].fields if kinds else ()), ("where", where)))

    def where(self, children: list[Any]) -> list[tuple[str, str]]:
        return [c for c in children if isinstance(c, tuple)]

    def condition(self, children: list[Any]) -> tuple[str, str]:
        return _plain(children[0]), _plain(children[2])

    def class_type(self, _: list[Any]) -> _Items:
        return _Items((("kind", "class"),))

    def covariate_type(self, children: list[Any]) -> _Items:
        fields: dict[str, Any] = {"kind": "covariate"}
        for item in (c for c in children if isinstance(c, tuple)):
            token, key, value = item
            if key in fields:
                raise Misfit(f"{token!s}(...) is given twice for one variable", token.start_pos)
            fields[key] = value
        return _Items(tuple(fields.items()))

    def group_type(self, children: list[Any]) -> _Items:
        return _Items((("kind", "group"), ("pedigree", _plain(children[2]))))

    def number_kind(self, children: list[Any]) -> tuple[Token, str, bool]:
        return children[0], "integer", str(children[2]) == "i"

    def polynomials(self, children: list[Any]) -> tuple[Token, str, tuple[int, ...]]:
        return children[0], "polynomials", children[2]

    def nesting(self, children: list[Any]) -> tuple[Token, str, str]:
        return children[0], "nested_in", _plain(children[2])

    def centring(self, children: list[Any]) -> tuple[Token, str, bool]:
        return children[0], "centred", str(children[2]) == "y"

    def subfactor(self, children: list[Any]) -> ParsedSubFactor:
        name, specifier = children
        return ParsedSubFactor(_plain(name), self._at(name), *(specifier or (None, ())))

    def subfactor_specifier(self, children: list[Any]) -> tuple[str, tuple[int, ...]]:
        return _plain(children[3]), children[5]

    def integers(self, children: list[Token]) -> tuple[int, ...]:
        numbers = [c for c in children if c.type != "COMMA"]
        for number in numbers:
            if int(number) < 1 or len(number) > 9:
                raise Misfit(f"{str(number)!r} is not a number from 1 on", number.start_pos or 0)
        return tuple(int(n) for n in numbers)


def _plain(token: Token) -> str:
    """Return a name without the backticks around it."""
    return str(token).strip("`")


@cache
def _grammar() -> Lark:
    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=True)


def parse_equation(line: Source) -> ParsedEquation:
    """Return the parsed equation of one line.

    Raises
    ------
    Misfit
        The line is not an equation; carries the character at fault.

    """
    tree = parse(_grammar(), line.text, WORDS)
    try:
        return cast(ParsedEquation, _Build(line).transform(tree))
    except Exception as e:
        if isinstance(original := getattr(e, "orig_exc", None), Misfit):
            raise original from None
        raise


def parse_equations(lines: Iterable[Source], problems: Problems) -> list[ParsedEquation]:
    """Return the equations of those lines that are one; every other line is noted in `problems`."""
    equations = []
    for line in lines:
        try:
            equations.append(parse_equation(line))
        except Misfit as e:
            problems.add(f"equation {_shorten(line.text)!r}: {e.message}", line.at(e.index))
    return equations


def _shorten(text: str, width: int = 100) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
