"""Several right-hand sides at once against one at a time, on the models and cuts of the operators' suite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from henderson.equations.columns import ColumnOperator
from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.partitions.threads import Team
from henderson.solvers import conjugation
from henderson.solvers.pcg import pcg
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.preconditioner import BlockPreconditioner, Kind
from henderson.solvers.report import StopReason
from oracles.small_models import Recipe, small_model

MODELS = {
    "aligned traits": Recipe(n_traits=3, covariate=False, mean=False, weights=True),
    "matrix and selfing": Recipe(n_traits=2, matrix=True, selfing=True),
    "wide blocks": Recipe(n_traits=4, regression=True, maternal=True, permanent=True, weights=True),
    "own Sigmas": Recipe(n_traits=2, maternal=True, matrix=True, weights=True, own=True),
}
N_COLUMNS = 5


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return request.param


@pytest.fixture(params=[1, 3], ids=["1 partition", "3 partitions"])
def operator(request: pytest.FixtureRequest, recipe: Recipe) -> Iterator[Operator]:
    spec, data = small_model(recipe)
    with Team(2) as team:
        yield build_operator(full_rank(build_design(spec, data)), data, team, request.param)


def random_columns(operator: Operator, seed: int) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Return the same random vectors side by side and one by one; left-out equations are zero."""
    rng = np.random.default_rng(seed)
    singles = [
        operator.from_levels([rng.normal(size=(g.n_levels, g.width)) for g in operator.design.groups])
        for _ in range(N_COLUMNS)
    ]
    return [np.stack([s[p] for s in singles], axis=1) for p in range(operator.n_partitions)], singles


def owned(operator: Operator, vectors: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([v[:n] for v, n in zip(vectors, operator.n_owned, strict=True)])


def test_products(operator: Operator) -> None:
    columns, singles = random_columns(operator, 1)
    many = ColumnOperator(operator, N_COLUMNS)
    out, single = many.zeros(), operator.zeros()
    many.apply(columns, out)
    for j, x in enumerate(singles):
        operator.apply(x, single)
        np.testing.assert_allclose(owned(operator, out)[:, j], owned(operator, single), rtol=1e-11, atol=1e-11)


def test_right_hand_sides_and_predictions(operator: Operator) -> None:
    design = operator.design
    y = [np.array(design.responses)[:, p.records.start : p.records.stop].T for p in operator.partitions]
    many = ColumnOperator(operator, 2)
    out = many.right_hand_sides([np.stack([np.nan_to_num(v), -2 * np.nan_to_num(v)], axis=2) for v in y])
    single = owned(operator, operator.right_hand_side())
    np.testing.assert_allclose(owned(operator, out), np.stack([single, -2 * single], axis=1), rtol=1e-12)
    # W' R^-1 W x is the record part of C x
    columns, _ = random_columns(operator, 2)
    many = ColumnOperator(operator, N_COLUMNS)
    predicted = many.predict(columns)
    product, again = many.zeros(), many.right_hand_sides(predicted)
    inverses = operator.sigma_inverse
    operator.sigma_inverse = [None] * len(inverses)
    many.apply(columns, product)
    operator.sigma_inverse = inverses
    np.testing.assert_allclose(owned(operator, again), owned(operator, product), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["border", "block", "diagonal"])
def test_solutions_and_iterations_are_those_of_single_solves(
    operator: Operator, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conjugation, "SMALL", 0)  # columns have the recurrence alone
    M = BlockPreconditioner(operator, kind)
    many = ColumnOperator(operator, N_COLUMNS)
    columns, _ = random_columns(operator, 3)
    rhs = many.zeros()
    many.apply(columns, rhs)
    for part in rhs:
        part[:, 2] *= 1e-3
        part[:, 4] = 0.0
    report = pcg_columns(many, M, rhs, rtol=1e-10)
    assert report.reason is StopReason.CONVERGED
    assert report.iterations[4] == 0
    for j in range(N_COLUMNS):
        b = [np.ascontiguousarray(part[:, j]) for part in rhs]
        one = pcg(operator, M, b, rtol=1e-10)
        x = owned(operator, report.solution)[:, j]
        np.testing.assert_allclose(x, owned(operator, one.solution), rtol=1e-6, atol=1e-8 * (1 + np.abs(x).max()))
        assert abs(int(report.iterations[j]) - one.iterations) <= max(3, one.iterations // 5)
    again = pcg_columns(many, M, rhs, rtol=1e-9, x0=report.solution)
    assert again.iterations.sum() <= 5
    assert pcg_columns(many, M, rhs, rtol=1e-10, max_it=2).reason is StopReason.MAX_ITERATIONS
