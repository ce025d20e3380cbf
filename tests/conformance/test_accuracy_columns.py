"""Prediction error covariances of chosen levels against the inverse by NumPy, for models and cuts of all kinds."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.accuracy.chosen import choose, labels_of
from henderson.accuracy.gamma import of_data
from henderson.accuracy.pev import all_levels, chosen_levels
from henderson.accuracy.pev_columns import columns_for, reliabilities, solve_pev
from henderson.equations.assembly import assemble
from henderson.equations.operator import build_operator
from henderson.errors import ModelError
from henderson.partitions.communicator import ALONE
from henderson.partitions.threads import Team
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.solve import Equations, Stages, set_up
from oracles.small_models import Recipe, small_model

MODELS = {
    "two traits, overlays": Recipe(n_traits=2, overlay=True, weights=True),
    "matrix and selfing": Recipe(n_traits=2, matrix=True, selfing=True),
    "wide blocks": Recipe(n_traits=3, regression=True, maternal=True, permanent=True, nested=True),
}


@pytest.mark.parametrize("n_partitions", [1, 3])
@pytest.mark.parametrize("n_columns", [1, 7])
@pytest.mark.parametrize("recipe", MODELS.values(), ids=MODELS.keys())
def test_blocks_of_the_inverse(recipe: Recipe, n_columns: int, n_partitions: int) -> None:
    spec, data = small_model(recipe)
    with Team(2) as team:
        design = set_up(spec, data, team, Stages()).design
        operator = build_operator(design, data, team, n_partitions)
        assembled = assemble(operator)
        inverse = np.linalg.inv(assembled.matrix.toarray())
        factors = list(dict.fromkeys(p.factor for g in design.groups for p in g.positions if p is not None))
        chosen = choose(operator, factors, None, ALONE)
        assert sum(len(c.levels) * len(c.positions) for c in chosen) >= design.n_equations
        M = BlockPreconditioner(operator)
        report = solve_pev(operator, M, chosen, n_columns=n_columns, rtol=1e-13)
        assert report.n_columns == design.n_equations
        for block in report.blocks:
            c = block.chosen
            rows = assembled.number[c.group][c.levels][:, list(c.positions)]
            wanted = np.where(
                (rows[:, :, None] < 0) | (rows[:, None, :] < 0), np.nan, inverse[rows[:, :, None], rows[:, None, :]]
            )
            np.testing.assert_allclose(block.values, wanted, rtol=1e-8, atol=1e-11)
        shares = reliabilities(design, report.blocks, of_data(data))
        for share, block in zip(shares, report.blocks, strict=True):
            assert (share is None) == (design.groups[block.chosen.group].covariance is None)
        for names, c in zip(labels_of(operator, chosen, ALONE), chosen, strict=True):
            assert names == design.groups[c.group].labels.take(c.levels).text()


def test_chosen_levels_have_the_accuracies_of_all() -> None:
    spec, data = small_model(Recipe(n_traits=2, maternal=True))
    with Equations(spec, data) as equations:
        every = all_levels(equations)
        factor = next(p.factor for p in every.subfactors if p.reliability is not None)
        labels = next(p.labels for p in every.subfactors if p.factor == factor)
        some = labels.text()[2:9:3]
        found = chosen_levels(equations, equations.solve(rtol=1e-12), [factor], some, memory=1 << 20, rtol=1e-12)
    for mine, theirs in zip(found.subfactors, every.subfactors, strict=True):
        if mine.factor != factor:
            assert mine.se is None
            continue
        wanted = np.isin(labels.text(), some)
        assert mine.se is not None
        assert mine.reliability is not None
        np.testing.assert_array_equal(~np.isnan(mine.se), wanted)
        np.testing.assert_allclose(mine.se[wanted], theirs.se[wanted], rtol=1e-9)  # type: ignore[index]
        np.testing.assert_allclose(mine.reliability[wanted], theirs.reliability[wanted], atol=1e-9)  # type: ignore[index]


def test_names_and_memory() -> None:
    spec, data = small_model(Recipe())
    with Equations(spec, data) as equations:
        operator = equations.operator
        with pytest.raises(ModelError, match="unknown factor or sub-factor 'G'"):
            choose(operator, ["G"], None, ALONE)
        with pytest.raises(ModelError, match="'zz', 'yy' are no levels of"):
            choose(operator, [], ["zz", "yy"], ALONE)
        assert choose(operator, [], [], ALONE) == ()
        n = sum(p.layout.n_local for p in operator.partitions)
        assert [columns_for(operator, m) for m in (0, 3 * 8 * 5 * n, 1 << 40)] == [1, 3, 64]
