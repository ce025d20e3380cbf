"""Multifrontal Cholesky factorisation C = U'U (Duff & Reid 1983; Liu 1992): small fronts here, large ones by BLAS.

The panel of front f, with w own columns and m rows below, holds U11 (w, w) and U12 (w, m), each row by row; its update
S (m, m), upper triangle row by row, waits on a stack for the parent. The caller zeroes the panels, puts the values of C
into them, and calls `factor_fronts` again and again: it returns at every front whose work is above `large`, after
assembly, so that the dense part can be left to BLAS.

state: int64 (6,): next front, 1 if a large front is to be resumed, top of the stack, number of waiting updates, where
the update of the current front lies, failed front + 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@inline
def eliminate(w: int, m: int, u11: Floats, u12: Floats, s: Floats) -> bool:
    """Factor a front in place; return whether all pivots are positive."""
    for k in range(w):
        pivot = u11[k * w + k]
        if not pivot > 0.0:
            return False
        pivot = np.sqrt(pivot)
        u11[k * w + k] = pivot
        scale = 1.0 / pivot
        for j in range(k + 1, w):
            u11[k * w + j] *= scale
        for j in range(m):
            u12[k * m + j] *= scale
        for i in range(k + 1, w):
            value = u11[k * w + i]
            if value != 0.0:
                for j in range(i, w):
                    u11[i * w + j] -= value * u11[k * w + j]
                for j in range(m):
                    u12[i * m + j] -= value * u12[k * m + j]
    for i in range(m):
        for k in range(w):
            value = u12[k * m + i]
            if value != 0.0:
                for j in range(i, m):
                    s[i * m + j] -= value * u12[k * m + j]
    return True


@inline
def extend_add(w: int, m: int, size: int, relative: Rows, update: Floats, u11: Floats, u12: Floats, s: Floats) -> None:
    """Add the update (size, size) of a child to a front; `relative` says where its rows lie there."""
    inside = 0
    while inside < size and relative[inside] < w:
        inside += 1
    for i in range(inside):
        row = relative[i]
        for j in range(i, inside):
            u11[row * w + relative[j]] += update[i * size + j]
        for j in range(inside, size):
            u12[row * m + relative[j] - w] += update[i * size + j]
    for i in range(inside, size):
        row = (relative[i] - w) * np.int64(m) - w
        for j in range(i, size):
            s[row + relative[j]] += update[i * size + j]


@jit
def factor_fronts(
    first: Ints,
    start: Ints,
    relative: Rows,
    panel: Ints,
    n_children: Ints,
    panels: Floats,
    stack: Floats,
    waiting: Ints,
    place: Ints,
    state: Ints,
    large: float,
) -> int:
    """Factor fronts from state[0] on; return the front whose dense part the caller has to do, or the number of fronts.

    waiting, place: int64 (n_fronts,), scratch: the updates that wait, and where they lie.
    """
    n_fronts = len(n_children)
    f = state[0]
    resumed = state[1] == 1
    top = state[2]
    n_waiting = state[3]
    while f < n_fronts:
        w = first[f + 1] - first[f]
        m = start[f + 1] - start[f]
        if not resumed:
            here = top
            s = stack[here : here + m * m]
            s[:] = 0.0
            u11 = panels[panel[f] : panel[f] + w * w]
            u12 = panels[panel[f] + w * w : panel[f] + w * w + w * m]
            for k in range(n_waiting - n_children[f], n_waiting):
                c = waiting[k]
                size = start[c + 1] - start[c]
                update = stack[place[k] : place[k] + size * size]
                extend_add(w, m, size, relative[start[c] : start[c + 1]], update, u11, u12, s)
            if np.float64(w) * (w + m) * (w + m) > large:
                state[0] = f
                state[1] = 1
                state[2] = top
                state[3] = n_waiting
                state[4] = here
                return int(f)
            if not eliminate(w, m, u11, u12, s):
                state[5] = f + 1
                return n_fronts
        else:
            here = state[4]
            resumed = False
        n_waiting -= n_children[f]
        if n_children[f] > 0:
            top = place[n_waiting]
        if m > 0 and here > top:
            for k in range(m * m):
                stack[top + k] = stack[here + k]
        waiting[n_waiting] = f
        place[n_waiting] = top
        n_waiting += 1
        top += m * m
        f += 1
    state[0] = f
    state[1] = 0
    return n_fronts


@inline
def dot(a: Floats, b: Floats, n: int) -> float:
    """Return the inner product of the first n elements, four sums side by side."""
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    s3 = 0.0
    k = 0
    while k + 4 <= n:
        s0 += a[k] * b[k]
        s1 += a[k + 1] * b[k + 1]
        s2 += a[k + 2] * b[k + 2]
        s3 += a[k + 3] * b[k + 3]
        k += 4
    while k < n:
        s0 += a[k] * b[k]
        k += 1
    return (s0 + s1) + (s2 + s3)


@jit
def solve(first: Ints, start: Ints, rows: Rows, panel: Ints, panels: Floats, x: Floats) -> None:
    """Solve U'U x = b in place for each row of `x` (k, n), in the order of elimination."""
    n_fronts = len(panel) - 1
    longest = 0
    for f in range(n_fronts):
        longest = max(longest, start[f + 1] - start[f])
    t = np.empty(longest)
    for r in range(x.shape[0]):
        y = x[r]
        for f in range(n_fronts):
            w = first[f + 1] - first[f]
            m = start[f + 1] - start[f]
            a = panel[f]
            b = a + w * w
            t[:m] = 0.0
            for k in range(w):
                value = y[first[f] + k] / panels[a + k * w + k]
                y[first[f] + k] = value
                for j in range(k + 1, w):
                    y[first[f] + j] -= value * panels[a + k * w + j]
                for j in range(m):
                    t[j] += value * panels[b + k * m + j]
            for j in range(m):
                y[rows[start[f] + j]] -= t[j]
        for f in range(n_fronts - 1, -1, -1):
            w = first[f + 1] - first[f]
            m = start[f + 1] - start[f]
            a = panel[f]
            b = a + w * w
            for j in range(m):
                t[j] = y[rows[start[f] + j]]
            for k in range(w - 1, -1, -1):
                value = y[first[f] + k] - dot(panels[b + k * m : b + (k + 1) * m], t, m)
                value -= dot(panels[a + k * w + k + 1 : a + (k + 1) * w], y[first[f] + k + 1 : first[f + 1]], w - k - 1)
                y[first[f] + k] = value / panels[a + k * w + k]


@jit
def log_diagonal(first: Ints, panel: Ints, panels: Floats) -> float:
    """Return the log-determinant of U'U."""
    total = 0.0
    for f in range(len(panel) - 1):
        w = first[f + 1] - first[f]
        for k in range(w):
            total += np.log(panels[panel[f] + k * w + k])
    return 2.0 * total
