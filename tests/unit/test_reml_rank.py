"""Covariance matrices of reduced rank: their parameters, their maximum, what is reported, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from henderson.errors import ModelError
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from henderson.language.spec import ModelSpec
from henderson.language.write_toml import write_toml
from henderson.reml.fit import RemlFit, RemlOptions, RemlStop, fit_reml
from henderson.reml.fit_sampled import fit_sampled
from henderson.reml.structures import MATRIX_FLOOR, Structure
from henderson.results.lrt import boundary_mixture, likelihood_ratio
from henderson.store.model_data import ModelData
from oracles.dense_reml import dense_model
from oracles.small_models import positive_definite
from oracles.trials import no_values, trial, with_variances


@pytest.fixture(scope="module")
def full() -> tuple[ModelSpec, ModelData, RemlFit]:
    spec, data = trial(missing=0.1)
    return no_values(spec), data, fit_reml(no_values(spec), data)


@pytest.fixture(scope="module")
def one(full: tuple[ModelSpec, ModelData, RemlFit]) -> RemlFit:
    spec, data, _ = full
    return fit_reml(with_variances(spec, g={"rank": 1}), data)


@pytest.mark.parametrize(("size", "rank"), [(2, 1), (3, 1), (4, 2), (5, 3), (3, 3)])
def test_parameters_reach_all_matrices_of_the_rank_and_no_others(size: int, rank: int) -> None:
    rng = np.random.default_rng(size)
    sigma = np.array(positive_definite(rng, size))
    scale = 3.0 * np.diag(sigma)
    structure = Structure("us", size, np.zeros((size, size), np.bool_), (), scale, sigma, rank)
    phi = structure.pack(sigma)
    assert len(phi) == structure.n_free == size * rank - rank * (rank - 1) // 2
    nearest = structure.sigma(phi)
    np.testing.assert_allclose(structure.pack(nearest), phi, atol=1e-9)
    values, vectors = np.linalg.eigh(sigma / np.sqrt(np.outer(scale, scale)))
    values[: size - rank] = MATRIX_FLOOR
    expected = (vectors * values) @ vectors.T * np.sqrt(np.outer(scale, scale))
    np.testing.assert_allclose(nearest, expected, rtol=1e-8)
    G = rng.normal(size=(size, size))
    slopes, curvature = structure.derivatives(phi), structure.curvature(phi, G + G.T)
    for k, e in enumerate(1e-5 * np.eye(len(phi))):
        np.testing.assert_allclose(slopes[k], (structure.sigma(phi + e) - structure.sigma(phi - e)) / 2e-5, atol=1e-7)
        bent = (structure.derivatives(phi + e) - structure.derivatives(phi - e)) / 2e-5
        np.testing.assert_allclose(curvature[k], np.tensordot(bent, G + G.T, 2), atol=1e-6)
    assert structure.null_directions(nearest).shape[1] == 0
    assert len(structure.tangents(phi)) == len(phi)


def test_the_maximum_is_that_of_the_dense_likelihood(full: tuple[ModelSpec, ModelData, RemlFit], one: RemlFit) -> None:
    _, data, whole = full
    assert one.stop_reason is RemlStop.CONVERGED
    assert one.loglik < whole.loglik - 0.01
    dense = dense_model(trial(missing=0.1)[0], data)

    def sigmas(x: np.ndarray) -> dict[tuple[str, str | None], np.ndarray]:
        L = np.array([[x[2], 0.0], [x[3], x[4]]])
        return {("g", None): np.outer(x[:2], x[:2]) + 1e-8 * np.eye(2), ("res", None): L @ L.T}

    values, vectors = np.linalg.eigh(whole.sigma["g", None].sigma)
    residual = np.linalg.cholesky(whole.sigma["res", None].sigma)
    start = [*(vectors[:, 1] * np.sqrt(values[1])), *residual[np.tril_indices(2)]]
    found = minimize(lambda x: -dense.loglik(sigmas(x)), start, method="BFGS", options={"gtol": 1e-4})
    assert one.loglik == pytest.approx(-found.fun, abs=1e-3)
    for key, sigma in sigmas(found.x).items():
        np.testing.assert_allclose(one.sigma[key].sigma, sigma, rtol=0.01, atol=0.01)


def test_parameters_are_free_with_errors_and_counted_by_rank(
    full: tuple[ModelSpec, ModelData, RemlFit], one: RemlFit
) -> None:
    assert {p.constraint for p in one.parameters} == {"free"}
    assert all(p.se is not None and p.se > 0.0 for p in one.parameters)
    assert abs(one.sigma["g", None].correlation[1, 0]) == pytest.approx(1.0, abs=1e-4)
    whole = full[2]
    assert (one.n_parameters, whole.n_parameters) == (5, 6)
    test = likelihood_ratio(one, whole)
    assert test.df == 1
    assert test.mixture == {0: 0.5, 1: 0.5}


def test_full_rank_is_no_rank(full: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    spec, data, whole = full
    fit = fit_reml(with_variances(spec, g={"rank": 2}), data)
    assert fit.loglik == pytest.approx(whole.loglik, abs=1e-8)
    assert fit.n_parameters == whole.n_parameters
    diagonal = with_variances(spec, g={"structure": "diag"})
    assert boundary_mixture(fit.spec, diagonal, 1) == boundary_mixture(whole.spec, diagonal, 1) == ({1: 1.0}, False)


def test_samples_find_the_same_matrix(full: tuple[ModelSpec, ModelData, RemlFit], one: RemlFit) -> None:
    spec, data, _ = full
    fit = fit_sampled(with_variances(spec, g={"rank": 1}), data, options=RemlOptions(method="mc-ai", threads=1))
    assert fit.stop_reason.converged
    assert fit.n_parameters == 5
    for p, exact in zip(fit.parameters, one.parameters, strict=True):
        assert p.mc_se is not None
        assert abs(p.value - exact.value) < 4.0 * p.mc_se


def test_em_does_not_take_a_rank(full: tuple[ModelSpec, ModelData, RemlFit]) -> None:
    spec, data, _ = full
    with pytest.raises(ModelError, match="take method 'ai'"):
        fit_reml(with_variances(spec, g={"rank": 1}), data, options=RemlOptions(method="em"))


MODEL = """
[data]
records = "r.csv"
[model]
equations = "y1 = 1*m1 + id*u1(v(g(1)))\\ny2 = 1*m2 + id*u2(v(g(2)))"
[variance.g]
{}
[variance.res]
[jobs]
run = ["reml"]
"""


def read(folder: Path, variance: str) -> ModelSpec:
    (folder / "r.csv").write_text("id,y1,y2\na,1,2\n")
    (folder / "m.toml").write_text(MODEL.format(variance))
    return load_model(folder / "m.toml", read_schema)


def test_a_rank_is_read_and_written(tmp_path: Path) -> None:
    spec = read(tmp_path, "rank = 1")
    assert spec.variance("g").rank == 1
    (tmp_path / "again.toml").write_text(write_toml(spec))
    assert load_model(tmp_path / "again.toml", read_schema) == replace(spec, source=spec.source)


@pytest.mark.parametrize(
    ("variance", "words"),
    [
        ("rank = 3", "3 is more than the 2 positions"),
        ("rank = 0", "whole number from 1 on"),
        ('rank = 1\nstructure = "diag"', "structure 'diag' has full rank"),
        ('rank = 1\nequal = [["1,1", "2,2"]]', "held or equal"),
    ],
)
def test_ranks_that_cannot_be_are_refused(variance: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        read(tmp_path, variance)
