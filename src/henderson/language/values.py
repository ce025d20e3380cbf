"""Typed access to the values of a TOML table; what is wrong or unknown is noted with its place."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from henderson.errors import unknown
from henderson.language.source import Place, Problems
from henderson.language.spec import Matrix
from henderson.language.toml_places import Places

_ELEMENT = re.compile(r"\s*([1-9]\d{0,5})\s*,\s*([1-9]\d{0,5})\s*")
_NAMES = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", dict: "a table"}


def say(value: object) -> str:
    """Return a value as TOML writes it, shortened."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Table:
    """A table of the file under its path of keys."""

    def __init__(self, values: Mapping[str, Any], path: tuple[str, ...], places: Places, problems: Problems) -> None:
        self.values = values
        self.path = path
        self.places = places
        self.problems = problems

    @property
    def title(self) -> str:
        """Return the table's name as it is written in the file."""
        return f"[{'.'.join(self.path)}]" if self.path else "the file"

    def at(self, *keys: str) -> Place | None:
        """Return the place of a key of this table."""
        return self.places.of(*self.path, *keys)

    def fault(self, message: str, *keys: str) -> None:
        """Note that something is wrong with a key of this table."""
        self.problems.add(f"{self.title}: {message}" if self.path else message, self.at(*keys))

    def check_keys(self, known: Sequence[str], what: str = "key") -> None:
        """Note every key that is not known, with the nearest one."""
        for key in self.values:
            if key not in known:
                self.fault(unknown(what, key, known), key)

    def _typed(self, key: str, kind: type, value: Any) -> Any:
        good = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
        if kind is float:
            good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if good:
            return float(value) if kind is float else value
        self.fault(f"{key!r} must be {_NAMES[kind]}, not {say(value)}", key)
        return None

    def _get(self, key: str, kind: type) -> Any:
        return self._typed(key, kind, self.values[key]) if key in self.values else None

    def text(self, key: str) -> str | None:
        """Return a text that is not empty, None if there is none."""
        value: str | None = self._get(key, str)
        if value is not None and not value.strip():
            self.fault(f"{key!r} is empty", key)
            return None
        return value

    def needed_text(self, key: str) -> str | None:
        """Return a text that must be there."""
        if key not in self.values:
            self.fault(f"{key!r} is missing")
        return self.text(key)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value: bool | None = self._get(key, bool)
        return default if value is None else value

    def number(self, key: str) -> float | None:
        """Return a finite number, None if there is none."""
        value: float | None = self._get(key, float)
        return value

    def count(self, key: str) -> int:
        """Return a whole number from 1 on, 0 if it is not given."""
        value: int | None = self._get(key, int)
        if value is not None and value < 1:
            self.fault(f"{key!r} must be a whole number from 1 on, not {value}", key)
        return value or 0

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a text, or a list of them, as a tuple; None if it is not given or wrong."""
        if key not in self.values:
            return None
        value = self.values[key]
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
            self.fault(f"{key!r} must be a text or a list of texts, not {say(value)}", key)
            return None
        if not values:
            self.fault(f"{key!r} is empty", key)
            return None
        return tuple(values)

    def table(self, key: str) -> Table | None:
        """Return a table in this one, None if it is not given or no table."""
        value = self._get(key, dict)
        return None if value is None else Table(value, (*self.path, key), self.places, self.problems)

    def tables(self, key: str) -> list[tuple[str, Table]]:
        """Return the named tables in a table of this one."""
        outer = self.table(key)
        if outer is None:
            return []
        inner = ((name, outer.table(name)) for name in outer.values)
        return [(name, table) for name, table in inner if table is not None]

    def matrix(self, key: str) -> Matrix | None:
        """Return a matrix of finite numbers as rows, of whatever shape; a single number is 1 by 1."""
        rows = self._rows(key)
        if rows is None:
            return None
        values = [v for row in rows for v in row]
        if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
            self.fault(f"{key!r} must hold finite numbers only, not {say(self.values[key])}", key)
            return None
        return tuple(tuple(float(v) for v in row) for row in rows)

    def flags(self, key: str) -> tuple[tuple[bool, ...], ...] | None:
        """Return a matrix of true and false as rows."""
        rows = self._rows(key)
        if rows is None:
            return None
        if not all(isinstance(v, bool) for row in rows for v in row):
            self.fault(f"{key!r} must hold true and false only, not {say(self.values[key])}", key)
            return None
        return tuple(tuple(row) for row in rows)

    def _rows(self, key: str) -> list[list[Any]] | None:
        if key not in self.values:
            return None
        value = self.values[key]
        if isinstance(value, bool | int | float):
            return [[value]]
        if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
            self.fault(f"{key!r} must be a matrix, rows such as [[2.0, 0.5], [0.5, 1.0]], not {say(value)}", key)
            return None
        return value


def read_equal(table: Table) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the groups of elements in ``equal = [["1,1", "2,2"], ["2,1", "3,1"]]``, of the lower triangle, sorted."""
    if "equal" not in table.values:
        return ()
    groups = table.values["equal"]
    if not isinstance(groups, list) or not all(
        isinstance(group, list) and all(isinstance(e, str) for e in group) for group in groups
    ):
        remedy = 'write groups of elements such as [["1,1", "2,2"], ["2,1", "3,1"]]'
        table.fault(f"'equal' must be a list of lists of texts, not {say(groups)}; {remedy}", "equal")
        return ()
    found = []
    for number, group in enumerate(groups):
        elements = set()
        for text in group:
            match = _ELEMENT.fullmatch(text)
            if match is None:
                table.fault(f"'equal': {text!r} is no element, such as \"2,1\"", "equal", str(number))
                continue
            row, column = int(match[1]), int(match[2])
            elements.add((max(row, column), min(row, column)))
        found.append(tuple(sorted(elements)))
    return tuple(sorted(found))
