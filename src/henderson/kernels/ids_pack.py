"""From the bytes of a text column to words (see `hashing`), and questions about the lines of a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit

_SPACE, _TAB, _NEWLINE, _RETURN, _QUOTE, _HASH = 32, 9, 10, 13, 34, 35
_MINUS, _ZERO, _TEN = 45, np.uint64(48), np.uint64(10)
_N_UPPER, _A_UPPER, _N_LOWER, _A_LOWER = 78, 65, 110, 97


@jit
def is_missing(data: NDArray[np.uint8], lo: int, hi: int) -> bool:
    """Return whether the bytes lo..hi are empty or one of NA, NaN, nan."""
    n = hi - lo
    if n == 0:
        return True
    if n == 2:
        return bool(data[lo] == _N_UPPER and data[lo + 1] == _A_UPPER)
    if n == 3:
        same = data[lo] == data[lo + 2]
        return bool(same and data[lo + 1] == _A_LOWER and (data[lo] == _N_UPPER or data[lo] == _N_LOWER))
    return False


@jit
def longest(offsets: NDArray[np.int32]) -> int:
    """Return the length in bytes of the longest of the texts whose ends are `offsets` (n + 1,)."""
    most = 0
    for i in range(offsets.shape[0] - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most


@jit
def pack_words(offsets: NDArray[np.int32], data: NDArray[np.uint8], words: NDArray[np.uint64]) -> None:
    """Write the texts data[offsets[i]:offsets[i + 1]], trimmed, into `words` (n, k).

    Those that mean missing become zeros.
    """
    k = words.shape[1]
    for i in range(words.shape[0]):
        lo, hi = offsets[i], offsets[i + 1]
        while lo < hi and (data[lo] == _SPACE or data[lo] == _TAB):
            lo += 1
        while hi > lo and (data[hi - 1] == _SPACE or data[hi - 1] == _TAB):
            hi -= 1
        if is_missing(data, lo, hi):
            hi = lo
        for c in range(k):
            w = np.uint64(0)
            shift = np.uint64(0)
            for j in range(lo + 8 * c, min(lo + 8 * c + 8, hi)):
                w |= np.uint64(data[j]) << shift
                shift += np.uint64(8)
            words[i, c] = w


@jit
def pack_integers(values: NDArray[np.int64], missing: NDArray[np.bool_], words: NDArray[np.uint64]) -> None:
    """Write integers as text into `words` (n, k), wide enough for the longest; those missing become zeros.

    `missing` (n,) may be empty: then none is.
    """
    for i in range(words.shape[0]):
        for c in range(words.shape[1]):
            words[i, c] = 0
        if missing.shape[0] > 0 and missing[i]:
            continue
        negative = values[i] < 0
        rest = np.uint64(0) - np.uint64(values[i]) if negative else np.uint64(values[i])
        at = 1 if negative else 0
        upper = rest
        while upper >= _TEN:
            upper //= _TEN
            at += 1
        if negative:
            words[i, 0] = np.uint64(_MINUS)
        while True:  # the last digit first
            digit = rest % _TEN
            rest //= _TEN
            words[i, at // 8] |= (digit + _ZERO) << np.uint64(8 * (at % 8))
            if rest == 0:
                break
            at -= 1


@jit
def first_odd_quotes(data: NDArray[np.uint8]) -> int:
    """Return the offset of the first line with an odd number of quotes, or -1; comment lines do not count."""
    start, quotes, blank, comment = 0, 0, True, False
    for i in range(data.shape[0]):
        b = data[i]
        if b == _NEWLINE:
            if quotes % 2 == 1 and not comment:
                return start
            start, quotes, blank, comment = i + 1, 0, True, False
        elif b == _QUOTE:
            quotes += 1
            blank = False
        elif blank and b == _HASH:
            comment = True
        elif b != _SPACE and b != _TAB:
            blank = False
    return start if quotes % 2 == 1 and not comment else -1


@jit
def data_lines(data: NDArray[np.uint8], lines: NDArray[np.int64]) -> int:
    """Return how many lines are neither blank nor comments; the first of `lines` get their numbers from 0."""
    n, line = 0, 0
    kind = 0  # of the line so far: 0 blank, 1 comment, 2 data
    for i in range(data.shape[0]):
        b = data[i]
        if b == _NEWLINE:
            if kind == 2 and n < lines.shape[0]:
                lines[n] = line
            n += kind == 2
            line += 1
            kind = 0
        elif kind == 0 and b != _SPACE and b != _TAB and b != _RETURN:
            kind = 1 if b == _HASH else 2
    if kind == 2:
        if n < lines.shape[0]:
            lines[n] = line
        n += 1
    return n
