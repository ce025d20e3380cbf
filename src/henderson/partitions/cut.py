"""Where individuals and records are cut: contiguous ranges of the store order with about equal work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from henderson.partitions.threads import even_bounds


def is_sorted(codes: NDArray[np.int32]) -> bool:
    """Return whether `codes` never decrease, so that records can live with their animals."""
    return bool(len(codes) == 0 or np.all(codes[1:] >= codes[:-1]))


def cut_with_home(
    n_levels: int, home: NDArray[np.int32], n_parts: int, ratio: float = 1.0
) -> tuple[list[int], list[int]]:
    """Return the bounds of individuals and of records, both of length n_parts + 1.

    `home` holds the individual of each record and never decreases. A cut is put where (individuals so far) + `ratio` *
    (records so far) reaches an equal share; a record is always in the part of its individual. Records without one
    (negative) come first.
    """

    def below(level: int, low: int, high: int) -> int:
        return low + int(np.searchsorted(home[low:high], level))

    inner = [cut_at(k, n_parts, n_levels, len(home), below, ratio) for k in range(1, n_parts)]
    return [0, *(level for level, _ in inner), n_levels], [0, *(record for _, record in inner), len(home)]


def cut_at(
    part: int,
    n_parts: int,
    n_levels: int,
    n_records: int,
    below: Callable[[int, int, int], int],
    ratio: float = 1.0,
) -> tuple[int, int]:
    """Return the individual and the record where `part` of `n_parts` begins.

    below(level, low, high) gives the number of records before the first of `level`, known to be in low..high: all that
    is asked of the records, so that they can stay in the store.
    """
    work = (n_levels + ratio * n_records) * part / n_parts
    low, high, first, last = 0, n_levels, 0, n_records
    while low < high:
        middle = (low + high) // 2
        at = below(middle, first, last)
        if middle + ratio * at < work:
            low, first = middle + 1, at
        else:
            high, last = middle, at
    return low, below(low, first, last)


def cut_evenly(sizes: Sequence[int], n_parts: int) -> list[list[int]]:
    """Return even bounds for each of `sizes`."""
    return [list(even_bounds(n, n_parts)) for n in sizes]
