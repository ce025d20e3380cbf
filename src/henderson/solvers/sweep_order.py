"""The order in which the sweep goes through individuals: in turns of all partitions, progeny before parents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree
from henderson.kernels import pedigree_sweep as kernels
from henderson.kernels.pedigree_order import generation_numbers
from henderson.partitions.exchange import Vectors
from henderson.partitions.layout import GroupLayout

Animals = NDArray[np.int32]


@dataclass(frozen=True)
class Turns:
    """The owned animals of one group in one partition, in the order of elimination: int32 rows of the partition.

    bounds: where each turn begins and ends. Those of a turn have no progeny in other partitions but in earlier turns.
    """

    animals: Animals
    bounds: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of turns."""
        return len(self.bounds) - 1

    def __getitem__(self, turn: int) -> Animals:
        """Return the animals of a turn."""
        return self.animals[self.bounds[turn] : self.bounds[turn + 1]]


def swept(operator: Operator, p: int, groups: frozenset[int]) -> Iterator[tuple[int, GroupLayout, LocalPedigree]]:
    """Yield those of `groups` that have a sweep, with their layout and pedigree in partition `p`."""
    partition = operator.partitions[p]
    for g in sorted(groups):
        related = partition.relationship[g]
        if isinstance(related, LocalPedigree) and partition.sigmas[g] is None:
            yield g, partition.layout.groups[g], related


def turns_of(operator: Operator, groups: frozenset[int], work: Vectors) -> list[dict[int, Turns]]:
    """Return the turns of every swept group, per partition; as many in all partitions. **Collective**.

    In the first turn are animals whose progeny all live in their partition, after them in store order, and have such
    progeny themselves: last to first in that order, where relatives are near each other. The others are *late*: parents
    used across partitions, and their ancestors. A late animal has the first turn after those of its progeny elsewhere,
    so that there are as many turns as lines of descent change partitions. `work` is used.
    Cost: an exchange a turn, 20 n bytes for a moment, 4 n to keep.
    """

    def mark(p: int) -> None:
        work[p][:] = 0.0
        for _, local, related in swept(operator, p, groups):
            kernels.mark_late(local.width, local.first_owned, related.sire, related.dam, work[p])

    def first_turn(p: int) -> dict[int, tuple[list[Animals], Animals]]:
        return {g: _deal(local, related, work[p]) for g, local, related in swept(operator, p, groups)}

    operator.team.run(mark, operator.n_partitions)
    operator.exchange.reverse_add(work)
    dealt = operator.team.run(first_turn, operator.n_partitions)

    def mark_waiting(p: int) -> int:
        work[p][operator.n_owned[p] :] = 0.0
        for g, local, related in swept(operator, p, groups):
            kernels.mark_parents_of(dealt[p][g][1], related.sire, related.dam, work[p])
            work[p][_first_elements(local)] = 0.0
        return sum(len(rest) for _, rest in dealt[p].values())

    def next_turn(p: int) -> None:
        for g, local, related in swept(operator, p, groups):
            turns, rest = dealt[p][g]
            free = kernels.free_animals(rest, local.width, local.first_owned, related.sire, related.dam, work[p])
            dealt[p][g] = [*turns, rest[free]], rest[~free]

    while operator.exchange.sum(operator.team.run(mark_waiting, operator.n_partitions)) > 0:
        operator.exchange.reverse_add(work)
        operator.team.run(next_turn, operator.n_partitions)
    for part in work:
        part[:] = 0.0
    return [
        {
            g: Turns(np.concatenate(turns), (0, *np.cumsum([len(turn) for turn in turns]).tolist()))
            for g, (turns, _) in mine.items()
        }
        for mine in dealt
    ]


def _deal(local: GroupLayout, related: LocalPedigree, marks: NDArray[np.float64]) -> tuple[list[Animals], Animals]:
    """Return the animals of the first turn, and the late ones, which are marked: progeny before parents."""
    kernels.mark_ancestors(local.width, local.first_owned, related.sire, related.dam, marks)
    late = marks[_first_elements(local)] > 0.0
    generation, _ = generation_numbers(_rows(local, related.sire), _rows(local, related.dam))
    early, rest = (np.flatnonzero(chosen)[::-1].astype(np.int32) for chosen in (~late, late))
    return [early], rest[np.argsort(-generation[rest], kind="stable")]


def _first_elements(local: GroupLayout) -> slice:
    return slice(local.elements.start, local.elements.stop, local.width)


def _rows(local: GroupLayout, elements: NDArray[np.uint32]) -> Animals:
    """Return the rows of owned parents in the partition, -1 of others."""
    after = elements - np.uint32(local.first_owned)  # ghosts lie behind
    return np.where(after < local.n_owned * local.width, after // np.uint32(local.width), -1).astype(np.int32)
