"""Parsing with lark, and its failures said in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError

MAX_TEXT = 20_000
MAX_DEPTH = 100


@dataclass(frozen=True)
class Misfit(Exception):  # noqa: N818 - caught inside the language layer, never shown
    """A text that does not follow its grammar: what is wrong, at which character."""

    message: str
    index: int


def parse(grammar: Lark, text: str, words: Mapping[str, str]) -> Tree[Token]:
    """Return the tree of `text`.

    `words` says what each terminal of the LALR `grammar` is called towards the user; "" leaves one out.

    Raises
    ------
    Misfit
        Naming what was found, what was expected instead, and the character.

    """
    if len(text) > MAX_TEXT:
        raise Misfit(f"the text has {len(text)} characters, more than {MAX_TEXT}", 0)
    depth = deepest = 0
    for index, char in enumerate(text):
        depth += (char in "([") - (char in ")]")
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            raise Misfit(f"parentheses are nested deeper than {MAX_DEPTH}", index)
    try:
        return grammar.parse(text)
    except UnexpectedInput as e:
        raise Misfit(_message(e, text, words), _index(e, text)) from None
    except VisitError as e:
        if isinstance(e.orig_exc, Misfit):
            raise e.orig_exc from None
        raise


def _index(error: UnexpectedInput, text: str) -> int:
    position: Any = error.pos_in_stream
    at_end = isinstance(error, UnexpectedEOF) or (isinstance(error, UnexpectedToken) and error.token.type == "$END")
    return len(text) if at_end or position is None or position < 0 else int(position)


def _message(error: UnexpectedInput, text: str, words: Mapping[str, str]) -> str:
    if isinstance(error, UnexpectedToken):
        found = "the end" if error.token.type == "$END" else repr(str(error.token))
        terminals = error.accepts or error.expected
    elif isinstance(error, UnexpectedCharacters):
        found, terminals = repr(text[error.pos_in_stream]), error.allowed
    else:
        found, terminals = "the end", set(getattr(error, "expected", ()))
    names = sorted({words.get(str(t), str(t).lower()) for t in terminals or ()} - {""})
    expected = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"found {found}" + (f" where {expected} was expected" if expected else "")
