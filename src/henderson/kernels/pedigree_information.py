"""Information about breeding values, sent along a pedigree from family to family: blocks of positions, no equations.

A family is a pair of parents and their progeny, or one animal with one known parent. Given the parents its progeny are
independent, so that it passes on what is known exactly; what is ignored is that families are related beside that.
Information is the inverse of a variance of prediction errors: `node`, of all that comes from progeny; `above`, of own
records, parents and sibs; their sum is that of everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit
from henderson.kernels.small_dense import (
    add_packed,
    add_squares_of,
    factor_in_place,
    invert_in_place,
    pack_symmetric,
    solve_lower,
    unpack_symmetric,
)

Floats = NDArray[np.float64]
Packed = NDArray[np.float32]


class Families(NamedTuple):
    """Families, parents before progeny; the progeny of f are child[first[f]:first[f + 1]].

    sire, dam: int32 (n_families,), -1 if unknown; an animal from one parent alone has it as sire and `selfed`.
    to_sire, to_dam: what they have sent last, packed.
    """

    sire: NDArray[np.int32]
    dam: NDArray[np.int32]
    selfed: NDArray[np.bool_]
    first: NDArray[np.int64]
    child: NDArray[np.int32]
    to_sire: Packed
    to_dam: Packed


class Animals(NamedTuple):
    """What is known of every animal.

    precision: 1/d of A^-1; inbreeding: F; record: int32, row of `own`, -1 without records; own: information of own
    records about the animal, and its dam where she has effects in them; passed: the same as it is told to parents, who
    have it from sibs, too; node: float64; above: float32.
    """

    precision: Floats
    inbreeding: Floats
    record: NDArray[np.int32]
    own: Packed
    passed: Packed
    node: Floats
    above: Packed


class Effects(NamedTuple):
    """The effects of an animal: `width` of its breeding value, `wide` with those that a dam has in records of progeny.

    maternal: `wide` if dams have effects there, else 0; sigma: of the breeding value; sigma_inverse; rest: (wide -
    width) square, the inverse of the variance of the others.
    """

    width: int
    wide: int
    maternal: int
    sigma: Floats
    sigma_inverse: Floats
    rest: Floats


@jit
def from_progeny(effects: Effects, row: Floats, out: Floats, a: Floats, b: Floats) -> None:
    """Set `out` to what progeny say of a breeding value, other effects of the animal eliminated."""
    w, q = effects.width, effects.wide
    if q == w:
        unpack_symmetric(w, row, out)
        return
    unpack_symmetric(q, row, out)
    for t in range(q - w):
        for u in range(q - w):
            a[t, u] = out[w + t, w + u] + effects.rest[t, u]
        for u in range(w):
            b[t, u] = out[w + t, u]
    factor_in_place(q - w, a)
    solve_lower(q - w, a, w, b)
    add_squares_of(q - w, w, -1.0, b, out)


@jit
def _of_parent(
    effects: Effects, animals: Animals, parent: int, row: Packed, sire: bool, out: Floats, a: Floats, b: Floats
) -> None:
    """Set `out` to all that is known of a parent without what this family has sent, `row`."""
    w, q = effects.width, effects.wide
    if sire:
        from_progeny(effects, animals.node[parent], out, a, b)
    else:
        unpack_symmetric(q, animals.node[parent], out)
        for t in range(w, q):
            for u in range(w, q):
                out[t, u] += effects.rest[t - w, u - w]
    add_packed(w, animals.above[parent], out)
    n = w if sire else q
    k = 0
    for t in range(n):
        for u in range(t):
            out[t, u] -= row[k]
            out[u, t] -= row[k]
            k += 1
        out[t, t] -= row[k]
        k += 1


@jit
def _child(
    effects: Effects,
    animals: Animals,
    c: int,
    z: int,
    joint: Floats,
    coupled: Floats,
    out: Floats,
    a: Floats,
    b: Floats,
) -> bool:
    """Add what a child says of p = mean of its parents and of its dam's effects to out[:z, :z]; False if nothing.

    Its breeding value u is eliminated: with information B about u, J about (u, x) and S^-1 about u - p. joint, coupled:
    scratch.
    """
    w = effects.width
    row = animals.record[c]
    known = row >= 0
    if not known:
        for k in range(animals.node.shape[1]):
            if animals.node[c, k] != 0.0:
                known = True
                break
    if not known:
        return False
    from_progeny(effects, animals.node[c], joint, a, b)
    weight = animals.precision[c]
    for t in range(w):
        for u in range(z):
            coupled[t, u] = -weight * effects.sigma_inverse[t, u] if u < w else 0.0
    if row >= 0:
        own = animals.passed[row]
        for t in range(w):
            for u in range(w):
                joint[t, u] += own[t * (t + 1) // 2 + u] if u <= t else own[u * (u + 1) // 2 + t]
        for t in range(w, z):
            for u in range(w):
                coupled[u, t] += own[t * (t + 1) // 2 + u]
            for u in range(w, t + 1):
                out[t, u] += own[t * (t + 1) // 2 + u]
                if u < t:
                    out[u, t] += own[t * (t + 1) // 2 + u]
    for t in range(w):
        for u in range(w):
            joint[t, u] += weight * effects.sigma_inverse[t, u]
            out[t, u] += weight * effects.sigma_inverse[t, u]
    factor_in_place(w, joint)
    solve_lower(w, joint, z, coupled)
    add_squares_of(w, z, -1.0, coupled, out)
    return True


@jit
def prior_information(effects: Effects, animals: Animals) -> None:
    """Set `above` to what is known before anything comes from relatives: the prior, and own records."""
    w = effects.width
    for i in range(animals.record.size):
        row = animals.record[i]
        precision = animals.precision[i]
        scale = 1.0 / (1.0 + animals.inbreeding[i]) if precision > 0.0 else 1e-6
        for t in range(w):
            for u in range(t + 1):
                k = t * (t + 1) // 2 + u
                animals.above[i, k] = scale * effects.sigma_inverse[t, u]
                if row >= 0:
                    animals.above[i, k] += animals.own[row, k]


@jit
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


@jit
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
            known |= _child(effects, animals, families.child[k], z, joint, coupled, F, a, b)
        if not known:
            continue
        half = 1.0 if families.selfed[f] else 0.5
        _to_parents(effects, z, half, F, ss, sx, xx)
        if s >= 0 and d >= 0:
            _of_parent(effects, animals, s, families.to_sire[f], True, of_sire, a, b)
            _of_parent(effects, animals, d, families.to_dam[f], False, of_dam, a, b)
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


@jit
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
                _child(effects, animals, families.child[k], z, joint, coupled, F, a, b)
        square = 1.0 if families.selfed[f] else 0.25
        parents[:z, :z] = 0.0
        n_parents = 0.0
        if s >= 0:
            _of_parent(effects, animals, s, families.to_sire[f], True, of_sire, a, b)
            invert_in_place(w, of_sire, a)
            n_parents += 1.0
            for t in range(w):
                for u in range(w):
                    parents[t, u] += square * of_sire[t, u]
        if d >= 0:
            _of_parent(effects, animals, d, families.to_dam[f], False, of_dam, a, b)
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
            child = families.child[families.first[f]]
            own = (1.0 + animals.inbreeding[s]) * (1.0 + animals.inbreeding[d])
            _add_common(effects, animals.inbreeding[child] / own, of_sire, of_dam, parents, joint, coupled)
        invert_in_place(z, parents, a)
        for k in range(families.first[f], families.first[f + 1]):
            c = families.child[k]
            for t in range(z):
                for u in range(z):
                    others[t, u] = parents[t, u]
            if not alone:
                mine[:z, :z] = 0.0
                _child(effects, animals, c, z, joint, coupled, mine, a, b)
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


@jit
def error_variances(effects: Effects, animals: Animals, out: Floats) -> None:
    """Set `out` (n_animals, packed) to the variances of prediction errors of all animals."""
    q = effects.wide
    total, work = np.zeros((q, q)), np.zeros((q, q))
    for i in range(animals.record.size):
        all_information(effects, animals, i, total)
        invert_in_place(q, total, work)
        pack_symmetric(q, total, out[i])


@jit
def all_information(effects: Effects, animals: Animals, i: int, out: Floats) -> None:
    """Set `out` to all that is known of an animal."""
    w, q = effects.width, effects.wide
    unpack_symmetric(q, animals.node[i], out)
    for t in range(w, q):
        for u in range(w, q):
            out[t, u] += effects.rest[t - w, u - w]
    add_packed(w, animals.above[i], out)
