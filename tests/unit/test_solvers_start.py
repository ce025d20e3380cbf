"""What an earlier run's solutions lack: means of parents along the pedigree, classes from their own equations."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.partitions.exchange import Vectors
from henderson.partitions.threads import Team
from henderson.solvers.start import Start, completed
from henderson.solvers.sweep import SweepPreconditioner, classes_of, preconditioner_of
from oracles.small_models import Recipe, small_model

RECIPE = Recipe(n_traits=2, n_animals=90)


def start_of(operator: Operator, values: list[np.ndarray], known: list[np.ndarray]) -> Start:
    x = operator.from_levels([np.where(k, v, 0.0) for v, k in zip(values, known, strict=True)])
    had = operator.from_levels([k.astype(float) for k in known])
    return Start(x, [part[:n] > 0.0 for part, n in zip(had, operator.n_owned, strict=True)])


def residual(operator: Operator, x: Vectors) -> list[np.ndarray]:
    product = operator.zeros()
    operator.apply([part.copy() for part in x], product)
    return operator.to_levels([b - q for b, q in zip(operator.right_hand_side(), product, strict=True)])


@pytest.mark.parametrize("partitions", [1, 2, 3])
def test_new_animals_get_the_mean_of_their_parents(partitions: int) -> None:
    spec, data = small_model(RECIPE)
    rng = np.random.default_rng(3)
    with Team(1) as team:
        design = full_rank(build_design(spec, data))
        operator = build_operator(design, data, team, partitions)
        g, group = next((k, g) for k, g in enumerate(design.groups) if g.covariance and g.covariance.kind == "pedigree")
        pedigree = data.pedigrees[group.covariance.name]
        values = [rng.normal(size=(each.n_levels, each.width)) for each in design.groups]
        known = [np.ones(v.shape, np.bool_) for v in values]
        known[g][rng.choice(group.n_levels, group.n_levels // 2, replace=False)] = False
        found = operator.to_levels(completed(operator, start_of(operator, values, known), None))
        expected = np.where(known[g], values[g], 0.0)
        new = np.flatnonzero(~known[g][:, 0])
        for _ in range(len(new)):  # in any order of the animals, until nothing changes
            parents = [np.where((p >= 0)[:, None], expected[p], 0.0) for p in (pedigree.sire[new], pedigree.dam[new])]
            expected[new] = 0.5 * (parents[0] + parents[1])
        np.testing.assert_allclose(found[g], expected, rtol=1e-14, atol=1e-14)
        assert np.abs(expected[new]).max() > 0.1


@pytest.mark.parametrize("partitions", [1, 2])
def test_the_sweep_solves_for_all_classes(partitions: int) -> None:
    spec, data = small_model(RECIPE)
    with Team(1) as team:
        design = full_rank(build_design(spec, data))
        operator = build_operator(design, data, team, partitions)
        values = [np.ones((g.n_levels, g.width)) for g in design.groups]
        known = [np.ones(v.shape, np.bool_) for v in values]
        preconditioner = SweepPreconditioner(operator)
        before = residual(operator, operator.from_levels(values))
        left = residual(operator, completed(operator, start_of(operator, values, known), preconditioner))
        for g in classes_of(operator):
            assert np.abs(left[g]).max() < 1e-7 * np.abs(before[g]).max()


def test_blocks_solve_for_new_levels_alone() -> None:
    spec, data = small_model(RECIPE)
    with Team(1) as team:
        design = full_rank(build_design(spec, data))
        operator = build_operator(design, data, team, 1)
        values = [np.ones((g.n_levels, g.width)) for g in design.groups]
        known = [np.ones(v.shape, np.bool_) for v in values]
        g = next(k for k, group in enumerate(design.groups) if group.covariance is None and group.n_levels > 2)
        known[g][1] = False
        start = start_of(operator, values, known)
        found = operator.to_levels(completed(operator, start, preconditioner_of(operator, "block")))
        kept = operator.to_levels(operator.from_levels(values))
        kept[g][1] = found[g][1]
        for mine, theirs in zip(found, kept, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        left = residual(operator, operator.from_levels(found))[g][1]
        assert np.abs(left).max() < 1e-8
