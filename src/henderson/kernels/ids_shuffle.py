"""The external sort of the records: count by home, deal rows to shards, sort a shard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


@jit
def count_homes(
    home: NDArray[np.int32], key: NDArray[np.int32], counts: NDArray[np.int64], first_key: NDArray[np.int32]
) -> None:
    """Add the records of one block to `counts` (n_homes + 1,), the last for records without a home (home < 0).

    first_key (n_homes,) gets the first key that is not missing (< 0) of each home, in the order of the calls; `key`
    may be empty if no keys are wanted.
    """
    last = counts.shape[0] - 1
    for i in range(home.shape[0]):
        h = home[i]
        counts[h if h >= 0 else last] += 1
        if h >= 0 and key.shape[0] > 0 and first_key[h] < 0 and key[i] >= 0:
            first_key[h] = key[i]


@jit
def count_split(home: NDArray[np.int32], shard_of: NDArray[np.int32], counts: NDArray[np.int64]) -> None:
    """Add to `counts` (n_split,) the records of the homes that are split over shards.

    Shard_of[home] = -1 - split number.
    """
    last = shard_of.shape[0] - 1
    for i in range(home.shape[0]):
        s = shard_of[home[i] if home[i] >= 0 else last]
        if s < 0:
            counts[-1 - s] += 1


@jit
def deal(
    home: NDArray[np.int32],
    shard_of: NDArray[np.int32],
    position: NDArray[np.int64],
    shard_rows: int,
    shard: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Write into `shard` (n,) the shard of each record, and add to `counts` (n_shards,) how many go to each.

    A home lies whole in one shard, ``shard_of[home]``, or is one of the few split ones, whose next free place in the
    order of all records is ``position[split]``; it is advanced.
    """
    last = shard_of.shape[0] - 1
    for i in range(home.shape[0]):
        s = shard_of[home[i] if home[i] >= 0 else last]
        if s < 0:
            p = position[-1 - s]
            position[-1 - s] = p + 1
            s = p // shard_rows
        shard[i] = s
        counts[s] += 1


@jit
def places_in(shard: NDArray[np.int32], start: NDArray[np.int64], place: NDArray[np.int64]) -> None:
    """Set `place` (n,): where each record of a block stands in the order of its shard, then row.

    ``start[s]`` is where shard s begins; it is advanced.
    """
    for i in range(shard.shape[0]):
        place[i] = start[shard[i]]
        start[shard[i]] += 1


@jit
def scatter_column(place: NDArray[np.int64], column: NDArray[np.generic], out: NDArray[np.generic], k: int) -> None:
    """Set ``out[place, k]`` to `column` (n,); `out` has one row a record."""
    for i in range(place.shape[0]):
        out[place[i], k] = column[i]


@jit
def stable_order(key: NDArray[np.int32], low: int, counts: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Write into `order` (n,) the stable order of `key`, whose values are low .. low + len(counts) - 2.

    `counts` start at 0.

    Cost: 16 bytes a record, 8 a value.
    """
    for i in range(key.shape[0]):
        counts[key[i] - low + 1] += 1
    for k in range(1, counts.shape[0]):
        counts[k] += counts[k - 1]
    for i in range(key.shape[0]):
        p = counts[key[i] - low]
        counts[key[i] - low] = p + 1
        order[p] = i


@jit
def gather_column(order: NDArray[np.int64], rows: NDArray[np.generic], k: int, out: NDArray[np.generic]) -> None:
    """Set `out` (n,) to column k of ``rows[order]``."""
    for i in range(order.shape[0]):
        out[i] = rows[order[i], k]


@jit
def remap(codes: NDArray[np.int32], table: NDArray[np.int32]) -> None:
    """Replace every code >= 0 by ``table[code]``; others stay."""
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            codes[i] = table[codes[i]]
