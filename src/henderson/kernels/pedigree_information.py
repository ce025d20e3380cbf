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

from henderson.kernels.jit import inline, jit
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


@inline
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


@inline
def of_parent(
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


@inline
def of_child(
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
def error_variances(effects: Effects, animals: Animals, chosen: NDArray[np.int64], out: Floats) -> None:
    """Set `out` (n_chosen, packed) to the variances of prediction errors of chosen animals."""
    q = effects.wide
    total, work = np.zeros((q, q)), np.zeros((q, q))
    for k in range(chosen.size):
        all_information(effects, animals, chosen[k], total)
        invert_in_place(q, total, work)
        pack_symmetric(q, total, out[k])


@inline
def all_information(effects: Effects, animals: Animals, i: int, out: Floats) -> None:
    """Set `out` to all that is known of an animal."""
    w, q = effects.width, effects.wide
    unpack_symmetric(q, animals.node[i], out)
    for t in range(w, q):
        for u in range(w, q):
            out[t, u] += effects.rest[t - w, u - w]
    add_packed(w, animals.above[i], out)
