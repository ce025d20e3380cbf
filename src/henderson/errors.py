"""Every error a user can meet: its exit code, where it was found, and what to do about it.

An error carries one or more `Problem`s, so that all mistakes of an input are reported at once; the first ten are
printed, the others counted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_PRINTED = 10


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is (lines and columns count from 1), what is wrong and what would mend it."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        places = [self.file] if self.file else []
        if self.line is not None:
            places.append(f"line {self.line}")
        if self.column is not None:
            places.append(f"column {self.column}")
        where = ", ".join(places)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}; {self.remedy}" if self.remedy else text


class HendersonError(Exception):
    """Base of all errors that are the input's or the machine's fault; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self._text())

    def __reduce__(self) -> tuple[type[HendersonError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)  # an error of another process comes with its problems

    def _text(self) -> str:
        lines = [str(p) for p in self.problems[:MAX_PRINTED]]
        if (rest := len(self.problems) - MAX_PRINTED) > 0:
            lines.append(f"... and {rest} more")
        return "\n".join(lines)


class UsageError(HendersonError):
    """The command line is wrong."""

    exit_code = 2


class InputFileError(HendersonError):
    """A file that the model names is missing, unreadable, or holds what it must not."""

    exit_code = 3


class StoreError(HendersonError):
    """A store is missing, damaged, incomplete, of another format version, or of another model."""

    exit_code = 4


class ModelError(HendersonError):
    """The parameter file or the model in it is wrong."""

    exit_code = 5


class NotSupportedError(ModelError):
    """The model is valid, but this version cannot compute it yet."""


class NotConvergedError(HendersonError):
    """An iteration stopped before it met its tolerance."""

    exit_code = 6


class ResourceError(HendersonError):
    """The work needs more memory, disk or time than there is."""

    exit_code = 7


class InterruptedRunError(ResourceError):
    """The run was told to stop; the same command goes on from where it was."""


class DifferenceError(HendersonError):
    """Two runs that should agree do not."""

    exit_code = 8


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name most like `name` (any case), or None if none is near."""
    by_lower = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[hits[0]] if hits else None


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """Return the sentence that says `name` is unknown and which known one is nearest."""
    near = nearest(name, known)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(known) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"
