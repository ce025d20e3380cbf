"""The two passes along a pedigree: what families say to parents, and what parents and sibs say to progeny."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit
from henderson.kernels.pedigree_information import Animals, Effects, Families, Packed, of_child, of_parent
from henderson.kernels.small_dense import (
    add_squares_of,
    factor_in_place,
    invert_in_place,
    pack_symmetric,
    solve_lower,
)

Floats = NDArray[np.float64]


@inline
def _to_parents(effects: Effects, z: int, half: float, F: Floats, ss: Floats, sx: Floats, xx: Floats) -> None:
    """Set the information about sire and dam from that about p = half (sire + dam) and the dam's effects in records."""
    w, q = effects.width, effects.wide
    square = half * half
    for t in range(w):
        for u in range(w):
            ss[t, u] = square * F[t, u]
    for t in range(q):
        for u in range(q):
            value = square * F[t, u] if t < w and u < w else 0.0
            if z > w:
                value += F[w + t, w + u]
                if t < w:
                    value += half * F[t, w + u]
                if u < w:
                    value += half * F[w + t, u]
            xx[t, u] = value
        for u in range(w):
            value = square * F[t, u] if t < w else 0.0
            if z > w:
                value += half * F[w + t, u]
            sx[u, t] = value


@inline
def _replace(n: int, parent: int, new: Floats, row: Packed, animals: Animals) -> None:
    """Put new[:n, :n] in the place of what the family has sent to a parent."""
    k = 0
    node = animals.node
    for t in range(n):
        for u in range(t + 1):
            value = np.float32(new[t, u])
            node[parent, k] += np.float64(value) - np.float64(row[k])
            row[k] = value
            k += 1


@jit
def send_up(effects: Effects, families: Families, animals: Animals) -> None:
    """Send what every family knows to its parents, the youngest first."""
    w, q = effects.width, effects.wide
    size = w + q
    joint, coupled, F = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    a, b = np.zeros((size, size)), np.zeros((size, size))
    ss, sx, xx = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    turned = np.zeros((size, size))
    of_sire, of_dam = np.zeros((size, size)), np.zeros((size, size))
    for f in range(families.sire.size - 1, -1, -1):
        s, d = families.sire[f], families.dam[f]
        z = w + effects.maternal if d >= 0 else w
        F[:z, :z] = 0.0
        known = False
        for k in range(families.first[f], families.first[f + 1]):
            known |= of_child(effects, animals, families.child[k], z, joint, coupled, F, a, b)
        if not known:
            continue
        half = 1.0 if families.selfed[f] else 0.5
        _to_parents(effects, z, half, F, ss, sx, xx)
        if s >= 0 and d >= 0:
            of_parent(effects, animals, s, families.to_sire[f], True, of_sire, a, b)
            of_parent(effects, animals, d, families.to_dam[f], False, of_dam, a, b)
            for t in range(q):
                for u in range(q):
                    of_dam[t, u] += xx[t, u]
                for u in range(w):
                    turned[t, u] = sx[u, t]
            for t in range(w):
                for u in range(w):
                    of_sire[t, u] += ss[t, u]
            factor_in_place(q, of_dam)
            solve_lower(q, of_dam, w, turned)
            add_squares_of(q, w, -1.0, turned, ss)
            factor_in_place(w, of_sire)
            solve_lower(w, of_sire, q, sx)
            add_squares_of(w, q, -1.0, sx, xx)
        if s >= 0:
            _replace(w, s, ss, families.to_sire[f], animals)
        if d >= 0:
            _replace(q, d, xx, families.to_dam[f], animals)


@inline
def _add_common(
    effects: Effects, share: float, of_sire: Floats, of_dam: Floats, out: Floats, left: Floats, middle: Floats
) -> None:
    """Add to the variance of the mean of two parents what their errors have in common.

    A priori their covariance is 2 F sigma, F of their progeny. It is taken to shrink with each of their variances V:
    2 F V_sire sigma^-1 V_dam, V in units of their own 1 + F, which `share` has; the mean gets half of it.
    """
    w = effects.width
    if share == 0.0:
        return
    for t in range(w):
        for u in range(w):
            total = 0.0
            for k in range(w):
                total += of_sire[t, k] * effects.sigma_inverse[k, u]
            left[t, u] = total
    for t in range(w):
        for u in range(w):
            total = 0.0
            for k in range(w):
                total += left[t, k] * of_dam[k, u]
            middle[t, u] = total
    for t in range(w):
        for u in range(w):
            out[t, u] += 0.5 * share * (middle[t, u] + middle[u, t])


@jit
def send_down(effects: Effects, families: Families, animals: Animals) -> None:
    """Tell progeny what parents, sibs and own records say of them (`above`), the oldest families first."""
    w, q = effects.width, effects.wide
    size = w + q
    joint, coupled, F = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    a, b = np.zeros((size, size)), np.zeros((size, size))
    of_sire, of_dam = np.zeros((size, size)), np.zeros((size, size))
    parents, others, mine = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for f in range(families.sire.size):
        s, d = families.sire[f], families.dam[f]
        z = w + effects.maternal if d >= 0 else w
        F[:z, :z] = 0.0
        alone = families.first[f + 1] - families.first[f] == 1
        if not alone:
            for k in range(families.first[f], families.first[f + 1]):
                of_child(effects, animals, families.child[k], z, joint, coupled, F, a, b)
        square = 1.0 if families.selfed[f] else 0.25
        parents[:z, :z] = 0.0
        n_parents = 0.0
        if s >= 0:
            of_parent(effects, animals, s, families.to_sire[f], True, of_sire, a, b)
            invert_in_place(w, of_sire, a)
            n_parents += 1.0
            for t in range(w):
                for u in range(w):
                    parents[t, u] += square * of_sire[t, u]
        if d >= 0:
            of_parent(effects, animals, d, families.to_dam[f], False, of_dam, a, b)
            invert_in_place(q, of_dam, a)
            n_parents += 1.0
            for t in range(w):
                for u in range(w):
                    parents[t, u] += square * of_dam[t, u]
            for t in range(w, z):
                for u in range(w):
                    parents[t, u] = 0.5 * of_dam[t - w, u]
                    parents[u, t] = parents[t, u]
                for u in range(w, z):
                    parents[t, u] = of_dam[t - w, u - w]
        if n_parents == 2.0:
            one = families.child[families.first[f]]
            own = (1.0 + animals.inbreeding[s]) * (1.0 + animals.inbreeding[d])
            _add_common(effects, animals.inbreeding[one] / own, of_sire, of_dam, parents, joint, coupled)
        c = families.child[families.first[f]]
        if alone and animals.record[c] < 0:  # nothing but its parents: the inverse of a sum
            for t in range(w):
                for u in range(w):
                    parents[t, u] += effects.sigma[t, u] / animals.precision[c]
            invert_in_place(w, parents, a)
            pack_symmetric(w, parents, animals.above[c])
            continue
        invert_in_place(z, parents, a)
        for k in range(families.first[f], families.first[f + 1]):
            c = families.child[k]
            for t in range(z):
                for u in range(z):
                    others[t, u] = parents[t, u]
            if not alone:
                mine[:z, :z] = 0.0
                of_child(effects, animals, c, z, joint, coupled, mine, a, b)
                for t in range(z):
                    for u in range(z):
                        others[t, u] += F[t, u] - mine[t, u]
            weight = animals.precision[c]
            row = animals.record[c]
            for t in range(w):
                for u in range(w):
                    others[t, u] += weight * effects.sigma_inverse[t, u]
                    joint[t, u] = weight * effects.sigma_inverse[t, u]
                for u in range(z):
                    coupled[u, t] = -weight * effects.sigma_inverse[u, t] if u < w else 0.0
            if row >= 0:
                own = animals.own[row]
                for t in range(w):
                    for u in range(w):
                        joint[t, u] += own[t * (t + 1) // 2 + u] if u <= t else own[u * (u + 1) // 2 + t]
                for t in range(w, z):
                    for u in range(w):
                        coupled[t, u] += own[t * (t + 1) // 2 + u]
                    for u in range(w, t + 1):
                        others[t, u] += own[t * (t + 1) // 2 + u]
                        if u < t:
                            others[u, t] += own[t * (t + 1) // 2 + u]
            factor_in_place(z, others)
            solve_lower(z, others, w, coupled)
            add_squares_of(z, w, -1.0, coupled, joint)
            pack_symmetric(w, joint, animals.above[c])
