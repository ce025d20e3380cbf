"""Typed access to the key strings and children of an element; what is wrong or unknown is noted with its line."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence

from henderson.errors import unknown
from henderson.language.sigma_files import parse_row
from henderson.language.source import Place, Problems
from henderson.language.spec import Matrix, Option
from henderson.language.xml_tree import Element

_WORD = re.compile(r"[^\s,]+")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
NUMERIC = ("matrix", "array")


class Keys:
    """The key strings of one element; `keys` and `children` are all it may have."""

    def __init__(
        self, element: Element, problems: Problems, keys: Sequence[str] = (), children: Sequence[str] = ()
    ) -> None:
        self.element = element
        self.problems = problems
        self.values = {key: (value, at) for key, value, at in element.key_strings(problems)}
        for key, (_, at) in self.values.items():
            if key not in keys:
                problems.add(f"{element.title}: {unknown('key', key, keys)}", at)
        check_children(element, children, problems)

    def at(self, key: str) -> Place:
        """Return the place of a key, of the element if it has none."""
        return self.values[key][1] if key in self.values else self.element.at

    def fault(self, message: str, key: str | None = None) -> None:
        """Note that something is wrong with a key, or with the element."""
        self.problems.add(f"{self.element.title}: {message}", self.at(key) if key else self.element.at)

    def text(self, key: str, needed: bool = False) -> str | None:
        """Return one word, None if there is none."""
        if key not in self.values:
            if needed:
                self.fault(f"key {key!r} is missing")
            return None
        text = self.values[key][0].text
        if "," in text:
            self.fault(f"key {key!r} takes one value, not a list", key)
            return None
        return text

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a comma-separated list of words."""
        if key not in self.values:
            return ()
        words = tuple(word.strip() for word in self.values[key][0].text.split(","))
        if not all(_WORD.fullmatch(word) for word in words):
            self.fault(f"key {key!r} takes words separated by commas, not {self.values[key][0].text!r}", key)
            return ()
        return words

    def number(self, key: str) -> float | None:
        """Return a finite number, None if there is none."""
        text = self.text(key)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.fault(f"key {key!r} takes a number, not {text!r}", key)
            return None
        return value

    def count(self, key: str) -> int:
        """Return a whole number from 1 on, 0 if there is none."""
        text = self.text(key)
        if text is None:
            return 0
        if not _INTEGER.fullmatch(text) or int(text) < 1:
            self.fault(f"key {key!r} takes a whole number from 1 on, not {text!r}", key)
            return 0
        return int(text)

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """Return one of the choices, None if there is none."""
        text = self.text(key)
        if text is not None and text not in choices:
            self.fault(f"{unknown(f'value of key {key!r}:', text, choices)} (known: {', '.join(choices)})", key)
            return None
        return text

    def switches(self, *known: str) -> set[str]:
        """Return the words of the key `switch`."""
        words = self.texts("switch")
        for word in words:
            if word not in known:
                self.fault(unknown("switch", word, known), "switch")
        return set(words) & set(known)

    def options(self) -> tuple[tuple[str, Option], ...]:
        """Return all keys with their values: a number, a word, or a list of words."""
        options: dict[str, Option] = {}
        for key, (value, _) in self.values.items():
            words = tuple(word.strip() for word in value.text.split(","))
            options[key] = words[0] if len(words) == 1 and key != "switch" else tuple(sorted(words))
            with contextlib.suppress(ValueError):
                options[key] = float(value.text)
        return tuple(sorted(options.items()))


def check_children(element: Element, known: Sequence[str], problems: Problems) -> None:
    """Note every child that is not known, and every one that is there twice."""
    seen: dict[str, Element] = {}
    for child in element.children:
        if child.name not in known:
            problems.add(f"{element.title}: {unknown('element', child.name, known)}", child.at)
        elif child.name in seen:
            problems.add(f"{element.title}: element {child.title} is given twice", child.at)
        seen[child.name] = child


def nominated(element: Element, key: str, problems: Problems, also: tuple[str, ...] = ()) -> list[Element]:
    """Return the children that the list under `key` names; each must be there, and no other (but `also`)."""
    names = Keys(element, problems, (key,), [c.name for c in element.children]).texts(key)
    for name in names:
        if names.count(name) > 1:
            problems.add(f"{element.title}: {name!r} is named twice in '{key}:'", element.at)
        if element.child(name) is None:
            problems.add(f"{element.title}: '{key}:' names {name!r}, but there is no element <{name}>", element.at)
    for child in element.children:
        if child.name not in (*names, *also):
            problems.add(
                f"{element.title}: {unknown('element', child.name, (*names, *also))} (elements are named in '{key}:')",
                child.at,
            )
    check_children(element, [c.name for c in element.children], problems)
    found = (element.child(name) for name in dict.fromkeys(names))
    return [child for child in found if child is not None]


def check_escape(element: Element, kinds: Sequence[str], problems: Problems) -> None:
    """Note an element whose text is not escaped by ``attributes="..."`` as it must be."""
    given = [element.attributes.get(name) for name in ("attributes", "attribute")]
    for name in element.attributes:
        if name not in ("attributes", "attribute"):
            problems.add(f"{element.title}: {unknown('attribute', name, ('attributes', 'attribute'))}", element.at)
    if not any(value in kinds for value in given):
        problems.add(f'{element.title} must be written <{element.name} attributes="{kinds[-1]}">', element.at)
    check_children(element, (), problems)


def read_matrix(element: Element, problems: Problems) -> Matrix | None:
    """Return the rows of numbers of an element escaped as matrix or array."""
    check_escape(element, NUMERIC, problems)
    rows = []
    for line in element.text.lines():
        row = parse_row(line.text)
        if row is None:
            problems.add(f"{element.title}: {line.text[:60]!r} is not a row of numbers separated by commas", line.at(0))
            return None
        rows.append(row)
    if not rows:
        problems.add(f"{element.title} is empty", element.at)
        return None
    return tuple(rows)
