"""The structure of a sparse Cholesky factor: elimination tree, counts, fronts of merged columns, their rows.

Columns with the same rows are one front (a supernode); fronts are merged further where the time that fewer assemblies
save is more than the zeros cost (as in Ashcraft & Grimes 1989, with a model of the time in place of a share of zeros).
Patterns are symmetric, both triangles, rows and
columns already in the order of elimination.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

LARGE = 5e5  # work of a front, width * size**2, above which BLAS is quicker than a compiled loop
# Seconds on one core of 2024, factorisation and inverse together: only their ratios matter.
PER_FRONT, PER_CALL = 1e-6, 6e-5  # a front; a front that is left to BLAS
PER_ELEMENT = 6e-9  # of the square of its size: assembly, stacks
PER_WORK_LOOP, PER_WORK_BLAS = 1.2e-9, 8e-11  # of width * size**2


@jit
def tree_and_counts(indptr: Ints, indices: Rows) -> tuple[Ints, Ints]:
    """Return the parent of each column (-1: none) and its number of rows below the diagonal.

    Liu (1990); cost: that of the non-zeros of the factor.
    """
    n = len(indptr) - 1
    parent = np.full(n, -1, np.int64)
    seen = np.full(n, -1, np.int64)
    counts = np.zeros(n, np.int64)
    for k in range(n):
        seen[k] = k
        for p in range(indptr[k], indptr[k + 1]):
            i = np.int64(indices[p])
            if i >= k:
                continue
            while seen[i] != k:
                seen[i] = k
                counts[i] += 1
                if parent[i] == -1:
                    parent[i] = k
                i = parent[i]
    return parent, counts


@inline
def seconds(width: int, rows: int) -> float:
    """Return the time that a front takes."""
    size = np.float64(width + rows)
    work = width * size * size
    if work > LARGE:
        return PER_FRONT + PER_CALL + PER_ELEMENT * size * size + PER_WORK_BLAS * work
    return PER_FRONT + PER_ELEMENT * size * size + PER_WORK_LOOP * work


@jit
def merge_columns(parent: Ints, counts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the front of each column, named by its last column, and the width and rows of the fronts (by that name).

    First columns whose rows agree, then fronts whose union takes less time.
    """
    n = len(parent)
    owner = np.arange(n)  # the front a column was merged into, followed to its end
    width = np.ones(n, np.int64)
    rows = counts.copy()
    for relaxed in range(2):
        for c in range(n):
            if owner[c] != c or parent[c] < 0:
                continue
            p = parent[c]
            while owner[p] != p:
                p = owner[p]
            extra = width[c] * (width[p] + rows[p] - rows[c])
            accept = extra == 0
            if relaxed == 1 and not accept:
                apart = seconds(width[c], rows[c]) + seconds(width[p], rows[p])
                accept = seconds(width[c] + width[p], rows[p]) < apart
            if accept:
                owner[c] = p
                width[p] += width[c]
    for c in range(n - 1, -1, -1):
        owner[c] = owner[owner[c]]
    return owner, width, rows


@jit
def order_fronts(parent: Ints, owner: Ints, width: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Return the fronts (by name) with children before parents, and the parent front of each (by name, -1: none).

    Among children those come first that leave the most of the stack behind them (Liu 1986).
    """
    n = len(parent)
    up = np.full(n, -1, np.int64)
    child = np.full(n, -1, np.int64)
    sibling = np.full(n, -1, np.int64)
    peak = np.zeros(n)
    count = 0
    for c in range(n):
        if owner[c] == c:
            count += 1
            if parent[c] >= 0:
                up[c] = owner[parent[c]]
    for f in range(n):
        if owner[f] != f:
            continue
        size = 0
        k = child[f]
        while k >= 0:
            size += 1
            k = sibling[k]
        if size > 0:
            members = np.empty(size, np.int64)
            key = np.empty(size)
            k = child[f]
            for a in range(size):
                members[a] = k
                key[a] = peak[k] - np.float64(rows[k]) ** 2
                k = sibling[k]
            ascending = np.argsort(key)
            held = 0.0
            head = np.int64(-1)
            for a in range(size):
                k = members[ascending[size - 1 - a]]
                peak[f] = max(peak[f], held + peak[k])
                held += np.float64(rows[k]) ** 2
            for a in range(size):
                k = members[ascending[a]]
                sibling[k] = head
                head = k
            child[f] = head
            peak[f] = max(peak[f], held + np.float64(rows[f]) ** 2)
        else:
            peak[f] = np.float64(rows[f]) ** 2
        if up[f] >= 0:
            sibling[f] = child[up[f]]
            child[up[f]] = f
    order = np.empty(count, np.int64)
    at = 0
    for root in range(n):
        if owner[root] != root or up[root] >= 0:
            continue
        f = root
        while child[f] >= 0:
            f = child[f]
        while True:
            order[at] = f
            at += 1
            if f == root:
                break
            if sibling[f] >= 0:
                f = sibling[f]
                while child[f] >= 0:
                    f = child[f]
            else:
                f = up[f]
    return order, up


@inline
def add_rows(more: Rows, high: int, f: int, seen: Ints, found: Rows, at: int) -> int:
    """Append the rows from `high` on that front `f` has not `seen` to `found` at `at`; return the new end."""
    for i in more:
        if i >= high and seen[i] != f:
            seen[i] = f
            found[at] = i
            at += 1
    return at


@jit
def front_rows(indptr: Ints, indices: Rows, first: Ints, up: Ints, start: Ints) -> Rows:
    """Return the rows below each front's own columns, sorted: those of front f are start[f]..start[f + 1].

    first: first column of each front, and n; up: parent front or -1.
    """
    n = len(indptr) - 1
    n_fronts = len(first) - 1
    found = np.empty(start[n_fronts], np.int32)
    seen = np.full(n, -1, np.int64)
    child = np.full(n_fronts, -1, np.int64)
    sibling = np.full(n_fronts, -1, np.int64)
    for f in range(n_fronts):
        low = first[f]
        high = first[f + 1]
        at = start[f]
        for j in range(low, high):
            at = add_rows(indices[indptr[j] : indptr[j + 1]], high, f, seen, found, at)
        c = child[f]
        while c >= 0:
            at = add_rows(found[start[c] : start[c + 1]], high, f, seen, found, at)
            c = sibling[c]
        found[start[f] : at] = np.sort(found[start[f] : at])
        if at != start[f + 1]:
            raise ValueError("the rows of a front do not agree with their count")
        if up[f] >= 0:
            sibling[f] = child[up[f]]
            child[up[f]] = f
    return found


@jit
def relative_rows(rows: Rows, start: Ints, first: Ints, up: Ints) -> Rows:
    """Return where each row of a front lies in its parent: its columns first, then its rows."""
    relative = np.empty(len(rows), np.int32)
    for f in range(len(up)):
        p = up[f]
        if p < 0:
            continue
        width = first[p + 1] - first[p]
        at = start[p]
        for k in range(start[f], start[f + 1]):
            i = rows[k]
            if i < first[p + 1]:
                relative[k] = i - first[p]
            else:
                while rows[at] != i:
                    at += 1
                relative[k] = width + at - start[p]
    return relative


@jit
def entry_places(
    indptr: Ints, indices: Rows, position: Ints, first: Ints, front: Ints, rows: Rows, start: Ints, panel: Ints
) -> Ints:
    """Return where each element of the lower triangle (CSC, in the caller's order) lies in the panels of the factor.

    position: place of each row in the order of elimination; front: front of each column in that order.
    """
    places = np.empty(len(indices), np.int64)
    for j in range(len(indptr) - 1):
        for p in range(indptr[j], indptr[j + 1]):
            a = position[indices[p]]
            b = position[j]
            column = min(a, b)
            row = max(a, b)
            f = front[column]
            width = first[f + 1] - first[f]
            c = column - first[f]
            if row < first[f + 1]:
                places[p] = panel[f] + c * width + row - first[f]
                continue
            low = start[f]
            high = start[f + 1]
            while high - low > 1:
                middle = (low + high) // 2
                if rows[middle] <= row:
                    low = middle
                else:
                    high = middle
            m = start[f + 1] - start[f]
            places[p] = panel[f] + width * width + c * m + low - start[f]
    return places


@jit
def stack_sizes(first: Ints, start: Ints, up: Ints) -> tuple[int, int]:
    """Return the largest number of elements on the stack of updates, and on that of the inverse."""
    n_fronts = len(up)
    children = np.zeros(n_fronts, np.int64)
    held = np.zeros(n_fronts, np.int64)
    now = np.int64(0)
    most = np.int64(0)
    for f in range(n_fronts):
        m = start[f + 1] - start[f]
        most = max(most, now + m * m)
        now += m * m - held[f]
        if up[f] >= 0:
            held[up[f]] += m * m
            children[up[f]] += 1
    left = children.copy()
    at = np.zeros(n_fronts + 1, np.int64)  # where the block of a front begins
    top = np.int64(0)
    most_inverse = np.int64(0)
    for f in range(n_fronts - 1, -1, -1):
        w = first[f + 1] - first[f]
        m = start[f + 1] - start[f]
        size = w * w + w * m + m * m
        at[f] = top
        most_inverse = max(most_inverse, top + size)
        p = up[f]
        if p >= 0:
            left[p] -= 1
            if left[p] == 0:
                at[f] = at[p]  # moved down over its parent, which nobody needs any more
        top = at[f] + size if children[f] > 0 else at[f]
    return int(most), int(most_inverse)
