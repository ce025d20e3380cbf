"""Where individuals and records are cut: contiguous ranges of the store order with about equal work."""

from __future__ import annotations

from collections.abc import Sequence

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
    total = n_levels + ratio * len(home)
    levels = [0]
    for k in range(1, n_parts):
        share = total * k / n_parts
        low, high = levels[-1], n_levels
        while low < high:
            middle = (low + high) // 2
            if middle + ratio * int(np.searchsorted(home, middle)) < share:
                low = middle + 1
            else:
                high = middle
        levels.append(low)
    levels.append(n_levels)
    records = [0, *(int(np.searchsorted(home, level)) for level in levels[1:-1]), len(home)]
    return levels, records


def cut_evenly(sizes: Sequence[int], n_parts: int) -> list[list[int]]:
    """Return even bounds for each of `sizes`."""
    return [list(even_bounds(n, n_parts)) for n in sizes]
