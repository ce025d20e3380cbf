"""The elements of C^-1 in the pattern of the factor, front by front from the root to the leaves.

Takahashi, Fagan & Chin (1973), in blocks: with C = U'U, V = U11^-1 U12 and Zrr the inverse at the rows of the front,
which the parent has whole,

    Z12 = -V Zrr,    Z11 = U11^-1 U11^-T - Z12 V'.

A front is kept as Z11 (w, w), Z12 (w, m), Zrr (m, m) on a stack while fronts below it need it. As in `sparse_factor`,
`invert_fronts` returns at large fronts, whose dense part is left to BLAS.

state: int64 (4,): current front, 1 if a large front is to be resumed, top of the stack, where the current front lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit
from henderson.kernels.sparse_factor import dot

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Rows = NDArray[np.int32]


@inline
def gather(w: int, m: int, size: int, relative: Rows, parent: Floats, zrr: Floats) -> None:
    """Set Zrr (size, size) of a front from its parent's, which has w columns and m rows."""
    inside = 0
    while inside < size and relative[inside] < w:
        inside += 1
    u12 = w * w
    urr = w * w + w * m
    for i in range(inside):
        row = np.int64(relative[i])
        for j in range(inside):
            zrr[i * size + j] = parent[row * w + relative[j]]
        for j in range(inside, size):
            value = parent[u12 + row * m + relative[j] - w]
            zrr[i * size + j] = value
            zrr[j * size + i] = value
    for i in range(inside, size):
        row = urr + (np.int64(relative[i]) - w) * m - w
        for j in range(inside, size):
            zrr[i * size + j] = parent[row + relative[j]]


@inline
def invert(w: int, m: int, u11: Floats, u12: Floats, v: Floats, t: Floats, z: Floats) -> None:
    """Set Z11 and Z12 of a front whose Zrr is there; v (w, m) and t (w, w) are scratch."""
    z12 = w * w
    zrr = w * w + w * m
    for k in range(w - 1, -1, -1):
        scale = 1.0 / u11[k * w + k]
        for i in range(m):
            v[k * m + i] = u12[k * m + i]
        for j in range(w):
            t[k * w + j] = 0.0
        t[k * w + k] = 1.0
        for b in range(k + 1, w):
            value = u11[k * w + b]
            if value != 0.0:
                for i in range(m):
                    v[k * m + i] -= value * v[b * m + i]
                for j in range(b, w):
                    t[k * w + j] -= value * t[b * w + j]
        for i in range(m):
            v[k * m + i] *= scale
        for j in range(k, w):
            t[k * w + j] *= scale
    for k in range(w):
        for i in range(m):
            z[z12 + k * m + i] = 0.0
        for b in range(m):
            value = v[k * m + b]
            for i in range(m):
                z[z12 + k * m + i] -= value * z[zrr + b * m + i]
    for k in range(w):
        for b in range(k + 1):
            value = dot(t[k * w + k : (k + 1) * w], t[b * w + k : (b + 1) * w], w - k)
            value -= dot(z[z12 + k * m : z12 + (k + 1) * m], v[b * m : (b + 1) * m], m)
            z[k * w + b] = value
            z[b * w + k] = value


@jit
def invert_fronts(
    first: Ints,
    start: Ints,
    relative: Rows,
    panel: Ints,
    up: Ints,
    n_children: Ints,
    panels: Floats,
    stack: Floats,
    left: Ints,
    place: Ints,
    entries: Ints,
    entry_place: Ints,
    entry_start: Ints,
    out: Floats,
    state: Ints,
    large: float,
) -> int:
    """Invert fronts from state[0] downwards; return the front whose dense part the caller has to do, or -1.

    left: children of each front that are still to come; place: where a front lies; entries: the elements of the
    caller's pattern, sorted by front, those of front f entry_start[f]..entry_start[f + 1], with their places in the
    panels; out: the inverse on that pattern.
    """
    f = state[0]
    resumed = state[1] == 1
    top = state[2]
    widest = 1
    for k in range(len(up)):
        w = first[k + 1] - first[k]
        m = start[k + 1] - start[k]
        if np.float64(w) * (w + m) * (w + m) <= large:
            widest = max(widest, w * max(w, m))
    v = np.empty(widest)
    t = np.empty(widest)
    while f >= 0:
        w = first[f + 1] - first[f]
        m = start[f + 1] - start[f]
        size = w + m
        p = up[f]
        if not resumed:
            here = top
            z = stack[here : here + w * w + w * m + m * m]
            if m > 0:
                wp = first[p + 1] - first[p]
                mp = start[p + 1] - start[p]
                parent = stack[place[p] : place[p] + wp * wp + wp * mp + mp * mp]
                gather(wp, mp, m, relative[start[f] : start[f + 1]], parent, z[w * w + w * m :])
            if np.float64(w) * size * size > large:
                state[0] = f
                state[1] = 1
                state[2] = top
                state[3] = here
                return int(f)
            u11 = panels[panel[f] : panel[f] + w * w]
            u12 = panels[panel[f] + w * w : panel[f] + w * w + w * m]
            invert(w, m, u11, u12, v, t, z)
        else:
            here = state[3]
            resumed = False
        for k in range(entry_start[f], entry_start[f + 1]):
            e = entries[k]
            out[e] = stack[here + entry_place[k] - panel[f]]
        at = here
        if p >= 0:
            left[p] -= 1
            if left[p] == 0:
                at = place[p]  # nobody needs the parent any more
        length = w * w + w * m + m * m
        if n_children[f] > 0:
            if at < here:
                for k in range(length):
                    stack[at + k] = stack[here + k]
            place[f] = at
            top = at + length
        else:
            top = at
        f -= 1
    state[0] = -1
    return -1
