"""Generations of individuals, and functions of them: what changes slowly along a pedigree.

The generation is 1 + the mean of those of the known parents, 0 without any. Tables (n_knots, width) hold a value for
each knot, evenly spaced from 0 to `top`, and position of a level; between knots they are linear, beyond the last
constant. Levels of negative generation have none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import index, inline, jit


@jit
def mean_generations(
    animals: NDArray[np.int32],
    width: int,
    first: int,
    null: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    y: NDArray[np.float64],
) -> None:
    """Set the first element of `animals`, the last first, to their generation."""
    for k in range(animals.size - 1, -1, -1):
        i = animals[k]
        total, n_known = 0.0, 0
        for p in (int(sire[i]), int(dam[i])):
            if p != null:
                total += y[p]
                n_known += 1
        y[first + i * width] = 1.0 + total / n_known if n_known else 0.0


@inline
def place_of(generation: float, top: float, n_knots: int) -> tuple[int, float]:
    """Return the knot before, and how far it is to the next, from 0 to 1."""
    if n_knots < 2 or top <= 0.0:
        return 0, 0.0
    at = min(generation / top, 1.0) * (n_knots - 1)
    knot = min(int(at), n_knots - 2)
    return knot, at - knot


@jit
def sum_by_knot(
    generation: NDArray[np.float32],
    top: float,
    width: int,
    first: int,
    y: NDArray[np.float64],
    table: NDArray[np.float64],
) -> None:
    """Add Z'y to `table`: each level counts at its knots."""
    n_knots = table.shape[0]
    for i in range(generation.size):
        if generation[i] < 0.0:
            continue
        knot, share = place_of(generation[i], top, n_knots)
        at = index(first + i * width)
        for t in range(index(width)):
            table[knot, t] += (1.0 - share) * y[at + t]
        if share > 0.0:
            for t in range(index(width)):
                table[knot + 1, t] += share * y[at + t]


@jit
def add_by_knot(
    generation: NDArray[np.float32],
    top: float,
    width: int,
    first: int,
    table: NDArray[np.float64],
    z: NDArray[np.float64],
) -> None:
    """Add Z times `table` to z: each level gets the value of its generation."""
    n_knots = table.shape[0]
    for i in range(generation.size):
        if generation[i] < 0.0:
            continue
        knot, share = place_of(generation[i], top, n_knots)
        after = min(knot + 1, n_knots - 1)
        at = index(first + i * width)
        for t in range(index(width)):
            z[at + t] += (1.0 - share) * table[knot, t] + share * table[after, t]
