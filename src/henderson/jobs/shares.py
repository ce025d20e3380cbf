"""What a rank owns of the solutions, and what all ranks together tell of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.distributed import Share
from henderson.equations.model import Group
from henderson.partitions.communicator import Communicator
from henderson.results.parallel_tables import OwnedRows
from henderson.results.stages import Stage
from henderson.solvers.solutions import SubfactorSolutions
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts


@dataclass(frozen=True)
class RankStage(Stage):
    """One stage over all ranks: seconds and peak of the rank that has most, and the peaks added."""

    peak_bytes_all_ranks: int


def over_ranks(stages: Sequence[Stage], communicator: Communicator) -> list[RankStage]:
    """Return the stages of all ranks as one list. **Collective**: all ranks have gone through the same stages."""
    everyone = communicator.gather_all([(s.name, s.seconds, s.peak_bytes) for s in stages])
    found = []
    for together in zip(*everyone, strict=True):
        names, seconds, peaks = zip(*together, strict=True)
        found.append(RankStage(names[0], max(seconds), max(peaks), sum(peaks)))
    return found


def owned_rows(share: Share, x: NDArray[np.float64], store: Path) -> list[OwnedRows]:
    """Return the rows that this rank owns, sub-factor by sub-factor; `x` has the owned elements first.

    Animals stand in the order of their file, other levels in the order of their labels.
    """
    parts = StoreParts(store)
    found = []
    for g, (group, local) in enumerate(zip(share.design.groups, share.partition.layout.groups, strict=True)):
        levels = local.owned_levels()
        stop = local.first_owned + local.n_owned * local.width
        values = x[local.first_owned : stop].reshape(-1, local.width)
        kept = share.design.kept[g]
        labels = group.labels.take(levels)
        keys = _keys(group, levels, parts)
        for k, position in enumerate(group.positions):
            if position is None:
                continue
            owned = SubfactorSolutions(
                position.factor,
                position.subfactor,
                labels,
                values[:, k],
                None if kept is None else kept[levels, k],
            )
            n_rows = group.n_levels if kept is None else int(kept[:, k].sum())
            found.append(OwnedRows(owned, keys, group.n_levels, n_rows))
    return found


def _keys(group: Group, levels: NDArray[np.int32], parts: StoreParts) -> NDArray[np.int64]:
    """Return where each level stands among all: the row of an animal in its file, else the level itself."""
    covariance = group.covariance
    if covariance is None or covariance.kind != "pedigree" or not len(levels):
        return levels.astype(np.int64)
    assert covariance.name is not None
    row = parts.array(f"{group_path('pedigree', covariance.name)}/row")
    found: NDArray[np.int64] = row[int(levels[0]) : int(levels[-1]) + 1]
    return found
