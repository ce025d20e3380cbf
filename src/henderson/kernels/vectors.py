"""Vector passes of PCG and the copies of an exchange: each reads and writes every element once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit


@jit
def dot(
    n: int,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
) -> float:
    """Return a'b over the first `n` elements, summed in eight fixed strands (fast, and the same in every run)."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = n - n % 8
    for i in range(0, whole, 8):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        s4 += a[i + 4] * b[i + 4]
        s5 += a[i + 5] * b[i + 5]
        s6 += a[i + 6] * b[i + 6]
        s7 += a[i + 7] * b[i + 7]
    for i in range(whole, n):
        s0 += a[i] * b[i]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@jit
def advance(
    n: int,
    alpha: float,
    beta: float,
    z: NDArray[np.float64],
    p: NDArray[np.float64],
    x: NDArray[np.float64],
) -> tuple[float, float]:
    """Set x += alpha p, then p = z + beta p; return (p'p, x'x)."""
    p0 = p1 = p2 = p3 = x0 = x1 = x2 = x3 = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        x[i] += alpha * p[i]
        x[i + 1] += alpha * p[i + 1]
        x[i + 2] += alpha * p[i + 2]
        x[i + 3] += alpha * p[i + 3]
        p[i] = z[i] + beta * p[i]
        p[i + 1] = z[i + 1] + beta * p[i + 1]
        p[i + 2] = z[i + 2] + beta * p[i + 2]
        p[i + 3] = z[i + 3] + beta * p[i + 3]
        p0 += p[i] * p[i]
        p1 += p[i + 1] * p[i + 1]
        p2 += p[i + 2] * p[i + 2]
        p3 += p[i + 3] * p[i + 3]
        x0 += x[i] * x[i]
        x1 += x[i + 1] * x[i + 1]
        x2 += x[i + 2] * x[i + 2]
        x3 += x[i + 3] * x[i + 3]
    for i in range(whole, n):
        x[i] += alpha * p[i]
        p[i] = z[i] + beta * p[i]
        p0 += p[i] * p[i]
        x0 += x[i] * x[i]
    return (p0 + p1) + (p2 + p3), (x0 + x1) + (x2 + x3)


@jit
def lessen(n: int, alpha: float, q: NDArray[np.float64], r: NDArray[np.float64]) -> float:
    """Set r -= alpha q and return r'r, summed in eight strands like `dot`."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = n - n % 8
    for i in range(0, whole, 8):
        r[i] -= alpha * q[i]
        r[i + 1] -= alpha * q[i + 1]
        r[i + 2] -= alpha * q[i + 2]
        r[i + 3] -= alpha * q[i + 3]
        r[i + 4] -= alpha * q[i + 4]
        r[i + 5] -= alpha * q[i + 5]
        r[i + 6] -= alpha * q[i + 6]
        r[i + 7] -= alpha * q[i + 7]
        s0 += r[i] * r[i]
        s1 += r[i + 1] * r[i + 1]
        s2 += r[i + 2] * r[i + 2]
        s3 += r[i + 3] * r[i + 3]
        s4 += r[i + 4] * r[i + 4]
        s5 += r[i + 5] * r[i + 5]
        s6 += r[i + 6] * r[i + 6]
        s7 += r[i + 7] * r[i + 7]
    for i in range(whole, n):
        r[i] -= alpha * q[i]
        s0 += r[i] * r[i]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@jit
def step(
    n: int,
    alpha: float,
    p: NDArray[np.float64],
    x: NDArray[np.float64],
) -> float:
    """Set x += alpha p and return the largest |alpha p|."""
    largest = 0.0
    for i in range(n):
        change = alpha * p[i]
        x[i] += change
        largest = max(largest, abs(change))
    return largest


@jit
def subtract(
    n: int,
    b: NDArray[np.float64],
    product: NDArray[np.float64],
    r: NDArray[np.float64],
) -> float:
    """Set r = b - product and return r'r."""
    total = 0.0
    for i in range(n):
        r[i] = b[i] - product[i]
        total += r[i] * r[i]
    return total


@jit
def blank(
    elements: NDArray[np.uint32],
    y: NDArray[np.float64],
) -> None:
    """Set y[elements] = 0: equations that are left out."""
    for k in range(elements.size):
        y[elements[k]] = 0.0


@jit
def copy_to_ghosts(
    source: NDArray[np.float64],
    owned: NDArray[np.uint32],
    ghosts: NDArray[np.uint32],
    target: NDArray[np.float64],
) -> None:
    """Set target[ghosts] = source[owned]."""
    for k in range(owned.size):
        target[ghosts[k]] = source[owned[k]]


@jit
def add_to_owner(
    source: NDArray[np.float64],
    owned: NDArray[np.uint32],
    ghosts: NDArray[np.uint32],
    target: NDArray[np.float64],
) -> None:
    """Add source[ghosts] to target[owned]."""
    for k in range(owned.size):
        target[owned[k]] += source[ghosts[k]]


@jit
def first_use(
    codes: NDArray[np.int32],
    seen: NDArray[np.bool_],
    order: NDArray[np.int32],
    n_used: int,
) -> int:
    """Append the levels of `codes` not yet `seen` to `order` as they come; return how many it holds now."""
    for k in range(codes.size):
        level = codes[k]
        if level >= 0 and not seen[level]:
            seen[level] = True
            order[n_used] = level
            n_used += 1
    return n_used


@jit
def offsets_by_table(
    codes: NDArray[np.int32],
    table: NDArray[np.uint32],
    null: np.uint32,
    out: NDArray[np.uint32],
) -> None:
    """Set out[k] = table[codes[k]], or `null` where there is no level."""
    for k in range(codes.size):
        level = codes[k]
        out[k] = table[level] if level >= 0 else null


@jit
def offsets_by_range(
    codes: NDArray[np.int32],
    start: int,
    stop: int,
    first_owned: int,
    ghosts: NDArray[np.int32],
    first_ghost: int,
    width: int,
    null: np.uint32,
    out: NDArray[np.uint32],
) -> None:
    """Set out[k] to the element of level codes[k] in start..stop or the sorted `ghosts`, `null` if negative."""
    for k in range(codes.size):
        level = codes[k]
        if level < 0:
            out[k] = null
        elif start <= level < stop:
            out[k] = np.uint32(first_owned + (level - start) * width)
        else:
            low = 0
            high = ghosts.size
            while low < high:
                middle = (low + high) >> 1
                if ghosts[middle] < level:
                    low = middle + 1
                else:
                    high = middle
            out[k] = np.uint32(first_ghost + low * width)


@jit
def count_codes(codes: NDArray[np.unsignedinteger[Any]], out: NDArray[np.int64]) -> None:
    """Add to out[k] how often k is among `codes`."""
    for i in range(codes.size):
        out[codes[i]] += 1
