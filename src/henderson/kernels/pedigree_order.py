"""Kernels on the order of a pedigree: generation numbers, counting sorts, keys passed among relatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit

_UNSEEN = -1
_OPEN = -2


@jit
def generation_numbers(sire: NDArray[np.int32], dam: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """Return the generation of every animal, int32 (n,), and the number of loops met.

    The generation is 0 without known parents, else 1 + the larger of the parents'.
    Depth-first search up the parents with the stack kept as one link per animal, so the rows may have any order and the
    depth any value. A parent that is still open closes a loop: it is counted, passed over, and the numbers of the
    animals in and below the loop mean nothing.

    sire, dam: int32 (n,), row or -1. Cost: each animal is opened and closed once, 8 n bytes; rows in topological order
    are one streaming pass.
    """
    n = len(sire)
    generation = np.full(n, _UNSEEN, dtype=np.int32)
    below = np.empty(n, dtype=np.int32)
    n_loops = 0
    for start in range(n):
        if generation[start] != _UNSEEN:
            continue
        animal = start
        generation[animal] = _OPEN
        below[animal] = -1
        while animal >= 0:
            s = sire[animal]
            if s >= 0 and generation[s] == _UNSEEN:
                generation[s] = _OPEN
                below[s] = animal
                animal = s
                continue
            d = dam[animal]
            if d >= 0 and generation[d] == _UNSEEN:
                generation[d] = _OPEN
                below[d] = animal
                animal = d
                continue
            number = 0
            if s >= 0:
                if generation[s] == _OPEN:
                    n_loops += 1
                else:
                    number = generation[s] + 1
            if d >= 0:
                if generation[d] == _OPEN:
                    n_loops += 1
                else:
                    number = max(number, generation[d] + 1)
            generation[animal] = number
            animal = below[animal]
    return generation, n_loops


@jit
def counting_order(key: NDArray[np.int64], rows: NDArray[np.int64], n_keys: int) -> NDArray[np.int64]:
    """Return `rows` sorted by ``key[row]`` (0 <= key < n_keys), equal keys in the order given. Cost: O(n + n_keys)."""
    place = np.zeros(n_keys + 1, dtype=np.int64)
    for row in rows:
        place[key[row] + 1] += 1
    for k in range(n_keys):
        place[k + 1] += place[k]
    order = np.empty_like(rows)
    for row in rows:
        k = key[row]
        order[place[k]] = row
        place[k] += 1
    return order


@jit
def maternal_lines(
    sire: NDArray[np.int32], dam: NDArray[np.int32], topological_order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the row of each animal's earliest known ancestor in the female line; -1 for sires without a dam.

    An animal without a dam founds a line of its own unless it is a sire: sires found no line, they join one later.
    """
    n = len(sire)
    founds = np.ones(n, dtype=np.bool_)
    for animal in range(n):
        if sire[animal] >= 0:
            founds[sire[animal]] = False
    for animal in range(n):
        if dam[animal] >= 0:
            founds[dam[animal]] = True
    line = np.full(n, -1, dtype=np.int64)
    for animal in topological_order:
        if dam[animal] >= 0:
            line[animal] = line[dam[animal]]
        elif founds[animal]:
            line[animal] = animal
    return line


@jit
def spread_keys(
    key: NDArray[np.int64], sire: NDArray[np.int32], dam: NDArray[np.int32], topological_order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return `key` with gaps (negative) filled from the first progeny that has one, else from the dam, else the sire.

    The first progeny is that of lowest generation, then row. Parents pass on what they took from their progeny. Animals
    without any keyed relative of that kind keep -1. Cost: two passes, O(n).
    """
    filled = key.copy()
    for place in range(len(topological_order) - 1, -1, -1):
        animal = topological_order[place]
        k = filled[animal]
        if k < 0:
            continue
        # every progeny stands later in the order, so the last write, which stays, is that of the first progeny
        s = sire[animal]
        if s >= 0 and key[s] < 0:
            filled[s] = k
        d = dam[animal]
        if d >= 0 and key[d] < 0:
            filled[d] = k
    for animal in topological_order:
        if filled[animal] < 0 and dam[animal] >= 0:
            filled[animal] = filled[dam[animal]]
        if filled[animal] < 0 and sire[animal] >= 0:
            filled[animal] = filled[sire[animal]]
    return filled
