"""Terms of one level, and residual variances by class, against models that say the same in another way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from henderson.errors import HendersonError
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.language.spec import ModelSpec
from henderson.solvers.solve import solve_model
from henderson.store.reader import open_store

N = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    sex = rng.choice(["F", "M"], N)
    herd, x, y = rng.integers(1, 5, N), rng.normal(size=N), rng.normal(size=N) + 10
    w = np.where(sex == "F", 1.0, 0.25)
    rows = [
        f"{s},{h},{a:.6f},{a * (s == 'F'):.6f},{h if s == 'F' else 'none'},{v:.6f},{k}"
        for s, h, a, v, k in zip(sex, herd, x, y, w, strict=True)
    ]
    (tmp_path / "r.csv").write_text("\n".join(["sex,herd,x,xF,herdF,y,w", *rows]) + "\n")
    return tmp_path


def solve(folder: Path, model: str, by: bool = False) -> dict[str, np.ndarray]:
    text = '[data]\nrecords = "r.csv"\n' + model
    (folder / "m.toml").write_text(text)
    spec = load_model(folder / "m.toml", read_schema, read_levels)
    if by:
        spec = by_sex(spec)
    ingest(spec, folder / f"s{abs(hash(text))}.zarr")
    data = open_store(folder / f"s{abs(hash(text))}.zarr")
    found = solve_model(spec, data, rtol=1e-13)
    assert found.report.converged
    return {s.subfactor: s.values for s in found.subfactors}


def by_sex(spec: ModelSpec) -> ModelSpec:
    classes = (("F", ((1.0,),)), ("M", ((4.0,),)))
    residual = replace(spec.residual, by="sex", classes=classes)
    return replace(spec, variances=(*(v for v in spec.variances if v.name != "res"), residual))


def test_a_covariate_of_one_level_is_zero_elsewhere(folder: Path) -> None:
    res = "[variance.res]\nsigma = [[1.0]]\n"
    one = solve(folder, "[model]\nfixed = \"y ~ sex + at(sex, 'F'):x\"\n" + res)
    other = solve(folder, '[model]\nfixed = "y ~ sex + xF"\n' + res)
    np.testing.assert_allclose(list(one.values())[-1], list(other.values())[-1], rtol=1e-10)


def test_a_random_class_of_one_level_has_only_its_records(folder: Path) -> None:
    res = "[variance.res]\nsigma = [[1.0]]\n"
    formula = '[model]\nfixed = "y ~ sex"\nrandom = "{}"\n[variance.{}]\nsigma = [[0.5]]\n'
    one = solve(folder, formula.format("~ at(sex, 'F'):herd", "herd") + res)
    other = solve(folder, formula.format("~ herdF", "herdF") + res)
    np.testing.assert_allclose(other["herdF"][4], 0.0, atol=1e-12)  # 'none': all males, whose sex is fixed
    np.testing.assert_allclose(one["herd"], other["herdF"][:4], rtol=1e-9)


def test_residual_by_class_is_a_weight_for_one_trait(folder: Path) -> None:
    model = '[model]\nequations = "y = sex*s + x(t(co))*b + herd*h(v(g(1)))"\n[variance.g]\nsigma = [[0.5]]\n'
    res = "[variance.res]\nsigma = [[1.0]]\n"
    one = solve(folder, model + res, by=True)
    other = solve(folder, model.replace("[model]", 'weights = "w"\n[model]') + res)
    for name in other:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12)


def test_a_level_that_does_not_exist_is_named(folder: Path) -> None:
    with pytest.raises(HendersonError, match="'X'"):
        solve(folder, "[model]\nfixed = \"y ~ at(sex, 'X'):x\"\n[variance.res]\nsigma = [[1.0]]\n")
