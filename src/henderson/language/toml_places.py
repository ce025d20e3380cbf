"""Where the keys and values of a TOML document stand, which `tomllib` does not tell.

The document has been accepted by `tomllib`; so this scanner follows the grammar's shape and checks nothing.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field

from henderson.language.source import Place, Source

Path = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_OTHER = re.compile(r"[^,\]}\n#]+")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


@dataclass
class Places:
    """Places by path of keys (elements of arrays by their number, from 0): of the key, and texts of string values."""

    keys: dict[Path, Place] = field(default_factory=dict)
    strings: dict[Path, Source] = field(default_factory=dict)

    def of(self, *path: str) -> Place | None:
        """Return the place of a key, or of the nearest table above it that has one."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path)

    def string(self, text: str, *path: str) -> Source:
        """Return the string value at `path`, with its places."""
        source = self.strings.get(path)
        if source is not None and source.text == text:
            return source
        return Source.plain(text, self.of(*path) or (1, 1))


def find_places(text: str) -> Places:
    """Return the places of a valid TOML document; as much as could be found, should it be odd."""
    scanner = _Scanner(text)
    with contextlib.suppress(IndexError, ValueError):  # the places found so far serve: they only better the messages
        scanner.document()
    return scanner.places


class _Scanner:
    def __init__(self, text: str) -> None:
        self.source = Source.plain(text)
        self.text = text
        self.i = 0
        self.places = Places()
        self.tables: dict[Path, int] = {}

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.i):
            self.i = match.end()

    def document(self) -> None:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self.i >= len(self.text):
                return
            at = self.source.at(self.i)
            if self.text[self.i] == "[":
                array = self.text.startswith("[[", self.i)
                self.i += 2 if array else 1
                table = self._keys()
                self._skip(_SPACE)
                self.i += 2 if array else 1
                if array:
                    self.tables[table] = self.tables.get(table, -1) + 1
                    table = (*table, str(self.tables[table]))
                self.places.keys.setdefault(table, at)
            else:
                self._pair(table)

    def _pair(self, table: Path) -> None:
        at = self.source.at(self.i)
        path = (*table, *self._keys())
        self.places.keys.setdefault(path, at)
        for n in range(len(table) + 1, len(path)):
            self.places.keys.setdefault(path[:n], at)
        self._skip(_SPACE)
        self.i += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> Path:
        keys = []
        while True:
            self._skip(_SPACE)
            if self.text[self.i] in "\"'":
                keys.append(self._string().text)
            else:
                match = _BARE.match(self.text, self.i)
                if match is None:
                    raise ValueError("no key")
                keys.append(match.group())
                self.i = match.end()
            self._skip(_SPACE)
            if not self.text.startswith(".", self.i):
                return tuple(keys)
            self.i += 1

    def _value(self, path: Path) -> None:
        char = self.text[self.i]
        if char in "\"'":
            self.places.strings[path] = self._string()
        elif char == "[":
            self._list(path)
        elif char == "{":
            self._inline(path)
        else:
            self._skip(_OTHER)

    def _list(self, path: Path) -> None:
        self.i += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self.text[self.i] == "]":
                self.i += 1
                return
            if self.text[self.i] == ",":
                self.i += 1
                continue
            self.places.keys.setdefault((*path, str(number)), self.source.at(self.i))
            self._value((*path, str(number)))
            number += 1

    def _inline(self, path: Path) -> None:
        self.i += 1
        while True:
            self._skip(_BLANK)
            if self.text[self.i] == "}":
                self.i += 1
                return
            if self.text[self.i] == ",":
                self.i += 1
                continue
            self._pair(path)

    def _string(self) -> Source:
        quote = self.text[self.i]
        long = self.text.startswith(quote * 3, self.i)
        self.i += 3 if long else 1
        if long and self.text.startswith("\r\n", self.i):
            self.i += 2
        elif long and self.text.startswith("\n", self.i):
            self.i += 1
        chars: list[str] = []
        places: list[Place] = []
        end = quote * 3 if long else quote
        while not self.text.startswith(end, self.i):
            place = self.source.at(self.i)
            if quote == '"' and self.text[self.i] == "\\":
                chars.append(self._escape())
            elif self.text.startswith("\r\n", self.i):
                self.i += 2
                chars.append("\n")
            else:
                chars.append(self.text[self.i])
                self.i += 1
            places += [place] * len(chars[-1])
        while long and self.text.startswith(quote * 4, self.i):  # up to two quotes may precede the closing three
            chars.append(quote)
            places.append(self.source.at(self.i))
            self.i += 1
        places.append(self.source.at(self.i))
        self.i += len(end)
        return Source("".join(chars), tuple(places))

    def _escape(self) -> str:
        code = self.text[self.i + 1]
        if code in "uU":
            width = 4 if code == "u" else 8
            char = chr(int(self.text[self.i + 2 : self.i + 2 + width], 16))
            self.i += 2 + width
            return char
        if code in _ESCAPES:
            self.i += 2
            return _ESCAPES[code]
        self.i += 1  # a backslash at the end of a line joins it with the next one
        while self.text[self.i] in " \t\r\n":
            self.i += 1
        return ""
