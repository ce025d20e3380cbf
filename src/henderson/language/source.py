"""Pieces of a parameter file that remember where they stand in it, and the list of its problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from henderson.errors import ModelError, Problem

Place = tuple[int, int]


@dataclass(frozen=True)
class Source:
    """A text and the place (line, column, from 1) of each of its characters in the file, and of its end."""

    text: str
    places: tuple[Place, ...]

    @classmethod
    def plain(cls, text: str, start: Place = (1, 1)) -> Source:
        """Return `text` as if it stood at `start` of its file, unescaped."""
        places = []
        line, column = start
        for char in text:
            places.append((line, column))
            line, column = (line + 1, 1) if char == "\n" else (line, column + 1)
        return cls(text, (*places, (line, column)))

    def at(self, index: int) -> Place:
        """Return the place of character `index`; that of the end if it lies beyond."""
        return self.places[min(max(index, 0), len(self.text))]

    def part(self, start: int, stop: int) -> Source:
        """Return characters start..stop."""
        return Source(self.text[start:stop], self.places[start : stop + 1])

    def strip(self) -> Source:
        """Return the text without blanks at its ends."""
        start = len(self.text) - len(self.text.lstrip())
        return self.part(start, max(start, len(self.text.rstrip())))

    def lines(self) -> Iterator[Source]:
        """Yield its lines without comments (``#`` to the end of the line), leaving out those that are blank."""
        start = 0
        for line in self.text.split("\n"):
            stop = start + len(line.split("#", 1)[0])
            part = self.part(start, stop).strip()
            if part.text:
                yield part
            start += len(line) + 1


@dataclass
class Problems:
    """The mistakes of one parameter file, in the order they were found; none is reported twice."""

    file: str
    found: list[Problem] = field(default_factory=list)

    def add(self, message: str, at: Place | None = None, remedy: str | None = None) -> None:
        """Note a mistake, with its place if it has one."""
        line, column = at or (None, None)
        problem = Problem(message, self.file, line, column, remedy)
        if problem not in self.found:
            self.found.append(problem)

    def stop_if_any(self) -> None:
        """Raise one ModelError with everything found so far, if anything was."""
        if self.found:
            raise ModelError(sorted(self.found, key=lambda p: (p.line or 0, p.column or 0)))


def listed(names: Sequence[object]) -> str:
    """Return names as words: ``a, b and c``."""
    words = [str(n) for n in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
