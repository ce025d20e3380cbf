"""Tables over many levels of which no process holds more than a range: others ask that process.

A process is the *directory* of a range of rows, of sorted keys, or of levels. The others send it what they use and get
the answer in their own order. All functions are **Collective**; memory and messages are those of what a process uses
and of its own range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.partitions.agree import agreed
from henderson.partitions.communicator import Array, Communicator
from henderson.partitions.threads import even_bounds

SAMPLES = 64  # keys of each process by which the ranges of keys are chosen


def fetch_rows(
    rows: NDArray[np.integer[Any]], n_rows: int, read: Callable[[NDArray[np.int64]], Array], communicator: Communicator
) -> Array:
    """Return the values of `rows` (ascending) of a table of `n_rows`; `read(rows)` gives those of a process's range.

    Every row is read by one process only, whoever asks for it.
    """
    mine = np.asarray(rows, np.int64)
    cuts = np.searchsorted(mine, even_bounds(n_rows, communicator.size)[1:-1])
    asked = communicator.all_to_all(np.split(mine, cuts))
    distinct, position = np.unique(np.concatenate(asked), return_inverse=True)
    values = agreed(communicator, lambda: read(distinct))[position.reshape(-1)]
    return np.concatenate(communicator.all_to_all(_like(asked, values)))


@dataclass(frozen=True)
class Numbering:
    """Numbers of distinct keys of all processes in sorted order.

    numbers: int64, of the keys of this process; total: how many there are; held: the keys of this process's range,
    sorted, the first of which has number `first`.
    """

    numbers: NDArray[np.int64]
    total: int
    held: Array
    first: int


def number_keys(keys: Array, communicator: Communicator) -> Numbering:
    """Return the place of each key among the distinct keys of all processes, sorted.

    `keys`: int64 or bytes of one width on all processes, distinct, ascending. The ranges are chosen by regular samples
    of every process (Shi & Schaeffer 1992).
    """
    size = communicator.size
    chosen = keys[np.linspace(0, len(keys) - 1, min(len(keys), SAMPLES)).astype(np.int64)] if len(keys) else keys
    samples = np.sort(communicator.gather_rows(chosen))
    splitters = samples[[len(samples) * k // size for k in range(1, size)]] if len(samples) else samples
    cuts = np.searchsorted(keys, splitters) if len(samples) else np.zeros(size - 1, np.int64)
    asked = communicator.all_to_all(np.split(keys, cuts))
    held = np.unique(np.concatenate(asked))
    counts = communicator.gather_all(len(held))
    first = sum(counts[: communicator.rank])
    answers = [first + np.searchsorted(held, part).astype(np.int64) for part in asked]
    return Numbering(np.concatenate(communicator.all_to_all(answers)), sum(counts), held, first)


def lowest_users(levels: NDArray[np.int32], n_levels: int, communicator: Communicator) -> NDArray[np.int32]:
    """Return the lowest rank that uses each of `levels` (distinct, any order)."""
    bounds = even_bounds(n_levels, communicator.size)
    order = np.argsort(levels, kind="stable")
    ordered = levels[order]
    asked = communicator.all_to_all(np.split(ordered, np.searchsorted(ordered, bounds[1:-1])))
    start, stop = bounds[communicator.rank], bounds[communicator.rank + 1]
    lowest = np.full(stop - start, communicator.size, np.int32)
    for rank in range(communicator.size - 1, -1, -1):
        lowest[asked[rank] - start] = rank
    answers = communicator.all_to_all([lowest[part - start] for part in asked])
    out = np.empty(len(levels), np.int32)
    out[order] = np.concatenate(answers)
    return out


def _like(parts: list[Array], values: Array) -> list[Array]:
    """Return `values` split into parts as long as `parts`."""
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1])
