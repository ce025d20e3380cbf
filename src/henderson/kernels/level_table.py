"""Tables of the few levels that a process uses of very many: open addressing, so that memory goes with the few.

A slot is 0 when free, else the place of the level plus one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.hashing import mix
from henderson.kernels.jit import jit


@jit
def first_use(
    codes: NDArray[np.int32],
    slots: NDArray[np.int32],
    order: NDArray[np.int32],
    n_used: int,
) -> int:
    """Append the levels of `codes` not yet in the table to `order` as they come; return how many it holds now.

    Negative codes are skipped. The caller provides for a free slot, and room in `order`, for every code.
    """
    mask = np.uint64(slots.shape[0] - 1)
    for k in range(codes.size):
        level = codes[k]
        if level < 0:
            continue
        s = mix(np.uint64(level)) & mask
        while slots[s] != 0 and order[slots[s] - 1] != level:
            s = (s + np.uint64(1)) & mask
        if slots[s] == 0:
            order[n_used] = level
            n_used += 1
            slots[s] = n_used
    return n_used


@jit
def offsets(
    codes: NDArray[np.int32],
    slots: NDArray[np.int32],
    levels: NDArray[np.int32],
    elements: NDArray[np.uint32],
    null: np.uint32,
    out: NDArray[np.uint32],
) -> None:
    """Set out[k] to the element of level codes[k], `null` where it is negative or not among `levels` of the table."""
    mask = np.uint64(slots.shape[0] - 1)
    for k in range(codes.size):
        level = codes[k]
        out[k] = null
        if level < 0:
            continue
        s = mix(np.uint64(level)) & mask
        while slots[s] != 0:
            place = slots[s] - 1
            if levels[place] == level:
                out[k] = elements[place]
                break
            s = (s + np.uint64(1)) & mask
