"""What a rank owns of the solutions, and what all ranks together tell of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.pev_columns import Blocks
from henderson.accuracy.pev_samples import SampledPev
from henderson.equations.distributed import Share
from henderson.equations.model import Group
from henderson.partitions.communicator import Communicator
from henderson.results.groups import Grouping
from henderson.results.parallel_tables import OwnedRows
from henderson.results.stages import Stage
from henderson.solvers.solutions import ACCURACIES, SubfactorSolutions, printed_positions
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


def records_before(share: Share, communicator: Communicator) -> int:
    """Return how many records the ranks before this one have; they are in the order of the store. **Collective**."""
    return sum(communicator.gather_all(share.design.n_records)[: communicator.rank])


class Accuracies:
    """The standard errors and reliabilities of the levels that this rank owns, as far as they are known."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._known: dict[tuple[str, int, int], NDArray[np.float64]] = {}

    def add(self, blocks: Sequence[Blocks], reliabilities: Sequence[NDArray[np.float64] | None]) -> None:
        """Keep those of some levels beside the others."""
        for block, reliability in zip(blocks, reliabilities, strict=True):
            chosen, local = block.chosen, self._share.partition.layout.groups[block.chosen.group]
            owned = local.owned_levels()
            place = np.minimum(np.searchsorted(chosen.levels, owned), len(chosen.levels) - 1)
            here = chosen.levels[place] == owned
            for name, values in (("se", np.sqrt(block.variances)), ("reliability", reliability)):
                for k, position in enumerate(chosen.positions if values is not None else ()):
                    every = self._known.setdefault((name, chosen.group, position), np.full(len(owned), np.nan))
                    every[here] = values[place[here], k]  # type: ignore[index]
                    errors = self._known.get((f"{name}_mc_se", chosen.group, position))
                    if errors is not None:
                        errors[here] = np.nan

    def add_sampled(self, found: SampledPev) -> None:
        """Keep those of all levels, in place of any that are known."""
        design, layout = self._share.design, self._share.partition.layout
        for name, ((values,), (errors,)) in (("se", found.standard_errors()), ("reliability", found.reliabilities())):
            for g, (group, local) in enumerate(zip(design.groups, layout.groups, strict=True)):
                if name == "reliability" and group.covariance is None:
                    continue
                rows = slice(local.first_owned, local.first_owned + local.n_owned * local.width)
                for k in range(local.width):
                    self._known[name, g, k] = values[rows][k :: local.width].copy()
                    self._known[f"{name}_mc_se", g, k] = errors[rows][k :: local.width].copy()

    def of(self, group: int, position: int) -> dict[str, NDArray[np.float64]]:
        """Return the accuracies of the owned levels, NaN where unknown; nothing if no job has asked for any."""
        if not self._known:
            return {}
        n = len(self._share.partition.layout.groups[group].owned_levels())
        nothing = np.full(n, np.nan)
        names = ACCURACIES if any(name == "se_mc_se" for name, _, _ in self._known) else ACCURACIES[:2]
        return {name: self._known.get((name, group, position), nothing) for name in names}


def owned_rows(share: Share, x: NDArray[np.float64], store: Path, accuracies: Accuracies) -> list[OwnedRows]:
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
                **accuracies.of(g, k),
            )
            n_rows = group.n_levels if kept is None else int(kept[:, k].sum())
            found.append(OwnedRows(owned, keys, group.n_levels, n_rows))
    return found


def owned_groupings(share: Share, groupings: Mapping[str, Grouping]) -> list[Grouping | None]:
    """Return the groups, by pedigree, of the levels in the rows of `owned_rows`; None where there are none."""
    found = []
    for g, _ in printed_positions(share.design):
        grouping = groupings.get(share.design.groups[g].pedigree or "")
        levels = share.partition.layout.groups[g].owned_levels()
        found.append(None if grouping is None else grouping.take(levels))
    return found


def _keys(group: Group, levels: NDArray[np.int32], parts: StoreParts) -> NDArray[np.int64]:
    """Return where each level stands among all: the row of an animal in its file, else the level itself."""
    if group.pedigree is None or not len(levels):
        return levels.astype(np.int64)
    row = parts.array(f"{group_path('pedigree', group.pedigree)}/row")
    found: NDArray[np.int64] = row[int(levels[0]) : int(levels[-1]) + 1]
    return found
