"""Monte Carlo AI-REML against the exact method: the same gradient, information and estimates but for its own noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from henderson.equations.operator import Operator
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.partitions.threads import Team
from henderson.reml import variates
from henderson.reml.monte_carlo import SampledLikelihood
from henderson.reml.optimise import climb, free_values, sigmas_of
from henderson.reml.result import RemlOptions, RemlStop, Rounds
from henderson.reml.sampled import SampledRun
from henderson.reml.setup import Problem, set_up
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.solvers.solve import Stages
from henderson.solvers.solve import set_up as operator_of
from henderson.store.reader import open_store


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Problem]]:
    folder = tmp_path_factory.mktemp("mc") / "data"
    simulate(SimulationConfig(animals=1500, traits=("y1", "y2"), records=1200, recorded="all", seed=3), folder)
    spec = load_model(folder / "model.toml", read_schema, read_levels)
    store: Path = folder / "store.zarr"
    ingest(spec, store)
    data = open_store(store)
    with Team(1) as team:
        yield operator_of(spec, data, team, Stages()), set_up(spec, data)


def basis(n: int) -> np.ndarray:
    found = []
    for i in range(n):
        for j in range(i + 1):
            B = np.zeros((n, n))
            B[i, j] = B[j, i] = 1.0
            found.append(B)
    return np.array(found)


def test_gradient_and_information(case: tuple[Operator, Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    operator, problem = case
    sampled = SampledLikelihood(operator, n_samples=320, rtol=1e-9)
    point = sampled.evaluate(problem.starts)
    exact = problem.likelihood.evaluate(problem.starts)
    assert point is not None
    assert exact is not None
    problem.likelihood.differentiate(exact)
    directions = [basis(len(s)) for s in problem.starts]
    np.testing.assert_allclose(
        sampled.average_information(point, directions),
        problem.likelihood.average_information(exact, directions),
        rtol=1e-3,
        atol=1e-9,
    )
    np.testing.assert_allclose(
        sampled.complete_information(point, directions), problem.likelihood.complete_information(exact, directions)
    )
    monkeypatch.setattr(variates, "COLUMNS", 4)  # a lot at a time
    np.testing.assert_allclose(
        sampled.average_information(point, directions),
        problem.likelihood.average_information(exact, directions),
        rtol=1e-3,
        atol=1e-9,
    )
    noise = sampled.gradient_noise(point, directions)
    mine, theirs = (
        np.concatenate([np.tensordot(d, g, 2) for d, g in zip(directions, gradients, strict=True)])
        for gradients in (point.gradients, exact.gradients)
    )
    assert np.abs((mine - theirs) / np.sqrt(np.diag(noise))).max() < 4.0
    information = problem.likelihood.average_information(exact, directions)
    assert np.sqrt(np.diag(noise) / np.diag(information)).max() < 0.1  # of the sampling error


def test_estimates_are_those_of_the_exact_method(case: tuple[Operator, Problem]) -> None:
    operator, problem = case
    exact = climb(problem.likelihood, problem.structures, problem.starts, RemlOptions())
    found = SampledRun(
        SampledLikelihood(operator), problem.structures, Rounds(problem.starts, 16), RemlOptions(), None
    ).climb()
    assert found.stop is RemlStop.SAMPLED
    noise = found.history[-1].noise
    assert noise is not None
    assert noise.ratio <= 0.1
    assert len(found.history) <= 16
    exact_values = free_values(problem.structures, exact.point.sigmas)
    error = np.array(found.history[-1].parameters) - np.array(exact_values)
    assert np.abs(error / np.array(noise.errors)).max() < 4.0
    for mine, theirs in zip(sigmas_of(problem.structures, found.phis), exact.point.sigmas, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0.15, atol=0.1 * np.diag(theirs).max())


def test_the_same_seed_gives_the_same_gradient(case: tuple[Operator, Problem]) -> None:
    operator, problem = case
    again = SampledLikelihood(operator, n_samples=8, rtol=1e-10)
    one, two = (again.evaluate(problem.starts) for _ in range(2))
    assert one is not None
    assert two is not None
    for a, b in zip(one.gradients, two.gradients, strict=True):
        np.testing.assert_array_equal(a, b)
