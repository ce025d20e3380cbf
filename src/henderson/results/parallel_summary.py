"""The digests of `summary` from what each rank owns: only a few numbers and the best levels travel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from henderson.partitions.communicator import Communicator
from henderson.results.groups import Grouping, at_hand, means_by_group
from henderson.results.summary import (
    Digest,
    EffectSummary,
    Histogram,
    TopLevel,
    histogram_edges,
    is_random,
    reliability_histogram,
    top_levels,
)
from henderson.solvers.solutions import SubfactorSolutions

BEST = 10


def digest_together(
    parts: Sequence[SubfactorSolutions], communicator: Communicator, groupings: Sequence[Grouping | None] = ()
) -> tuple[Digest, ...]:
    """Return one digest per sub-factor; `parts` and groupings have the levels that this rank owns. **Collective**."""
    each = zip(parts, at_hand(groupings, len(parts)), strict=True)
    return tuple(_digest(part, communicator, grouping) for part, grouping in each)


def _digest(part: SubfactorSolutions, communicator: Communicator, grouping: Grouping | None) -> Digest:
    values = part.values if part.kept is None else part.values[part.kept]
    mine = np.array([len(values), len(part.values) - len(values), values.sum()])
    n, left_out, total = communicator.sum(mine).tolist()
    extremes = [np.min(values, initial=np.inf), np.min(-values, initial=np.inf)]
    low, high = communicator.minimum(np.array(extremes)).tolist()
    mean = total / n if n else math.nan
    squares = float(communicator.sum(np.array([np.square(values - mean).sum()]))[0])
    summary = EffectSummary(
        part.factor,
        part.subfactor,
        int(n),
        int(left_out),
        mean,
        math.sqrt(squares / n) if n else math.nan,
        low if n else math.nan,
        -high if n else math.nan,
        _mean_reliability(part, communicator),
    )
    if not is_random(part.factor):
        return Digest(summary)
    edges = histogram_edges(summary)
    counts = communicator.sum(np.histogram(values, edges)[0].astype(np.int64))
    best: list[TopLevel] = []
    for theirs in communicator.gather_all(top_levels(part, BEST)):
        best += theirs
    best.sort(key=lambda t: -t.value)
    return Digest(
        summary,
        tuple(best[:BEST]),
        Histogram(edges, counts),
        None if grouping is None else means_by_group(part.values, grouping, part.kept, communicator),
        reliability_histogram(part, communicator),
    )


def _mean_reliability(part: SubfactorSolutions, communicator: Communicator) -> float | None:
    """Return the mean of the reliabilities that are known, None if there are none. **Collective**."""
    if part.reliability is None:
        return None
    known = part.reliability[~np.isnan(part.reliability)]
    n, total = communicator.sum(np.array([len(known), known.sum()])).tolist()
    return total / n if n else None
