"""What a rank owns of the solutions, and what all ranks together tell of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.chosen import Chosen
from henderson.accuracy.gamma import GammaDiagonal
from henderson.accuracy.index_accuracies import accuracies, prior_variance, variance_of_block
from henderson.accuracy.pev_columns import Blocks
from henderson.accuracy.pev_samples import SampledPev
from henderson.equations.distributed import Share
from henderson.equations.model import Group
from henderson.partitions.communicator import Communicator
from henderson.results.groups import Grouping
from henderson.results.parallel_tables import OwnedRows
from henderson.results.stages import Stage
from henderson.solvers.indices import Index, printed_groups
from henderson.solvers.solutions import ACCURACIES, SubfactorSolutions
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

Place = tuple[int, int] | str


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
    """The standard errors and reliabilities of what this rank owns, as far as they are known.

    Places are (group, position) of a sub-factor, or the name of one of `indices`; gamma: the diagonal of Gamma.
    """

    def __init__(self, share: Share, indices: Sequence[Index], gamma: GammaDiagonal) -> None:
        self._share, self._indices, self._gamma = share, indices, gamma
        self._known: dict[tuple[str, Place], NDArray[np.float64]] = {}

    def add(self, blocks: Sequence[Blocks], reliabilities: Sequence[NDArray[np.float64] | None]) -> None:
        """Keep those of some levels beside the others."""
        design = self._share.design
        for block, reliability in zip(blocks, reliabilities, strict=True):
            chosen = block.chosen
            for name, values in (("se", np.sqrt(block.variances)), ("reliability", reliability)):
                for k, position in enumerate(chosen.positions if values is not None else ()):
                    self._keep(name, (chosen.group, position), chosen, values[:, k])  # type: ignore[index]
            for index in self._indices:
                if (variance := variance_of_block(index, block)) is not None:
                    prior = prior_variance(index, design, chosen.levels, self._gamma)
                    for name, values in accuracies(variance, prior).items():
                        self._keep(name, index.name, chosen, values)

    def _keep(self, name: str, place: Place, chosen: Chosen, values: NDArray[np.float64]) -> None:
        """Keep `values` of the chosen levels, those that are owned here."""
        owned = self._share.partition.layout.groups[chosen.group].owned_levels()
        at = np.minimum(np.searchsorted(chosen.levels, owned), len(chosen.levels) - 1)
        here = chosen.levels[at] == owned
        every = self._known.setdefault((name, place), np.full(len(owned), np.nan))
        every[here] = values[at[here]]
        if (errors := self._known.get((f"{name}_mc_se", place))) is not None:
            errors[here] = np.nan

    def add_sampled(self, found: SampledPev) -> None:
        """Keep those of all levels, in place of any that are known."""
        design, layout = self._share.design, self._share.partition.layout
        for name, ((values,), (errors,)) in (("se", found.standard_errors()), ("reliability", found.reliabilities())):
            for g, (group, local) in enumerate(zip(design.groups, layout.groups, strict=True)):
                if name == "reliability" and group.covariance is None:
                    continue
                for k in range(local.width):
                    self._known[name, (g, k)] = values[local.elements][k :: local.width].copy()
                    self._known[f"{name}_mc_se", (g, k)] = errors[local.elements][k :: local.width].copy()
        pairs = zip(self._indices, found.of_indices[0], found.mc_se_of_indices[0], strict=True)
        for index, variance, error in pairs:
            levels = layout.groups[index.group].owned_levels().astype(np.int64)
            prior = prior_variance(index, design, levels, self._gamma)
            self._known |= {(n, index.name): v for n, v in accuracies(variance, prior, error).items()}

    def of(self, place: Place, n: int) -> dict[str, NDArray[np.float64]]:
        """Return the accuracies of the `n` owned levels, NaN where unknown; nothing if no job has asked for any."""
        if not self._known:
            return {}
        nothing = np.full(n, np.nan)
        names = ACCURACIES if any(name == "se_mc_se" for name, _ in self._known) else ACCURACIES[:2]
        return {name: self._known.get((name, place), nothing) for name in names}


def owned_rows(
    share: Share, x: NDArray[np.float64], store: Path, known: Accuracies, indices: Sequence[Index] = ()
) -> list[OwnedRows]:
    """Return the rows that this rank owns, by sub-factor, then by index; `x` has the owned elements first.

    Animals stand in the order of their file, other levels in the order of their labels.
    """
    parts = StoreParts(store)
    found, of_indices = [], {}
    for g, (group, local) in enumerate(zip(share.design.groups, share.partition.layout.groups, strict=True)):
        levels = local.owned_levels()
        values = x[local.elements].reshape(-1, local.width)
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
                **known.of((g, k), len(levels)),
            )
            n_rows = group.n_levels if kept is None else int(kept[:, k].sum())
            found.append(OwnedRows(owned, keys, group.n_levels, n_rows))
        for index in (i for i in indices if i.group == g):
            of_index = known.of(index.name, len(levels))
            owned = SubfactorSolutions(index.factor, index.name, labels, values @ index.weights, None, **of_index)
            of_indices[index.name] = OwnedRows(owned, keys, group.n_levels, group.n_levels)
    return found + [of_indices[i.name] for i in indices]


def owned_groupings(
    share: Share, groupings: Mapping[str, Grouping], indices: Sequence[Index] = ()
) -> list[Grouping | None]:
    """Return the groups, by pedigree, of the levels in the rows of `owned_rows`; None where there are none."""
    found = []
    for g in printed_groups(share.design, indices):
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
