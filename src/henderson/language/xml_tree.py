"""Elements and key strings of an lmt parameter file, with their lines; entities are refused, never expanded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from henderson.errors import ModelError, Problem
from henderson.language.source import Place, Problems, Source

_ENTITIES = "DOCTYPE and entities are not part of lmt's parameter file"


@dataclass
class Element:
    """An element: its attributes, its children, and its own text (that between the children too) with places."""

    name: str
    at: Place
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    chunks: list[Source] = field(default_factory=list)

    @property
    def text(self) -> Source:
        """Return the text of the element itself."""
        chars = "".join(c.text for c in self.chunks)
        places = tuple(place for c in self.chunks for place in c.places[:-1])
        end = self.chunks[-1].places[-1] if self.chunks else self.at
        return Source(chars, (*places, end))

    @property
    def title(self) -> str:
        """Return the element as messages call it."""
        return f"<{self.name}>"

    def child(self, name: str) -> Element | None:
        """Return the first child of that name."""
        return next((c for c in self.children if c.name == name), None)

    def key_strings(self, problems: Problems) -> Iterator[tuple[str, Source, Place]]:
        """Yield key, value and place of every key string; other text is noted in `problems`."""
        seen = set()
        for line in self.text.lines():
            key, colon, _ = line.text.partition(":")
            name, value = key.strip(), line.part(len(key) + 1, len(line.text)).strip()
            if not colon or not name or len(name.split()) > 1:
                problems.add(f"{self.title}: found {line.text[:60]!r} where 'key: value' was expected", line.at(0))
            elif name in seen:
                problems.add(f"{self.title}: key {name!r} is given twice", line.at(0))
            elif not value.text:
                problems.add(f"{self.title}: key {name!r} has no value", line.at(0))
            else:
                yield name, value, line.at(0)
            seen.add(name)


def read_tree(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises
    ------
    ModelError
        The file is not XML (naming line, column and the element at fault), or has a DOCTYPE or an entity.

    """
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    file = str(path)
    stack: list[Element] = []
    roots: list[Element] = []

    def place() -> Place:
        return parser.CurrentLineNumber, parser.CurrentColumnNumber + 1

    def refuse(*_: object) -> NoReturn:
        line, column = place()
        raise ModelError(Problem(_ENTITIES, file, line, column, "write the text itself"))

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Element(name, place(), attributes)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    def end(_: str) -> None:
        stack.pop()

    def text(chars: str) -> None:
        stack[-1].chunks.append(Source.plain(chars, place()))

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.SkippedEntityHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as e:
        raise ModelError(_malformed(e, file, stack)) from None
    except (ValueError, LookupError) as e:  # an encoding that Python or expat does not know
        raise ModelError(Problem(f"not valid XML: {e}", file, *place())) from None
    return roots[0]


def _malformed(error: expat.ExpatError, file: str, stack: list[Element]) -> Problem:
    what = expat.ErrorString(error.code) or "not well-formed"
    if "entity" in what:
        return Problem(f"{what}: {_ENTITIES}", file, error.lineno, error.offset + 1)
    if not stack:
        return Problem(f"not valid XML: {what}", file, error.lineno, error.offset + 1)
    inner = stack[-1]
    return Problem(
        f"not valid XML: {what} in element {inner.title}, which began on line {inner.at[0]} and is still open",
        file,
        error.lineno,
        error.offset + 1,
        f"close it by </{inner.name}>" if "tag" in what or "no element" in what else None,
    )
