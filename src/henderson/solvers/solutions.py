"""The solutions of a model, sub-factor by sub-factor, as the results layer writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.solvers.report import SolveReport
from henderson.store.model_data import Labels

Floats = NDArray[np.float64]

ACCURACIES = ("se", "reliability", "se_mc_se", "reliability_mc_se")  # columns that some sub-factors have


@dataclass(frozen=True)
class SubfactorSolutions:
    """One printed sub-factor: all arrays have shape (n_levels,), levels in the order of `labels`.

    kept: None if every level is printed, else False where a level is empty or was left out as dependent. se_mc_se,
    reliability_mc_se: Monte Carlo errors of `se` and `reliability`, NaN where these are exact, None if all are.
    """

    factor: str
    subfactor: str
    labels: Labels
    values: Floats
    kept: NDArray[np.bool_] | None = None
    se: Floats | None = None
    reliability: Floats | None = None
    se_mc_se: Floats | None = None
    reliability_mc_se: Floats | None = None

    @property
    def n_rows(self) -> int:
        """Return the number of levels that are printed."""
        return len(self.labels) if self.kept is None else int(self.kept.sum())


@dataclass(frozen=True)
class Dropped:
    """A column of X that depends on others and was left out."""

    factor: str
    subfactor: str
    level: str


@dataclass(frozen=True)
class StageTime:
    """Seconds that one stage of the work took, and that it takes `alone` on the machine (`partitions.clock`)."""

    name: str
    seconds: float
    alone: float


@dataclass(frozen=True)
class Solutions:
    """Everything a solve found. `report.solution` has one array (n_levels, width) per group of `design`.

    indices: linear functions of the solutions of a level (`solvers.indices`), as sub-factors of their variance.
    """

    subfactors: tuple[SubfactorSolutions, ...]
    dropped: tuple[Dropped, ...]
    report: SolveReport[list[Floats]]
    n_equations: int
    stages: tuple[StageTime, ...]
    design: Design
    indices: tuple[SubfactorSolutions, ...] = field(default=(), kw_only=True)

    @property
    def printed(self) -> tuple[SubfactorSolutions, ...]:
        """Return all that is printed: the sub-factors, then the indices."""
        return self.subfactors + self.indices


def by_subfactor(
    design: Design,
    values: Sequence[Floats],
    se: Sequence[Floats] | None = None,
    reliability: Sequence[Floats | None] | None = None,
) -> tuple[SubfactorSolutions, ...]:
    """Return the solutions group by group, position by position; arrays have shape (n_levels, width) per group."""
    found = []
    for g, group in enumerate(design.groups):
        kept = design.kept[g]
        for k, position in enumerate(group.positions):
            if position is None:
                continue
            mine = reliability[g] if reliability is not None else None
            found.append(
                SubfactorSolutions(
                    position.factor,
                    position.subfactor,
                    group.labels,
                    values[g][:, k],
                    None if kept is None else kept[:, k],
                    None if se is None else se[g][:, k],
                    None if mine is None else mine[:, k],
                )
            )
    return tuple(found)


def values_by_group(design: Design, parts: Sequence[SubfactorSolutions]) -> list[Floats]:
    """Return the solutions as one array (n_levels, width) per group, zero where nothing is printed."""
    values = [np.zeros((g.n_levels, g.width)) for g in design.groups]
    for (g, k), part in zip(printed_positions(design), parts, strict=True):
        values[g][:, k] = part.values
    return values


def printed_positions(design: Design) -> list[tuple[int, int]]:
    """Return (group, position) of each printed sub-factor, in the order of the solutions."""
    groups = enumerate(design.groups)
    return [(g, k) for g, group in groups for k, position in enumerate(group.positions) if position is not None]


def merged_accuracies(
    new: Sequence[SubfactorSolutions], old: Sequence[SubfactorSolutions]
) -> tuple[SubfactorSolutions, ...]:
    """Return the solutions `new` with the accuracies of `old` where they have none of their own."""
    found = []
    for mine, theirs in zip(new, old, strict=True):
        known = {}
        for name in ACCURACIES:
            values, before = getattr(mine, name), getattr(theirs, name)
            if mine.se is None or theirs.se is None:
                known[name] = values if mine.se is not None else before
            elif values is not None or before is not None:
                nothing = np.full(len(mine.se), np.nan)
                older = nothing if before is None else before
                known[name] = np.where(np.isnan(mine.se), older, nothing if values is None else values)
        found.append(replace(mine, **known))
    return tuple(found)


def dropped_columns(design: Design) -> tuple[Dropped, ...]:
    """Return the dependent columns that were left out, by name."""
    found = []
    for g, level, position in design.dropped:
        group = design.groups[g]
        at = group.positions[position]
        assert at is not None
        found.append(Dropped(at.factor, at.subfactor, group.labels.text(level, level + 1)[0]))
    return tuple(found)
