"""Pedigrees whose rows hold more than an animal with sire and dam: several rows for one animal, or a fourth column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, InputFileError, Problem
from henderson.ingest.files import Source
from henderson.ingest.id_table import IdTable
from henderson.language.spec import Matrix, PedigreeSpec

PROBABILITY = "probability"
GRANDDAM = "granddam"


def fourth_column(spec: PedigreeSpec, source: Source) -> str | None:
    """Return what the fourth column of the file is, None if there is none that counts.

    Raises `InputFileError` if the probabilities of a probabilistic pedigree are not there.
    """
    n = len(source.names)
    if spec.probabilistic:
        if n < 4:
            what = f"{n} columns where a probabilistic pedigree has four: animal, sire, dam, probability"
            remedy = "give every pair of parents a row with its probability, or leave 'probabilistic' out"
            raise InputFileError(Problem(what, file=source.shown, remedy=remedy))
        return PROBABILITY
    return GRANDDAM if spec.mgs and n > 3 else None


def probability_problems(values: NDArray[np.float64], lines: NDArray[np.int64], file: str) -> list[Problem]:
    """Return the rows without a probability."""
    found = np.flatnonzero(~np.isfinite(values))[: MAX_PRINTED + 1]
    what, remedy = "a row without the probability of its parents", "give a number from 0 to 1"
    return [Problem(what, file=file, line=int(lines[r]), remedy=remedy) for r in found.tolist()]


def first_rows(table: IdTable, ids: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Return the animal of every row: `table` has every id once, `ids` are those of the rows."""
    found, n_absent = table.find(ids)
    assert not n_absent
    return found.astype(np.int32)


def read_metafile(path: Path, shown: str) -> Matrix:
    """Return the matrix of the metafounders of a file: rows of numbers separated by commas, ``#`` comments.

    Raises `InputFileError`: the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        remedy = "metafile holds the relationship matrix of the metafounders, a line per row"
        raise InputFileError(Problem(f"cannot be read ({what})", file=shown, remedy=remedy)) from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            rows.append(tuple(float(word) for word in stripped.split(",")))
        except ValueError as error:
            what = f"not a row of numbers separated by commas: {stripped[:60]!r}"
            raise InputFileError(Problem(what, file=shown, line=number)) from error
    if not rows:
        raise InputFileError(Problem("holds no matrix", file=shown))
    return tuple(rows)
