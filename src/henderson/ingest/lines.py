"""Delimited lines read exactly, one by one: headers, samples, and the blocks in which the fast reader met a mistake."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MISSING = frozenset({"", "NA", "NaN", "nan"})
MAX_LABEL_BYTES = 255

_INTEGER = re.compile(r"-?[0-9]+\Z")
_BLANKS = " \t\r"


class LineError(ValueError):
    """A line that cannot be cut into fields; the text says why."""


@dataclass(frozen=True)
class Line:
    """A line that holds data: its number in the block, from 0, and its fields."""

    number: int
    fields: list[str]


def decode(raw: bytes) -> str:
    """Return the text of a line. Raises `LineError` if it is not UTF-8 or holds a NUL byte."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineError("not UTF-8 text; convert the file, e.g. with iconv -f latin1 -t utf-8") from error
    if "\0" in text:
        raise LineError("holds a zero byte; is this a text file?")
    return text


def is_comment(text: str) -> bool:
    """Return whether the line is a comment."""
    return text.lstrip(_BLANKS).startswith("#")


def split(text: str) -> list[str]:
    """Return the trimmed fields of a line. Quoted fields may hold commas and doubled quotes, but no line breaks.

    A quote is special only where a field begins. Raises `LineError` if the quotes are odd in number.
    """
    if '"' not in text:
        return [field.strip(_BLANKS) for field in text.split(",")]
    if text.count('"') % 2:
        raise LineError("an odd number of quotes; a quoted field may not hold a line break")
    fields = []
    at, end = 0, len(text)
    while True:
        while at < end and text[at] in _BLANKS:
            at += 1
        value = []
        if at < end and text[at] == '"':
            at += 1
            while at < end:
                if text[at] == '"':
                    if at + 1 < end and text[at + 1] == '"':
                        at += 1
                    else:
                        at += 1
                        break
                value.append(text[at])
                at += 1
        comma = text.find(",", at)
        stop = end if comma < 0 else comma
        fields.append(("".join(value) + text[at:stop]).strip(_BLANKS))
        if comma < 0:
            return fields
        at = comma + 1


def is_integer(text: str) -> bool:
    """Return whether `text` is an integer that fits in 64 bits."""
    return bool(_INTEGER.match(text)) and -(2**63) < int(text) < 2**63


def number(text: str) -> float:
    """Return the number that `text` spells, NaN if it is missing.

    Raises `ValueError` for anything else, also infinity.
    """
    if text in MISSING:
        return math.nan
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def kind_of(values: set[str]) -> str:
    """Return integer, real or text: the narrowest kind that holds all `values`, missing ones aside.

    Real if there are none.
    """
    known = values - MISSING
    if not known:
        return "real"
    if all(is_integer(v) for v in known):
        return "integer"
    for value in known:
        try:
            number(value)
        except ValueError:
            return "text"
    return "real"
