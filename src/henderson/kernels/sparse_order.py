"""Approximate minimum degree: an elimination order of a symmetric matrix that makes little fill.

Amestoy, Davis & Duff (1996, SIAM J. Matrix Anal. Appl. 17:886): quotient graph with element absorption, approximate
external degrees, mass elimination and indistinguishable variables found by hashing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

Ints = NDArray[np.int64]


@inline
def unlink(i: int, degree: Ints, head: Ints, after: Ints, before: Ints) -> None:
    """Take variable `i` out of the list of its degree."""
    if before[i] >= 0:
        after[before[i]] = after[i]
    else:
        head[degree[i]] = after[i]
    if after[i] >= 0:
        before[after[i]] = before[i]


@inline
def link(i: int, degree: Ints, head: Ints, after: Ints, before: Ints) -> None:
    """Put variable `i` in front of the list of its degree."""
    first = head[degree[i]]
    after[i] = first
    before[i] = -1
    if first >= 0:
        before[first] = i
    head[degree[i]] = i


@inline
def take(
    i: int, weight: Ints, space: NDArray[np.int32], end: int, degree: Ints, head: Ints, after: Ints, before: Ints
) -> int:
    """Put variable `i` at `end` of the new element unless it is there already or gone; return its weight, or 0."""
    taken = weight[i]
    if taken <= 0:
        return 0
    weight[i] = -taken
    space[end] = i
    unlink(i, degree, head, after, before)
    return int(taken)


@jit
def compact(space: NDArray[np.int32], start: Ints, length: Ints, alive: NDArray[np.bool_]) -> int:
    """Move the lists that are alive to the front of `space`; return the first free place."""
    live = np.flatnonzero(alive & (length > 0))
    free = 0
    for k in np.argsort(start[live]):
        i = live[k]
        begin = start[i]
        start[i] = free
        for p in range(length[i]):
            space[free] = space[begin + p]
            free += 1
    return free


@jit
def minimum_degree(indptr: Ints, indices: NDArray[np.int32], dense: int) -> Ints:
    """Return the order (n,) in which to eliminate: a permutation of the rows.

    The pattern is that of a symmetric matrix without its diagonal, both triangles. Rows with more than `dense` elements
    come last. Cost: about that of a few passes over the pattern, with logarithmic growth.
    """
    n = len(indptr) - 1
    nnz = indptr[n]
    space = np.empty(nnz + nnz // 4 + 4 * n + 16, np.int32)
    space[:nnz] = indices[:nnz]
    start = indptr[:n].copy()
    length = indptr[1:] - indptr[:n]
    n_elements = np.zeros(n, np.int64)  # how many elements stand before the variables in the list of a variable
    weight = np.ones(n, np.int64)  # rows that a variable stands for; 0 once it is absorbed or eliminated
    alive = np.ones(n, np.bool_)  # its list is in use, as a variable or as an element
    degree = length.copy()
    mark = np.ones(n, np.int64)
    head = np.full(n + 1, -1, np.int64)
    after = np.full(n, -1, np.int64)
    before = np.full(n, -1, np.int64)
    bucket = np.full(n, -1, np.int64)
    chain = np.full(n, -1, np.int64)
    member = np.full(n, -1, np.int64)  # rows that go along with a pivot, as a list
    last = np.arange(n)
    pivots = np.empty(n, np.int64)
    n_pivots = 0
    free = nnz
    eliminated = np.int64(0)
    n_dense = 0
    size = np.int64(0)
    outside = np.int64(0)
    for i in range(n):
        if degree[i] > dense:
            weight[i] = 0
            alive[i] = False
            n_dense += 1
    total = n - n_dense
    for i in range(n):
        if weight[i] > 0:
            link(i, degree, head, after, before)
    stamp = np.int64(2)
    lowest = 0
    while eliminated < total:
        while head[lowest] < 0:
            lowest += 1
        me = head[lowest]
        unlink(me, degree, head, after, before)
        pivots[n_pivots] = me
        n_pivots += 1
        pivot_weight = weight[me]
        eliminated += pivot_weight
        # the new element: all variables that the pivot sees, directly or through elements
        weight[me] = -pivot_weight
        size = np.int64(0)
        if n_elements[me] == 0:
            first = start[me]
            end = first
            for p in range(first, first + length[me]):
                taken = take(space[p], weight, space, end, degree, head, after, before)
                size += taken
                end += taken > 0
        else:
            need = length[me] - n_elements[me]
            for p in range(start[me], start[me] + n_elements[me]):
                need += length[space[p]]
            if free + need > len(space):
                free = compact(space, start, length, alive)
                if free + need > len(space):
                    larger = np.empty(2 * len(space) + need, np.int32)
                    larger[:free] = space[:free]
                    space = larger
            first = free
            end = free
            for k in range(n_elements[me] + 1):
                if k < n_elements[me]:
                    e = np.int64(space[start[me] + k])
                    low, high = start[e], start[e] + length[e]
                else:
                    e = me
                    low, high = start[me] + n_elements[me], start[me] + length[me]
                for p in range(low, high):
                    taken = take(space[p], weight, space, end, degree, head, after, before)
                    size += taken
                    end += taken > 0
                if e != me:
                    mark[e] = 0
                    alive[e] = False
            free = end
        start[me] = first
        length[me] = end - first
        degree[me] = size
        # how much of every neighbouring element lies outside of the new one
        for p in range(first, end):
            i = space[p]
            own = -weight[i]
            for q in range(start[i], start[i] + n_elements[i]):
                e = space[q]
                if mark[e] >= stamp:
                    mark[e] -= own
                elif mark[e] != 0:
                    mark[e] = degree[e] + stamp - own
        # approximate degrees; lists lose what the new element covers
        for p in range(first, end):
            i = int(space[p])
            own = -weight[i]
            begin = start[i]
            to = begin
            outside = np.int64(0)
            code = np.int64(0)
            for q in range(begin, begin + n_elements[i]):
                e = space[q]
                if mark[e] != 0:
                    rest = mark[e] - stamp
                    if rest > 0:
                        outside += rest
                        space[to] = e
                        to += 1
                        code += e
                    else:
                        mark[e] = 0
                        alive[e] = False
            kept_elements = to - begin
            variables = to
            for q in range(begin + n_elements[i], begin + length[i]):
                j = space[q]
                if weight[j] > 0:
                    outside += weight[j]
                    space[to] = j
                    to += 1
                    code += j
            if outside == 0:
                weight[i] = 0  # nothing but the new element: eliminated with the pivot
                alive[i] = False
                size -= own
                eliminated += own
                pivot_weight += own
                member[last[me]] = i
                last[me] = last[i]
            else:
                degree[i] = min(degree[i], outside)
                space[to] = space[variables]
                space[variables] = space[begin]
                space[begin] = me
                n_elements[i] = kept_elements + 1
                length[i] = to - begin + 1
                key = code % n
                chain[i] = bucket[key]
                bucket[key] = i
                before[i] = key
        degree[me] = size
        stamp += n + 1
        # variables that nothing tells apart become one
        for p in range(first, end):
            i = int(space[p])
            if weight[i] == 0:
                continue
            key = before[i]
            i = bucket[key]
            bucket[key] = -1
            while i >= 0 and chain[i] >= 0:
                for q in range(start[i], start[i] + length[i]):
                    mark[space[q]] = stamp
                previous = i
                j = chain[i]
                while j >= 0:
                    same = length[j] == length[i] and n_elements[j] == n_elements[i]
                    if same:
                        for q in range(start[j], start[j] + length[j]):
                            if mark[space[q]] != stamp:
                                same = False
                                break
                    if same:
                        weight[i] += weight[j]
                        weight[j] = 0
                        alive[j] = False
                        member[last[i]] = j
                        last[i] = last[j]
                        j = chain[j]
                        chain[previous] = j
                    else:
                        previous = j
                        j = chain[j]
                stamp += 1
                i = chain[i]
        # back into the lists of degrees
        to = first
        for p in range(first, end):
            i = int(space[p])
            own = -weight[i]
            if own <= 0:
                continue
            weight[i] = own
            degree[i] = max(0, min(degree[i] + size - own, total - eliminated - own))
            link(i, degree, head, after, before)
            lowest = min(lowest, degree[i])
            space[to] = i
            to += 1
        weight[me] = 0
        length[me] = to - first
        if to == first:
            mark[me] = 0
            alive[me] = False
        elif first + length[me] < free and end == free:
            free = to
        stamp += n + 1
        mark[me] = 1 if to > first else 0
    order = np.empty(n, np.int64)
    at = 0
    for k in range(n_pivots):
        i = pivots[k]
        while i >= 0:
            order[at] = i
            at += 1
            i = member[i]
    for i in range(n):
        if indptr[i + 1] - indptr[i] > dense:
            order[at] = i
            at += 1
    return order
