"""Linear functions of the solutions of a level, such as the yield of 305 days: what they are in a design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.language.spec import ModelSpec
from henderson.solvers.solutions import SubfactorSolutions, printed_positions

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Index:
    """A linear function w'u of the solutions u of a level of a group; weights: float64 (width,)."""

    name: str
    factor: str
    group: int
    weights: Floats

    @property
    def positions(self) -> list[int]:
        """Return the positions of the group that count."""
        return [int(k) for k in np.flatnonzero(self.weights)]

    @property
    def used(self) -> Floats:
        """Return the weights of these."""
        return self.weights[self.positions]


def places_of(design: Design) -> dict[tuple[str, str], tuple[int, int]]:
    """Return group and position of each printed sub-factor, by the names of its factor and itself."""
    found = {}
    for g, k in printed_positions(design):
        position = design.groups[g].positions[k]
        assert position is not None
        found[position.factor, position.subfactor] = g, k
    return found


def printed_groups(design: Design, indices: Sequence[Index]) -> list[int]:
    """Return the group of all that is printed, in the order of `Solutions.printed`."""
    return [g for g, _ in printed_positions(design)] + [i.group for i in indices]


def indices_of(spec: ModelSpec, design: Design) -> tuple[Index, ...]:
    """Return the indices of a model, in the order of their names."""
    place = places_of(design)
    found = []
    for index in spec.indices:
        at = [place[index.variance, name] for name, _ in index.weights]
        weights = np.zeros(design.groups[at[0][0]].width)
        weights[[k for _, k in at]] = [w for _, w in index.weights]
        found.append(Index(index.name, index.variance, at[0][0], weights))
    return tuple(found)


def combined(
    indices: Sequence[Index], design: Design, parts: Sequence[SubfactorSolutions]
) -> tuple[SubfactorSolutions, ...]:
    """Return the values of the indices, from solutions in the order of `printed_positions`; 8 bytes a level each."""
    of = dict(zip(printed_positions(design), parts, strict=True)) if indices else {}
    found = []
    for index in indices:
        values = np.zeros(design.groups[index.group].n_levels)
        for k in index.positions:
            values += index.weights[k] * of[index.group, k].values
        found.append(SubfactorSolutions(index.factor, index.name, design.groups[index.group].labels, values))
    return tuple(found)
