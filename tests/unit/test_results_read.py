"""Results read back: tables and arrays are the solutions, from memory, CSV and Parquet alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import henderson
from henderson.errors import InputFileError, UsageError
from henderson.jobs.api import Result
from henderson.results import lazy_columns
from henderson.results.solution_tables import write_solutions
from henderson.solvers.solutions import SubfactorSolutions
from henderson.store.model_data import Labels

Parts = tuple[SubfactorSolutions, ...]
Results = Result | henderson.Saved

N = 150_000  # more than two row groups


def term(subfactor: str, variable: str, polynomials: tuple[int, ...] = ()) -> dict[str, object]:
    return {"subfactor": subfactor, "variable": variable, "polynomials": list(polynomials), "where": []}


MODEL = {
    "equations": [
        {"trait": "milk", "terms": [term("h", "herd"), term("a", "dim", (1, 2)), term("m", "id")]},
        {"trait": "fat", "terms": [term("h", "herd"), term("b", "id")]},
    ],
    "variances": [{"name": "g", "gamma": {"kind": "pedigree", "name": "ped"}}],
}
RECORD = {"inputs": [], "jobs": [], "config": {"model": MODEL}}


@pytest.fixture(scope="module")
def parts() -> Parts:
    rng = np.random.default_rng(1)
    labels = Labels(rng.permutation(N).astype(np.int64))
    reliability = rng.random(N)
    reliability[::7] = np.nan
    random = [
        SubfactorSolutions("g", name, labels, rng.normal(size=N), None, rng.random(N), reliability)
        for name in ("a_1", "a_2", "m", "b")
    ]
    herds = SubfactorSolutions(
        "fxcl", "h", Labels.from_text(["A", "B", "C"]), np.arange(3.0), np.array([True, False, True])
    )
    other = SubfactorSolutions("fxcl", "z", Labels.from_text(["A"]), np.arange(1.0))
    return (herds, other, *random)


@pytest.fixture(scope="module", params=["memory", "csv", "parquet", "folder"])
def results(request: pytest.FixtureRequest, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Results:
    if request.param == "memory":
        return Result(RECORD, parts)
    out = tmp_path_factory.mktemp(request.param)
    (out / "run.json").write_text(json.dumps(RECORD))
    path = write_solutions(parts, out, parquet_above=10**9 if request.param == "csv" else 10)
    assert path.suffix == (".csv" if request.param == "csv" else ".parquet")
    if request.param == "folder":
        path.rename(out / "part-0.parquet")
        path.mkdir()
        (out / "part-0.parquet").rename(path / "part-0.parquet")
    return henderson.read(out)


def test_tables_are_the_solutions(results: Results, parts: Parts) -> None:
    assert results.subfactors == tuple((p.factor, p.subfactor) for p in parts)
    whole = results.solutions
    assert len(whole) == 4 * N + 3
    assert whole.level.iloc[:3].tolist() == ["A", "C", "A"]
    a2 = results.effect("a_2")
    assert a2["value"].to_numpy() == pytest.approx(parts[3].values, rel=1e-12)
    assert a2.index[:3].tolist() == parts[3].labels.text(0, 3)
    assert np.isnan(a2["reliability"].iloc[7])
    assert set(results.to_pandas("fxcl").factor) == {"fxcl"}
    with pytest.raises(KeyError, match="no sub-factor 'u'; there are h, z, a_1"):
        results.effect("u")
    with pytest.raises(UsageError, match="unknown factor 'f'"):
        results.to_pandas("f")


def test_arrays_have_effects_and_traits(results: Results, parts: Parts) -> None:
    g = results.to_xarray("g")
    assert dict(g.sizes) == {"animal": N, "effect": 3, "trait": 2}
    assert g.effect.values.tolist() == ["dim.1", "dim.2", "id"]
    assert g.subfactor.sel(trait="milk").values.tolist() == ["a_1", "a_2", "m"]
    assert g.subfactor.sel(trait="fat").values.tolist() == ["", "", "b"]
    assert g.value.sel(effect="id", trait="fat").values == pytest.approx(parts[5].values, rel=1e-12)
    assert np.isnan(g.value.sel(effect="dim.1", trait="fat").isel(animal=slice(0, 70_000, 1000))).all()
    rows = [140_000, 3, 3, 70_000]
    for name in ("value", "se"):
        one = getattr(parts[2], "values" if name == "value" else name)
        picked = g[name].isel(animal=rows, effect=0, trait=0).values
        assert picked == pytest.approx(one[rows], rel=1e-12)
        assert g[name].isel(animal=-1, effect=0, trait=0).item() == pytest.approx(one[-1], rel=1e-12)
        back = g[name].isel(animal=slice(None, None, -50_000), effect=0, trait=0).values
        assert back == pytest.approx(one[::-50_000], rel=1e-12)
    animal = parts[2].labels.text(99, 100)[0]
    assert g.value.sel(animal=animal, effect="dim.2", trait="milk").item() == pytest.approx(
        parts[3].values[99], rel=1e-12
    )
    bare = results.to_xarray("g", levels=False)
    assert "animal" not in bare.coords
    with pytest.raises(UsageError, match="different levels"):
        results.to_xarray("fxcl")


def test_only_what_is_indexed_is_read(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    write_solutions(parts, tmp_path, parquet_above=10)
    g = henderson.read(tmp_path).to_xarray("g", levels=False)
    read: list[tuple[int, list[str]]] = []
    original = lazy_columns.pq.ParquetFile.read_row_group

    def watched(self: object, number: int, columns: list[str]) -> object:
        read.append((number, columns))
        return original(self, number, columns=columns)

    monkeypatch.setattr(lazy_columns.pq.ParquetFile, "read_row_group", watched)
    found = g.value.isel(animal=slice(0, 10)).sel(effect="id", trait="fat").values
    assert found == pytest.approx(parts[5].values[:10], rel=1e-12)
    assert len(read) == 1
    assert read[0][1] == ["value"]


def test_other_tables_and_no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputFileError, match="no solutions"):
        henderson.read(tmp_path)
    small = (SubfactorSolutions("g", "b", Labels(np.arange(3)), np.arange(3.0)),)
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    write_solutions(small, tmp_path)
    results = henderson.read(tmp_path)
    assert results.components.empty
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(UsageError, match=r"pip install 'henderson\[xarray\]'"):
        results.to_xarray("g")
