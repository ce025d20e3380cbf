"""Random small models as real files, through the one call, against a dense oracle that reads the files itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import henderson
from oracles.file_blup import Effect, FileBlup, Recipe, check_solutions, file_blup
from oracles.random_files import Written

SEEDS = range(12)


def compare(result: henderson.Result, oracle: FileBlup, accuracy: bool) -> None:
    check_solutions(result.solutions, oracle, accuracy)


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
