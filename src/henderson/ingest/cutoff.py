"""Which records of a block are later than a date: what `henderson validate` leaves out of the earlier part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, Problem
from henderson.ingest.parse import Parsed, Words, text_of
from henderson.language.spec import Cutoff

DATE = "0000-00-00"  # digits, and what stands between them
Mask = NDArray[np.bool_]


def is_late(parsed: Parsed, cutoff: Cutoff, observed: Mask, found: list[tuple[int, Problem]]) -> Mask:
    """Return which records are at the cut-off or later; dates compare as texts.

    Of records that are `observed`, those without a date, or with text that is none, are added to `found`.
    """
    column = cutoff.column
    if cutoff.numeric:
        values = parsed.reals[column]
        missing, wrong = np.isnan(values), np.zeros(len(values), np.bool_)
        late = values >= float(cutoff.value)
    else:
        words = parsed.text[column]
        missing, wrong = words[:, 0] == 0, ~are_dates(words)
        late = np.ascontiguousarray(words).view(f"S{8 * words.shape[1]}")[:, 0] >= cutoff.value.encode()
    remedy = "write dates as 2015-12-31, or as numbers that grow with time"
    for row in np.flatnonzero((missing | wrong) & observed)[: MAX_PRINTED + 1].tolist():
        what = f"{text_of(parsed.text[column][row : row + 1])[0]!r} is no date" if not missing[row] else "no date"
        found.append((row, Problem(f"{what} in column {column!r} of a record with observations", remedy=remedy)))
    return np.asarray(late, np.bool_)


def are_dates(words: Words) -> Mask:
    """Return which texts begin with a date."""
    n = len(DATE)
    if 8 * words.shape[1] < n:
        return np.zeros(len(words), np.bool_)
    text = np.ascontiguousarray(words).view(np.uint8)[:, :n]
    digit = np.array([c == "0" for c in DATE])
    is_digit = (text >= ord("0")) & (text <= ord("9"))
    return np.asarray(np.where(digit, is_digit, text == ord("-")).all(axis=1), np.bool_)
