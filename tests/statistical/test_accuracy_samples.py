"""Prediction error variances from samples against the inverse: their values, their errors, their parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from henderson.accuracy.gamma import of_data
from henderson.accuracy.pev_samples import SampledPev, combined, prior_samples, sample_pev
from henderson.equations.assembly import Assembled, assemble
from henderson.equations.columns import ColumnOperator
from henderson.equations.design import build_design
from henderson.equations.matrix_root import with_roots
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.equations.samples import sample_right_hand_sides
from henderson.errors import NotConvergedError, NotSupportedError
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.partitions.threads import Team
from henderson.reml.quadrature import log_determinant
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.solve import Stages, set_up
from henderson.solvers.sweep import preconditioner_for_many
from henderson.store.model_data import ModelData
from henderson.store.reader import open_store
from oracles.pedigree_files import make_kind, make_records, write_model
from oracles.small_models import Recipe, small_model

RECIPES = {
    "user matrix": Recipe(matrix=True, n_animals=60, n_records=150, seed=3),
    "maternal": Recipe(maternal=True, permanent=True, weights=True, interaction=True, n_animals=150, n_records=260),
    "wide": Recipe(n_traits=4, regression=True, permanent=True, n_animals=80, n_records=240, seed=1),
}
KINDS = ("metafounders", "uncertain metafounders", "fixed groups")
SEEDS = 12
N = 100


@dataclass
class Case:
    operator: Operator
    data: ModelData
    preconditioner: BlockPreconditioner
    assembled: Assembled
    inverse: np.ndarray

    def sampled(self, seed: int, n: int = N) -> SampledPev:
        solver = preconditioner_for_many(self.operator)
        return sample_pev(self.operator, solver, self.preconditioner, of_data(self.data), n_samples=n, seed=seed)


def make(name: str, folder: Path, partitions: int = 2) -> Case:
    if name in RECIPES:
        spec, data = small_model(RECIPES[name])
        operator = with_roots(build_operator(full_rank(build_design(spec, data)), data, Team(1), partitions))
    else:
        kind = make_kind(name, 4)
        spec = load_model(write_model(folder, kind, make_records(kind, 4)), read_schema)
        ingest(spec, folder / "s.zarr", workers=1)
        data = open_store(folder / "s.zarr")
        operator = set_up(spec, data, Team(1), Stages())
    assembled = assemble(operator)
    inverse = np.linalg.inv(assembled.matrix.toarray())
    return Case(operator, data, BlockPreconditioner(operator), assembled, inverse)


@pytest.fixture(scope="module", params=(*RECIPES, *KINDS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make(request.param, tmp_path_factory.mktemp("pev"))


def test_variances_and_their_errors(case: Case) -> None:
    exact = case.assembled.to_levels(np.diag(case.inverse))
    deviations = []
    for seed in range(SEEDS):
        found = case.sampled(100 * seed)
        pairs = zip(case.operator.to_levels(found.variances), case.operator.to_levels(found.mc_se), strict=True)
        for (value, error), truth, number in zip(pairs, exact, case.assembled.number, strict=True):
            assert np.isnan(value[number < 0]).all()
            deviations.append(((value - truth) / error)[number >= 0])
    z = np.concatenate(deviations)
    assert not np.isnan(z).any()
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.25
    assert abs(z.mean()) < 0.35  # errors of relatives go together, and weights are estimates
    assert np.mean(np.abs(z) < 3.0) > 0.98


def test_errors_are_no_larger_than_those_of_each_formulation(case: Case) -> None:
    found = case.sampled(1)
    for variance, error, prior in zip(found.variances, found.mc_se, found.prior, strict=True):
        known = ~np.isnan(variance) & (variance > 1e-6 * np.nanmax(variance))
        plain = np.sqrt(2.0 / N) * variance
        assert np.all(error[known] <= 1.05 * plain[known])
        other = np.sqrt(2.0 / N) * (prior - variance)
        both = known & ~np.isnan(prior) & (other > 0.0)
        if case.operator.design.pinned == ():
            assert np.median((error / np.minimum(plain, other))[both]) < 0.95


def test_reliabilities(case: Case) -> None:
    found = case.sampled(1)
    value, error = (case.operator.to_levels(v) for v in found.reliabilities())
    exact = case.assembled.to_levels(np.diag(case.inverse))
    gamma = of_data(case.data)
    for g, group in enumerate(case.operator.design.groups):
        if group.covariance is None:
            assert np.isnan(value[g]).all()
            continue
        diagonal = gamma(group.covariance, np.arange(group.n_levels))
        truth = 1.0 - exact[g] / (diagonal[:, None] * np.diag(group.covariance.sigma))
        known = ~np.isnan(truth)
        assert np.mean(np.abs(value[g] - truth)[known] < 3.0 * error[g][known]) > 0.9


@pytest.mark.parametrize("name", ["maternal", "metafounders"])
def test_prior_samples(name: str, tmp_path: Path) -> None:
    """Cov(u) = G, and u - s, the solution beside it, is uncorrelated with s: then Cov(u, s) = PEV."""
    case = make(name, tmp_path)
    us, etas = [], []
    proper = [g.covariance is not None for g in case.operator.design.groups]
    columns = ColumnOperator(case.operator, 64)
    for seed in range(24):
        etas.append(flat(case, sample_right_hand_sides(columns, seed)))
        us.append(flat(case, prior_samples(columns, seed, proper)))
    u, s = np.concatenate(us, axis=1), case.inverse @ np.concatenate(etas, axis=1)
    n = u.shape[1]
    G = np.zeros(len(u))
    for g, group in enumerate(case.operator.design.groups):
        if group.covariance is not None:
            diagonal = of_data(case.data)(group.covariance, np.arange(group.n_levels))
            G[case.assembled.number[g]] = diagonal[:, None] * np.diag(group.covariance.sigma)
    random = G > 0.0
    assert np.abs(np.mean(u**2, axis=1)[random] / G[random] - 1.0).max() < 6.0 * np.sqrt(2.0 / n)
    pev = np.diag(case.inverse)[random]
    correlation = np.mean((u - s) * s, axis=1)[random] / np.sqrt(pev * np.maximum(G[random] - pev, 1e-12))
    assert np.abs(correlation).max() < 5.5 / np.sqrt(n)


def flat(case: Case, vectors: list[np.ndarray]) -> np.ndarray:
    out = np.zeros((len(case.inverse), vectors[0].shape[1]))
    for j in range(out.shape[1]):
        levels = case.operator.to_levels([np.ascontiguousarray(v[:, j]) for v in vectors])
        for number, values in zip(case.assembled.number, levels, strict=True):
            out[number[number >= 0], j] = values[number >= 0]
    return out


def test_the_same_for_any_number_of_partitions(tmp_path: Path) -> None:
    found = [make("maternal", tmp_path, partitions) for partitions in (1, 3)]
    values = [c.operator.to_levels(c.sampled(3, 40).variances) for c in found]
    for one, other in zip(*values, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)  # the solves end at 1e-5


def test_weights() -> None:
    """Exact mean squares give back p; where one formulation knows all, its value is taken."""
    least, most = np.full(3, 0.2), np.full(3, 1.0)
    p = np.array([0.25, 0.6, 0.9999])
    value, error = combined(least, p - least, most, most - p, 100)
    np.testing.assert_allclose(value, p, rtol=1e-6)
    np.testing.assert_allclose(error[1], np.sqrt(2.0 / 100) * 0.4 / np.sqrt(2.0), rtol=1e-6)
    assert np.all(error[[0, 2]] < [0.05 * np.sqrt(0.02), 0.0001 * np.sqrt(0.02)] * np.array(1.001))
    value, error = combined(least, p - least, np.full(3, np.nan), np.zeros(3), 50)
    np.testing.assert_allclose(value, p)
    np.testing.assert_allclose(error, np.sqrt(2.0 / 50) * (p - least))


def test_log_determinant_with_groups_in_the_relationships(case: Case) -> None:
    """The equations that pinned groups hold at 0 have no part in log|C|."""
    pins = [np.log(p.pins.precision).sum() for p in case.operator.partitions if p.pins is not None]
    exact = -np.linalg.slogdet(case.inverse)[1] - sum(pins)
    found = log_determinant(case.operator, case.preconditioner, 64, 1)
    assert abs(found.value - exact) < 3.0 * found.mc_se


def test_refusals(tmp_path: Path) -> None:
    spec, data = small_model(Recipe(matrix=True))
    operator = build_operator(full_rank(build_design(spec, data)), data, Team(1))
    blocks = BlockPreconditioner(operator)
    with pytest.raises(NotSupportedError, match="user matrix of 'k'"):
        sample_pev(operator, blocks, blocks, of_data(data), n_samples=2)
    case = make("maternal", tmp_path)
    with pytest.raises(NotConvergedError, match="job 'pev' stopped after 3 products"):
        sample_pev(case.operator, case.preconditioner, case.preconditioner, of_data(case.data), n_samples=2, max_it=3)
