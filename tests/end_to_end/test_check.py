"""`henderson check`: factors, positions and, once there is a store, levels and equations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import henderson
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.jobs.check import describe_model
from henderson.language.load import load_model

HENDERSON = Path(sys.executable).with_name("henderson")
MODEL = """[data]
records = "records.csv"
missing = -9
weights = "w"
[pedigree.ped]
file = "pedigree.csv"
inbreeding = false
phantomparents = 1
[model]
equations = '''
y = 1*m + herd*h + age(t(co(p(1,2))))*c + id*u(v(g(1))) + dam*d(v(g(2))) + age(t(co(p(2,3);n(pen))))*r(v(r(1,2)))
z = 1*n + herd*h + id*v(v(g(3))) + herd(w(sex=F))*s(v(k(1)))
'''
polynomials = ["x", "x^2", "x^0"]
[variance.g]
sigma = [[4, 1, 0], [1, 3, 0], [0, 0, 2]]
gamma = { A = { pedigree = "ped" } }
[variance.r]
structure = "diag"
[variance.k]
sigma = 1.5
fix = true
[variance.res]
by = "sex"
[jobs]
run = "reml"
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "pedigree.csv").write_text("id,sire,dam\nG,0,0\nA,G,G\nB,G,G\nC,A,B\nD,A,B\n")
    rows = ["id,dam,herd,pen,sex,age,w,y,z"]
    rows += [f"{a},B,{k % 3},{k % 2},{'FM'[k % 2]},{k + 0.5},1,{k * k % 7},{k}" for k, a in enumerate("CDCDCDCD")]
    (tmp_path / "records.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "m.toml").write_text(MODEL)
    return tmp_path / "m.toml"


def test_a_model_without_its_data_ingested(model: Path) -> None:
    found = describe_model(model)
    assert [(f.factor, f.relationship, f.levels_of, f.width, f.sigma) for f in found.factors] == [
        ("fxcl m", "fixed", "mean", 1, ""),
        ("fxcl h", "fixed", "herd", 1, ""),
        ("fxco c", "fixed", "", 2, ""),
        ("fxcl n", "fixed", "mean", 1, ""),
        ("g", "pedigree ped", "id, dam", 3, "us 3 x 3"),
        ("k", "independent", "herd", 1, "us 1 x 1, held"),
        ("r", "independent", "pen", 2, "diag 2 x 2, not given"),
        ("res", "independent, by sex", "records", 2, "us 2 x 2, not given"),
    ]
    assert {f.levels for f in found.factors} == {None}
    rows = [(p.factor, p.position, p.name, p.traits, p.term, p.variance) for p in found.positions]
    assert rows == [
        ("fxcl", None, "m", "y", "mean", ""),
        ("fxcl", None, "h", "y, z", "herd", ""),
        ("fxco", None, "c_1", "y", "x of age, centred", ""),
        ("fxco", None, "c_2", "y", "x^2 of age, centred", ""),
        ("fxcl", None, "n", "z", "mean", ""),
        ("g", 1, "u", "y", "id", "4"),
        ("g", 2, "d", "y", "dam", "3"),
        ("g", 3, "v", "z", "id", "2"),
        ("k", 1, "s", "z", "herd if sex = F", "1.5"),
        ("r", 1, "r_2", "y", "x^2 of age in pen", ""),
        ("r", 2, "r_3", "y", "x^0 of age in pen", ""),
        ("res", 1, "y", "y", "", ""),
        ("res", 2, "z", "z", "", ""),
    ]
    assert "pedigree ped: pedigree.csv, without inbreeding, 1 phantom parents" in found.data
    assert found.jobs == ("reml",)


def test_levels_are_those_of_the_store(model: Path) -> None:
    store = model.with_name("store.zarr")
    ingest(load_model(model, read_schema, read_levels), store)
    found = describe_model(model, store)
    levels = {f.factor: (f.levels, f.at_most, f.equations) for f in found.factors}
    assert levels == {
        "fxcl m": (1, False, 1), "fxcl h": (3, False, 3), "fxco c": (1, False, 2), "fxcl n": (1, False, 1),
        "g": (5, False, 15), "k": (3, True, 3), "r": (2, False, 4), "res": (8, False, 16),
    }  # fmt: skip
    assert any(note.startswith("at most 29 equations") for note in found.notes)
    (model.parent / "records.csv").write_text("id,dam,herd,pen,sex,age,w,y,z\nC,B,1,1,F,1,1,1,1\n")
    stale = describe_model(model, store)
    assert stale.factors[0].levels is None
    assert any("no whole store of these inputs" in note for note in stale.notes)


@pytest.mark.parametrize(
    ("model", "exact"),
    [
        ("mrode06_3_unequal_models/unequal.toml", True),
        ("blupf90_quicktour/mt.toml", True),
        ("mrode08_1_maternal/maternal.toml", False),  # how many dams have records is not known beforehand
    ],
)
def test_equations_are_as_many_as_are_solved(shared_data: Path, tmp_path: Path, model: str, exact: bool) -> None:
    file = shared_data / model
    record = henderson.solve(file, out=tmp_path).record
    found = describe_model(file, tmp_path / "store.zarr")
    counted = sum(f.equations or 0 for f in found.factors if f.factor != "res")
    solved = record["jobs"][0]["equations"] + len(record["jobs"][0]["dropped"])
    assert (counted == solved) if exact else (counted > solved)
    assert any(f.at_most for f in found.factors) != exact


def test_the_command_prints_all_of_it(model: Path) -> None:
    done = subprocess.run(
        [HENDERSON, "check", model.name], cwd=model.parent, capture_output=True, text=True, check=True
    )
    for words in ("y = 1*m + herd*h", "records: records.csv", "pedigree ped", "herd if sex = F", "jobs: reml"):
        assert words in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("r ") and "r_2" in line)
    assert row.split() == ["r", "r_2", "y", "x^2", "of", "age", "in", "pen", "1"]
    done = subprocess.run(
        [HENDERSON, "check", model.name, "--json"], cwd=model.parent, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["positions"][5]["name"] == "u"
    assert answer["model"]["equations"][0]["trait"] == "y"
