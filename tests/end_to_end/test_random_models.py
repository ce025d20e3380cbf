"""Random small models as real files, through the one call, against a dense oracle that reads the files itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import henderson
from oracles.file_blup import Effect, FileBlup, Recipe, file_blup
from oracles.random_files import Written

SEEDS = range(12)


def compare(result: henderson.Result, oracle: FileBlup, accuracy: bool) -> None:
    table = result.solutions
    keys = list(zip(table.subfactor.astype(str), table.level.fillna("").astype(str), strict=True))
    assert len(set(keys)) == len(keys)
    value = dict(zip(keys, table.value, strict=True))
    fixed = [k for k in keys if k not in oracle.random]
    assert set(oracle.random) <= set(keys)
    assert set(fixed) <= set(oracle.X)
    assert len(fixed) == oracle.rank
    found = np.array([value[k] for k in oracle.random])
    wanted = np.array(list(oracle.random.values()))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    X = np.array([oracle.X[k] for k in fixed]).T.reshape(len(oracle.rows), len(fixed))
    np.testing.assert_allclose(X @ [value[k] for k in fixed], oracle.fitted, rtol=1e-6, atol=1e-6)
    if not accuracy:
        return
    se = dict(zip(keys, table.se, strict=True))
    reliability = dict(zip(keys, table.reliability, strict=True))
    pev = np.array(list(oracle.pev.values()))
    prior = np.array(list(oracle.prior.values()))
    np.testing.assert_allclose(np.square([se[k] for k in oracle.pev]), pev, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose([reliability[k] for k in oracle.pev], 1 - pev / prior, rtol=1e-6, atol=1e-6)
    variances = np.diag(np.linalg.inv(X.T @ oracle.V_inverse @ X))
    np.testing.assert_allclose([se[k] for k in fixed], np.sqrt(variances), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_model(seed: int, tmp_path: Path) -> None:
    written = Written(seed, tmp_path)
    oracle = file_blup(written.m)
    result = henderson.solve(written.toml, out=tmp_path / "out", threads=1)
    compare(result, oracle, written.pev)
    if written.xml is not None:
        compare(henderson.solve(written.xml, out=tmp_path / "lmt", threads=1), oracle, accuracy=False)


@pytest.mark.parametrize("other", ["1", "b"])
def test_an_individual_of_a_user_matrix_may_be_called_0(other: str, tmp_path: Path) -> None:
    (tmp_path / "K.csv").write_text(f"id,0,{other}\n0,1,0.2\n{other},0.2,1\n")
    (tmp_path / "records.csv").write_text(f"y,g\n1,0\n2,{other}\n4,0\n3,{other}\n9,0\n")
    (tmp_path / "model.toml").write_text(
        '[data]\nrecords = "records.csv"\n[matrix.K]\nfile = "K.csv"\n'
        '[model]\nequations = "y = 1*m + g*u(v(k(1)))"\n'
        '[variance.k]\nsigma = [[1.0]]\ngamma = { matrix = "K" }\n[variance.res]\nsigma = [[1.0]]\n'
    )
    effects = [Effect("y", "1", "m"), Effect("y", "g", "u")]
    sigma = {"k": np.eye(1), "res": np.eye(1)}
    recipe = Recipe(tmp_path / "records.csv", ["y"], effects, {"u": ("k", (0,))}, sigma)
    recipe.gamma["k"] = ("matrix", tmp_path / "K.csv", False)
    compare(henderson.solve(tmp_path / "model.toml", out=tmp_path / "out"), file_blup(recipe), accuracy=False)
