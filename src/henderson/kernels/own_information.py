"""What an animal's own records say of it once the effects that it shares with others are absorbed, animal by animal.

Of one animal at a time the variance V of its n observations is built, dense: residuals, effects of its own (permanent
environment) and errors of what it shares with others, given what these others say. Z'V^-1 Z is then the information
about its breeding value and, where she has effects in its records, its dam.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit
from henderson.kernels.own_records import (
    DAM,
    FOREIGN,
    HOME,
    NONE,
    OWN,
    SHARED,
    OwnRecords,
    Roles,
    add_quadratic,
    clear,
    fill,
    is_dam,
    met_before,
    observations,
    prior,
    residuals,
)
from henderson.kernels.pedigree_information import Animals, Effects, all_information, from_progeny
from henderson.kernels.record_loops import TermLists
from henderson.kernels.small_dense import (
    add_squares_of,
    factor_in_place,
    invert_in_place,
    pack_symmetric,
    solve_lower,
)

Floats = NDArray[np.float64]

MOST = 256  # observations of an animal that are looked at together


@jit
def _own_errors(
    records: OwnRecords,
    lists: TermLists,
    roles: Roles,
    start: int,
    stop: int,
    number: NDArray[np.int64],
    n: int,
    w: int,
    Zu: Floats,
    of_animal: Floats,
    B: Floats,
    V: Floats,
    Z: Floats,
    work: Floats,
    errors: Floats,
) -> None:
    """Set `errors` of the effects of an animal's own: diagonal of S - S Z'V^-1 Z S, V = B and errors of the animal."""
    for i in range(n):
        for j in range(i + 1):
            V[i, j] = B[i, j]
    add_quadratic(n, w, Zu, of_animal, work, V)
    factor_in_place(n, V)
    for s in range(records.levels.shape[1]):
        if roles.role[s] != OWN:
            continue
        width = roles.width[s]
        for r in range(start, stop):
            level = records.levels[r, s]
            if level < 0 or met_before(records, s, start, r):
                continue
            clear(n, width, Z)
            fill(records, lists, roles, s, level, start, stop, number, 0, Z)
            at = roles.prior[s]
            for i in range(n):
                for t in range(width):
                    total = 0.0
                    for u in range(width):
                        total += Z[i, u] * roles.priors[at + u * width + t]
                    work[i, t] = total
            solve_lower(n, V, width, work)
            for t in range(width):
                total = roles.priors[at + t * width + t]
                for i in range(n):
                    total -= work[i, t] * work[i, t]
                errors[roles.table[s] + level * width + t] = total


@jit
def absorb(
    effects: Effects,
    records: OwnRecords,
    lists: TermLists,
    observed: NDArray[np.bool_],
    sigmas: Floats,
    roles: Roles,
    dams: NDArray[np.int32],
    animals: Animals,
    refined: bool,
    final: bool,
    information: Floats,
    widest: int,
    loose: Floats,
    errors: Floats,
) -> None:
    """Add what the records say of shared levels to `information`; if `final`, take that out and set `animals.own`.

    information: of the shared levels, width x width each, with their prior. refined: whether the errors of breeding
    values are those that are known (without own records), else their prior variances. dams: of all animals, -1 if
    unknown. loose: float64 (n_animals, packed), gets what records say of others than animal and dam; empty if none.
    errors: gets the variances of prediction errors of an animal's own effects; empty if they are not wanted.

    With k sibs among the level's animals, what they say of their sire is a^-1 / k + v, a being what one of them says
    and v the error of the level from the others; as each of them sends its own part, it sends the inverse of a^-1 + k v
    (VanRaden & Wiggans 1991 count 1 - k / n of the level's n animals).
    """
    w, q, maternal = effects.width, effects.wide, effects.maternal
    z = w + maternal
    n_slots = records.levels.shape[1]
    most = 1
    for a in range(records.animal.size):
        most = max(most, records.start[a + 1] - records.start[a])
    per_record = observed.shape[1]
    most = min(most * per_record, max(MOST, per_record))
    number = np.zeros((most, per_record), np.int64)
    V, B, P = np.zeros((most, most)), np.zeros((most, most)), np.zeros((most, most))
    size = max(widest, w + q)
    Zu, Z, work = np.zeros((most, w + q)), np.zeros((most, size)), np.zeros((most, size))
    of_animal, scratch = np.zeros((w, w)), np.zeros((most, size))
    small, other, third = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    total, passed = np.zeros((size, size)), np.zeros((size, size))
    Zp = np.zeros((most, w + q))
    for a in range(records.animal.size):
        c = records.animal[a]
        dam = dams[c]
        if final:
            total[:z, :z] = 0.0
            passed[:z, :z] = 0.0
        start = records.start[a]
        while start < records.start[a + 1]:
            stop = start
            n = 0
            while stop < records.start[a + 1]:
                more = 0
                for t in range(per_record):
                    if observed[records.pattern[stop], t]:
                        more += 1
                if n + more > most:
                    break
                n += more
                stop += 1
            observations(records, start, stop, observed, number)
            residuals(records, start, stop, observed, sigmas, number, V)
            clear(n, w + q, Zu)
            # what is its own alone
            for s in range(n_slots):
                role = roles.role[s]
                if role in (SHARED, NONE):
                    continue
                for r in range(start, stop):
                    level = records.levels[r, s]
                    if level < 0 or met_before(records, s, start, r):
                        continue
                    if role == HOME:
                        fill(records, lists, roles, s, level, start, stop, number, roles.base[s], Zu)
                    elif is_dam(role, level, dam):
                        fill(records, lists, roles, s, level, start, stop, number, w + roles.base[s], Zu)
                    else:
                        width = roles.width[s]
                        clear(n, width, Z)
                        fill(records, lists, roles, s, level, start, stop, number, 0, Z)
                        prior(roles, s, width, small)
                        add_quadratic(n, width, Z, small, work, V)
            if final:
                for i in range(n):
                    for j in range(i + 1):
                        B[i, j] = V[i, j]
                        P[i, j] = V[i, j]
            # errors of the animal, and of its dam
            if refined:
                from_progeny(effects, animals.node[c], small, other, third)
                row = animals.record[c]
                k = 0
                for t in range(w):
                    for u in range(t + 1):
                        elsewhere = np.float64(animals.above[c, k]) - np.float64(animals.own[row, k])
                        small[t, u] += elsewhere
                        if u < t:
                            small[u, t] += elsewhere
                        k += 1
                invert_in_place(w, small, other)
            else:
                for t in range(w):
                    for u in range(w):
                        small[t, u] = (1.0 + animals.inbreeding[c]) * effects.sigma[t, u]
            for t in range(w):
                for u in range(w):
                    of_animal[t, u] = small[t, u]
            add_quadratic(n, w, Zu, small, work, V)
            if maternal > 0 and dam >= 0:
                all_information(effects, animals, dam, small)
                invert_in_place(q, small, other)
                for i in range(n):
                    for t in range(q):
                        Z[i, t] = Zu[i, w + t]
                add_quadratic(n, q, Z, small, work, V)
            factor_in_place(n, V)
            for s in range(n_slots):
                role = roles.role[s]
                foreign = role in (FOREIGN, DAM)
                if role != SHARED and not (foreign and final and loose.shape[0] > 0):
                    continue
                width = roles.width[s]
                for r in range(start, stop):
                    level = records.levels[r, s]
                    if (
                        level < 0
                        or (foreign and level >= loose.shape[0])
                        or is_dam(role, level, dam)
                        or met_before(records, s, start, r)
                    ):
                        continue
                    clear(n, width, Z)
                    fill(records, lists, roles, s, level, start, stop, number, 0, Z)
                    for i in range(n):
                        for t in range(width):
                            work[i, t] = Z[i, t]
                    solve_lower(n, V, width, work)
                    if role != SHARED:
                        for t in range(width):
                            for u in range(t + 1):
                                value = 0.0
                                for i in range(n):
                                    value += work[i, t] * work[i, u]
                                at, to = roles.base[s] + t, roles.base[s] + u
                                loose[level, at * (at + 1) // 2 + to] += value
                        continue
                    at = roles.table[s] + level * width * width
                    if not final:
                        for t in range(width):
                            for u in range(t + 1):
                                value = 0.0
                                for i in range(n):
                                    value += work[i, t] * work[i, u]
                                information[at + t * width + u] += value
                        continue
                    prior(roles, s, width, third)
                    sibs = records.sibs[r, s]
                    for twice in range(2 if sibs > 1.0 else 1):
                        times = 1.0 if twice == 0 else float(sibs)
                        for t in range(width):
                            for u in range(t + 1):
                                small[t, u] = information[at + t * width + u]
                                small[u, t] = small[t, u]
                        add_squares_of(n, width, -times, work, small)
                        for t in range(width):  # rounding must not take away the prior
                            small[t, t] = max(small[t, t], third[t, t])
                        invert_in_place(width, small, other)
                        if twice == 0:
                            add_quadratic(n, width, Z, small, scratch, B)
                        if twice == 1 or sibs <= 1.0:
                            for t in range(width):
                                for u in range(width):
                                    small[t, u] *= times
                            add_quadratic(n, width, Z, small, scratch, P)
            if final:
                for i in range(n):
                    for t in range(z):
                        Zp[i, t] = Zu[i, t]
                factor_in_place(n, P)
                solve_lower(n, P, z, Zp)
                add_squares_of(n, z, 1.0, Zp, passed)
                if errors.size > 0:
                    _own_errors(records, lists, roles, start, stop, number, n, w, Zu, of_animal, B, P, Z, work, errors)
                factor_in_place(n, B)
                solve_lower(n, B, z, Zu)
                add_squares_of(n, z, 1.0, Zu, total)
            start = stop
        if final:
            pack_symmetric(z, total, animals.own[animals.record[c]])
            pack_symmetric(z, passed, animals.passed[animals.record[c]])
