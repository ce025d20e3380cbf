"""Reading a parameter file of renumf90 (BLUPF90's): keywords in capitals, each with the values on its line and below.

Keywords and their meaning follow the public manual of the BLUPF90 programs (Misztal et al., University of Georgia).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from henderson.errors import nearest, unknown
from henderson.language.source import Problems

HEAD = (
    "DATAFILE", "TRAITS", "FIELDS_PASSED", "WEIGHT(S)", "RESIDUAL_VARIANCE", "COMBINE", "SKIP_HEADER", "EFFECT",
    "OPTION",
)  # fmt: skip
OF_EFFECT = (
    "NESTED", "RANDOM", "OPTIONAL", "FILE", "FILE_POS", "SNP_FILE", "PED_DEPTH", "GEN_INT", "REC_SEX", "UPG_TYPE",
    "INBREEDING", "RANDOM_REGRESSION", "RR_POSITION", "(CO)VARIANCES", "(CO)VARIANCES_PE", "(CO)VARIANCES_MPE",
)  # fmt: skip
_OTHER_NAMES = {"WEIGHTS": "WEIGHT(S)", "WEIGHT": "WEIGHT(S)", "FIELDS_PASSED_TO_OUTPUT": "FIELDS_PASSED"}
_OF_BLUPF90 = ("NUMBER_OF_TRAITS", "NUMBER_OF_EFFECTS", "OBSERVATION(S)", "RANDOM_GROUP", "RANDOM_TYPE", "EFFECTS:")
_CAPITALS = re.compile(r"[A-Z(][A-Z_()]{2,}:?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?")


@dataclass(frozen=True)
class Values:
    """The words after one keyword, line by line, and the line of the keyword."""

    keyword: str
    line: int
    rows: tuple[tuple[str, ...], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Return all words in order."""
        return tuple(word for row in self.rows for word in row)


@dataclass
class RenumEffect:
    """One EFFECT with the keywords that belong to it."""

    number: int  # from 1, in the order of the file
    line: int
    positions: tuple[int, ...]  # for each trait its column, counted from 1; 0: not in that trait's model
    is_cross: bool
    nested: tuple[int, ...] = ()
    random: str | None = None  # diagonal, animal or sire
    keywords: dict[str, Values] = field(default_factory=dict)

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the words of a keyword, none if it is not there."""
        return self.keywords[keyword].words if keyword in self.keywords else ()


@dataclass
class RenumFile:
    """A parameter file of renumf90 as it is written; columns are counted from 1."""

    datafile: str = ""
    traits: tuple[int, ...] = ()
    weight: int | None = None
    residual: Values | None = None
    combined: dict[int, tuple[int, ...]] = field(default_factory=dict)
    skip_header: int = 0
    effects: list[RenumEffect] = field(default_factory=list)
    options: list[Values] = field(default_factory=list)


def read_renumf90(text: str, problems: Problems) -> RenumFile:
    """Return the content of a parameter file of renumf90; mistakes are noted in `problems`."""
    result = RenumFile()
    seen: dict[str, int] = {}
    for values in _keywords(text, problems):
        keyword = values.keyword
        if keyword in ("EFFECT", "OPTION", "COMBINE", *OF_EFFECT):
            pass
        elif keyword in seen:
            problems.add(f"{keyword} is given twice, first on line {seen[keyword]}", (values.line, 1))
            continue
        seen[keyword] = values.line
        if keyword in HEAD:
            _read_head(values, result, problems)
        elif not result.effects:
            problems.add(f"{keyword} stands before the first EFFECT, to which it would belong", (values.line, 1))
        else:
            _read_of_effect(values, result.effects[-1], len(result.traits), problems)
    for keyword in ("DATAFILE", "TRAITS", "RESIDUAL_VARIANCE", "EFFECT"):
        if keyword not in seen and not problems.found:
            problems.add(f"{keyword} is missing", None, "is this a parameter file of renumf90?")
    return result


def _keywords(text: str, problems: Problems) -> Iterator[Values]:
    keyword, start, rows = None, 0, []
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        name = _OTHER_NAMES.get(words[0].rstrip(":"), words[0].rstrip(":"))
        if name in HEAD or name in OF_EFFECT:
            if keyword is not None:
                yield Values(keyword, start, tuple(rows))
            keyword, start = name, number
            rest = words[1:]
            if name == "FIELDS_PASSED" and [w.upper() for w in rest[:2]] == ["TO", "OUTPUT"]:
                rest = rest[2:]
            rows = [tuple(rest)] if rest else []
        elif words[0] in _OF_BLUPF90 or name in _OF_BLUPF90:
            remedy = "give the file that renumf90 reads, not the renf90.par that it writes"
            problems.add(f"{words[0]} is a keyword of blupf90's parameter file", (number, 1), remedy)
            return
        elif keyword is None or (_CAPITALS.fullmatch(words[0]) and nearest(name, (*HEAD, *OF_EFFECT)) is not None):
            problems.add(unknown("keyword", words[0][:60], (*HEAD, *OF_EFFECT)), (number, 1))
            if keyword is None:
                return
        else:
            rows.append(tuple(words))
    if keyword is not None:
        yield Values(keyword, start, tuple(rows))


def _read_head(values: Values, result: RenumFile, problems: Problems) -> None:
    at, words = (values.line, 1), values.words
    match values.keyword:
        case "DATAFILE":
            if len(words) != 1:
                problems.add(f"DATAFILE takes one file, not {' '.join(words)!r}", at)
            else:
                result.datafile = words[0]
        case "TRAITS":
            result.traits = positions(values, words, problems, lowest=1)
            if not result.traits:
                problems.add("TRAITS names no column", at)
            elif len(set(result.traits)) < len(result.traits):
                problems.add("TRAITS names a column twice", at)
        case "WEIGHT(S)":
            weights = [p for p in positions(values, words, problems) if p]
            if len(set(weights)) > 1:
                problems.add("WEIGHT(S): one column of weights serves all traits here, not several", at)
            result.weight = weights[0] if weights else None
        case "RESIDUAL_VARIANCE":
            result.residual = values
        case "SKIP_HEADER":
            result.skip_header = sum(positions(values, words, problems))
        case "COMBINE":
            for row in values.rows:
                columns = positions(values, row, problems, lowest=1)
                if len(columns) < 3:
                    problems.add("COMBINE takes the new column and at least two others", at)
                else:
                    result.combined[columns[0]] = columns[1:]
        case "EFFECT":
            _read_effect(values, result, problems)
        case "OPTION":
            result.options.append(values)


def _read_effect(values: Values, result: RenumFile, problems: Problems) -> None:
    at, words = (values.line, 1), values.words
    numbers = [w for w in words if w.lstrip("+-").isdecimal()]
    rest = list(words[len(numbers) :])
    effect = RenumEffect(len(result.effects) + 1, values.line, (), rest[:1] != ["cov"])
    if list(words[: len(numbers)]) != numbers or not rest or rest[0] not in ("cross", "cov"):
        what = "a column for each trait, then 'cross alpha', 'cross numer' or 'cov'"
        problems.add(f"EFFECT takes {what}, not {' '.join(words)[:60]!r}", at)
    else:
        effect.positions = positions(values, numbers, problems)
        if result.traits and len(effect.positions) != len(result.traits):
            n = len(effect.positions)
            problems.add(f"EFFECT has {n} column{'s' * (n != 1)} for {len(result.traits)} traits", at)
        elif not any(effect.positions):
            problems.add("EFFECT is in the model of no trait", at)
        for word in rest[1:2]:  # what stands behind is left to the reader, as renumf90 does
            if word not in ("alpha", "numer"):
                problems.add(unknown("form", word, ("alpha", "numer")), at)
    result.effects.append(effect)


def _read_of_effect(values: Values, effect: RenumEffect, n_traits: int, problems: Problems) -> None:
    at, words = (values.line, 1), values.words
    if values.keyword in effect.keywords:
        first = effect.keywords[values.keyword].line
        problems.add(f"{values.keyword} is given twice for one EFFECT, first on line {first}", at)
    effect.keywords[values.keyword] = values
    if values.keyword == "RANDOM":
        types = ("diagonal", "animal", "sire")
        if len(words) != 1 or words[0] not in types:
            problems.add(f"{unknown('type of RANDOM', ' '.join(words), types)} (known: {', '.join(types)})", at)
        else:
            effect.random = words[0]
    elif values.keyword == "NESTED":
        effect.nested = positions(values, [w for w in words if w.isdecimal()], problems)
        if effect.is_cross or len(effect.nested) != n_traits:
            problems.add("NESTED takes a column for each trait, and belongs to an EFFECT of type cov", at)
    elif values.keyword == "OPTIONAL":
        for word in words:
            if word not in ("pe", "mat", "mpe"):
                problems.add(unknown("effect in OPTIONAL", word, ("pe", "mat", "mpe")), at)


def positions(values: Values, words: Sequence[str], problems: Problems, lowest: int = 0) -> tuple[int, ...]:
    """Return words as numbers of columns; none, and a note, if one of them is something else."""
    for word in words:
        if not word.isdecimal() or not word.isascii() or len(word) > 6 or int(word) < lowest:
            problems.add(f"{values.keyword}: {word[:60]!r} is not the number of a column", (values.line, 1))
            return ()
    return tuple(int(word) for word in words)


def square(values: Values, size: int, problems: Problems) -> tuple[tuple[float, ...], ...] | None:
    """Return a full square matrix of `size` rows; None, and a note, if it is something else."""
    words = values.words
    numbers = [float(w.lower().replace("d", "e")) for w in words if _NUMBER.fullmatch(w)]
    if len(numbers) < len(words) or len(numbers) != size * size or not all(map(math.isfinite, numbers)):
        problems.add(f"{values.keyword} must be {size} by {size} numbers; found {len(words)} words", (values.line, 1))
        return None
    return tuple(tuple(numbers[i * size : (i + 1) * size]) for i in range(size))
