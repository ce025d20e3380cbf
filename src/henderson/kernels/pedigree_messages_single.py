"""The passes of `pedigree_messages` for one effect an animal: the same numbers without blocks, many times as fast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Numbers = NDArray[np.int32]


@inline
def _told(c: int, record: Numbers, passed: Singles, node: Floats, precision: float) -> float:
    """Return what a child says of the mean of its parents; `precision` is that of its deviation from it."""
    known = node[c]
    if record[c] >= 0:
        known += passed[record[c]]
    return precision * known / (known + precision) if known > 0.0 else 0.0


@jit
def send_up_single(
    prior: float,
    sire: Numbers,
    dam: Numbers,
    selfed: NDArray[np.bool_],
    first: NDArray[np.int64],
    child: Numbers,
    to_sire: Singles,
    to_dam: Singles,
    precision: Floats,
    record: Numbers,
    passed: Singles,
    node: Floats,
    above: Singles,
) -> None:
    """Send what every family knows to its parents, the youngest first; prior: 1 / sigma."""
    for f in range(sire.size - 1, -1, -1):
        total = 0.0
        for k in range(first[f], first[f + 1]):
            total += _told(child[k], record, passed, node, precision[child[k]] * prior)
        if total == 0.0:
            continue
        s, d = sire[f], dam[f]
        total *= 1.0 if selfed[f] else 0.25
        for_sire = for_dam = total
        if s >= 0 and d >= 0:
            of_sire = node[s] + above[s] - to_sire[f]
            of_dam = node[d] + above[d] - to_dam[f]
            for_sire = total * of_dam / (total + of_dam)
            for_dam = total * of_sire / (total + of_sire)
        if s >= 0:
            value = np.float32(for_sire)
            node[s] += np.float64(value) - np.float64(to_sire[f])
            to_sire[f] = value
        if d >= 0:
            value = np.float32(for_dam)
            node[d] += np.float64(value) - np.float64(to_dam[f])
            to_dam[f] = value


@jit
def send_down_single(
    prior: float,
    sire: Numbers,
    dam: Numbers,
    selfed: NDArray[np.bool_],
    first: NDArray[np.int64],
    child: Numbers,
    to_sire: Singles,
    to_dam: Singles,
    precision: Floats,
    inbreeding: Floats,
    record: Numbers,
    own: Singles,
    passed: Singles,
    node: Floats,
    above: Singles,
) -> None:
    """Tell progeny what parents, sibs and own records say of them, the oldest families first; prior: 1 / sigma."""
    for f in range(sire.size):
        s, d = sire[f], dam[f]
        of_sire = 1.0 / (node[s] + above[s] - to_sire[f]) if s >= 0 else 0.0
        of_dam = 1.0 / (node[d] + above[d] - to_dam[f]) if d >= 0 else 0.0
        variance = (of_sire + of_dam) * (1.0 if selfed[f] else 0.25)
        if s >= 0 and d >= 0:
            F = inbreeding[child[first[f]]]
            variance += F * of_sire * of_dam * prior / ((1.0 + inbreeding[s]) * (1.0 + inbreeding[d]))
        of_parents = 1.0 / variance
        total = 0.0
        alone = first[f + 1] - first[f] == 1
        if not alone:
            for k in range(first[f], first[f + 1]):
                total += _told(child[k], record, passed, node, precision[child[k]] * prior)
        for k in range(first[f], first[f + 1]):
            c = child[k]
            deviation = precision[c] * prior
            others = of_parents
            if not alone:
                others += total - _told(c, record, passed, node, deviation)
            value = deviation * others / (deviation + others)
            if record[c] >= 0:
                value += own[record[c]]
            above[c] = value
