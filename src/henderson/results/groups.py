"""Means of solutions over groups of individuals, such as years of birth: what a genetic trend is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.partitions.communicator import ALONE, Communicator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """Groups of the individuals of a pedigree: what they are, their names in order, and the group of each individual.

    codes: int16 or int32 in the order of the store, -1 where it is not known.
    """

    title: str
    labels: tuple[str, ...]
    codes: NDArray[Any]

    def take(self, levels: NDArray[np.integer[Any]]) -> Grouping:
        """Return the grouping of some individuals."""
        return replace(self, codes=self.codes[levels])


@dataclass(frozen=True)
class GroupMeans:
    """What a quantity is in each group that has members: names, numbers, means, standard deviations.

    unknown: individuals whose group is not known.
    """

    title: str
    labels: tuple[str, ...]
    n: NDArray[np.int64]
    mean: Floats
    sd: Floats
    unknown: int


def means_by_group(
    values: Floats,
    grouping: Grouping,
    kept: NDArray[np.bool_] | None = None,
    communicator: Communicator = ALONE,
) -> GroupMeans:
    """Return the means of values by group; **Collective**, each process gives what it owns.

    kept: the values that count, None: all. Cost: two passes; memory 24 bytes for each value.
    """
    known = grouping.codes >= 0
    counted = known if kept is None else known & kept
    codes, x = grouping.codes[counted], values[counted]
    size = len(grouping.labels)
    unknown = len(values) - len(x) if kept is None else int((kept & ~known).sum())
    first = np.array([unknown, *np.bincount(codes, minlength=size), *np.bincount(codes, x, minlength=size)], np.float64)
    first = communicator.sum(first)
    n, mean = first[1 : size + 1], first[size + 1 :] / np.maximum(first[1 : size + 1], 1)
    squares = communicator.sum(np.bincount(codes, (x - mean[codes]) ** 2, minlength=size).astype(np.float64))
    there = n > 0
    return GroupMeans(
        grouping.title,
        tuple(name for name, some in zip(grouping.labels, there.tolist(), strict=True) if some),
        n[there].astype(np.int64),
        mean[there],
        np.sqrt(squares[there] / n[there]),
        int(first[0]),
    )


def at_hand(groupings: Sequence[Grouping | None], count: int) -> Sequence[Grouping | None]:
    """Return a grouping, or None, for each of `count` sub-factors; none are given if nothing is known."""
    return groupings or [None] * count
