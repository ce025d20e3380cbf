"""PETSc over MPI: one answer and one residual history on any number of ranks, that of the embedded engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from henderson.ingest.run import ingest
from henderson.jobs.run import understand
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.solvers.solve import solve_model
from henderson.store.reader import open_store

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
pytestmark = pytest.mark.usefixtures("mpiexec")

RANKS = [1, 2, 3, 4]
RTOL = 1e-12
SCRIPT = Path(__file__).parents[1] / "oracles" / "ranks.py"
MODEL = """
[data]
records = "records.csv"
[pedigree.ped]
file = "pedigree.csv"
[matrix.K]
file = "K.csv"
[model]
equations = \"\"\"
y1 = herd*h1 + age(t(co))*a1 + id*u1(v(g(1))) + dam*d1(v(g(4))) + dam*p1(v(pe(1))) + line*k1(v(k(1)))
y2 = herd*h2 + age(t(co))*a2 + id*u2(v(g(2))) + dam*d2(v(g(5))) + dam*p2(v(pe(2)))
y3 = herd*h3 + sex*s3 + id*u3(v(g(3))) + dam*d3(v(g(6))) + dam*p3(v(pe(3)))
\"\"\"
[variance.g]
sigma = SIGMA
gamma = { A = { pedigree = "ped" } }
[variance.pe]
sigma = [[8.0, 2.0, 1.0], [2.0, 8.0, 2.0], [1.0, 2.0, 8.0]]
[variance.k]
sigma = [[4.0]]
gamma = { matrix = "K" }
[variance.res]
sigma = [[70.0, 21.0, 6.0], [21.0, 70.0, 21.0], [6.0, 21.0, 70.0]]
"""


def write_model(folder: Path) -> None:
    """Three traits with gaps, direct and maternal effects, permanent ones, a relationship matrix, covariates."""
    data = folder / "simulated"
    simulate(SimulationConfig(animals=500, seed=4), data)
    pedigree = pd.read_csv(data / "pedigree.csv", dtype=str)
    records = pd.read_csv(data / "records.csv", dtype={"id": str})
    rng = np.random.default_rng(1)
    records["dam"] = records["id"].map(pedigree.set_index("id")["dam"])
    records["line"] = [f"l{k}" for k in rng.integers(0, 12, len(records))]
    records["sex"] = rng.integers(1, 3, len(records))
    pedigree.to_csv(folder / "pedigree.csv", index=False)
    records.to_csv(folder / "records.csv", index=False)
    B = rng.normal(size=(12, 12))
    K = pd.DataFrame(B @ B.T / 12 + np.eye(12), columns=[f"l{k}" for k in range(12)])
    K.insert(0, "id", K.columns)
    K.to_csv(folder / "K.csv", index=False)
    among = np.array([[1.0, 0.4, 0.2], [0.4, 1.0, 0.4], [0.2, 0.4, 1.0]])
    sigma = np.kron([[40.0, -6.0], [-6.0, 15.0]], among)  # direct, maternal
    (folder / "model.toml").write_text(MODEL.replace("SIGMA", str(sigma.round(2).tolist())))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    write_model(folder)
    ingest(understand(folder / "model.toml"), folder / "store.zarr", workers=1)
    return folder


@pytest.fixture(scope="module")
def embedded(folder: Path) -> dict[str, Any]:
    """The embedded engine's answers."""
    spec, data = understand(folder / "model.toml"), open_store(folder / "store.zarr")
    answers = {}
    for kind in ("border", "block", "diagonal"):
        report = solve_model(spec, data, threads=1, rtol=RTOL, preconditioner=kind).report
        history, solution = list(report.residual_norms), report.solution
        answers[kind] = {"history": history, "solution": solution, "reason": report.reason.name}
    return answers


def launch(folder: Path, check: str, ranks: int, expect: int | None = 0) -> dict[str, Any]:
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "mpi4py", str(SCRIPT), str(folder), check]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if expect is None:
        assert done.returncode != 0
        return {}
    assert done.returncode == expect, done.stderr[-3000:]
    result: dict[str, Any] = json.loads((folder / f"{check}-{ranks}.json").read_text())
    return result | {"stderr": done.stderr}


@pytest.fixture(scope="module", params=RANKS, ids=[f"{n} ranks" for n in RANKS])
def results(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    return launch(folder, "everything", request.param) | {"ranks": request.param}


def assert_same(found: dict[str, Any], expected: dict[str, Any], values: float = 1e-10) -> None:
    """The same solutions, relative to the largest of their group, and the same residual norms, relative to ||b||."""
    assert found["reason"] == "CONVERGED", found
    for a, b in zip(found["solution"], expected["solution"], strict=True):
        assert np.abs(np.array(a) - np.array(b)).max() <= values * np.abs(np.array(b)).max()
    n = min(len(found["history"]), len(expected["history"]))
    assert abs(len(found["history"]) - len(expected["history"])) <= 2
    assert np.abs(np.subtract(found["history"][:n], expected["history"][:n])).max() <= 1e-8


@pytest.mark.parametrize(("way", "kind"), [("matrix-free", "border"), ("block", "block"), ("diagonal", "diagonal")])
def test_ranks_do_not_change_the_answer(results: dict[str, Any], embedded: dict[str, Any], way: str, kind: str) -> None:
    assert_same(results[way], embedded[kind])


def test_assembled_and_matrix_free_are_one(results: dict[str, Any], embedded: dict[str, Any]) -> None:
    assert_same(results["assembled"], results["matrix-free"])


def test_the_assembled_matrix_has_the_diagonal_of_the_product(
    results: dict[str, Any], embedded: dict[str, Any]
) -> None:
    """PETSc's Jacobi takes the diagonal of its matrix; the project's own computes it from the records."""
    assert_same(results["jacobi"], results["diagonal"])


@pytest.mark.parametrize("way", ["pipecg", "groppcg", "bjacobi"])
def test_other_methods_and_preconditioners_meet_the_true_residual(results: dict[str, Any], way: str) -> None:
    found = results[way]
    assert found["reason"] == "CONVERGED", found
    assert found["true"] <= 1e-9
    for a, b in zip(found["solution"], results["matrix-free"]["solution"], strict=True):
        assert np.abs(np.array(a) - np.array(b)).max() <= 1e-5 * np.abs(np.array(b)).max()


def test_what_is_sent_is_told(results: dict[str, Any]) -> None:
    told, ranks = results["matrix-free"]["communication"], results["ranks"]
    assert told["ranks"] == ranks
    assert (told["messages_max"] > 0) == (told["bytes_mean"] > 0) == (ranks > 1)
    assert told["messages_max"] <= 2 * (ranks - 1)
    assert told["bytes_mean"] <= told["bytes_max"]
    assert (told["reductions"] >= 4) == (ranks > 1)
    assert 0 < told["product_seconds"] <= told["solve_seconds"]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("misspelt", ["-henderson_ksp_tpye", "did you mean -henderson_ksp_type"]),
        ("no prefix", ["-henderson_ksp_type"]),
        ("decided", ["ksp_norm_type", "rtol"]),
        ("not assembled", ["bjacobi", "--operator assembled"]),
        ("unknown solver", ["pipecgg"]),
        ("no file", ["nowhere.opts"]),
    ],
)
def test_mistakes_in_options_are_named(results: dict[str, Any], mistake: str, words: list[str]) -> None:
    error = results["mistakes"][mistake]["error"]
    assert all(word in error for word in words), error
    assert len(error) < 300
    assert "Traceback" not in error


def test_numbers_that_are_not_finite_end_all_ranks(results: dict[str, Any]) -> None:
    assert results["poisoned"]["rhs"] == "NOT_FINITE"
    assert "not finite" in results["poisoned"]["blocks"]["error"]


def test_an_exception_in_what_petsc_calls_back_is_that_exception(results: dict[str, Any]) -> None:
    assert results["poisoned"]["raised"] == {"error": "the disk is full", "kind": "ResourceError"}
    assert results["poisoned"]["after"] == "MAX_ITERATIONS"  # and leaves nothing behind


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_solve_that_was_told_to_stop_goes_on_as_if_it_had_not(
    folder: Path, embedded: dict[str, Any], ranks: int
) -> None:
    found = launch(folder, "interrupted", ranks)
    first = found["first"]
    assert first["reason"] == "INTERRUPTED"
    assert 30 <= first["iterations"] <= 51
    assert len(found["files"]) == ranks + 1
    assert_same(found["again"], embedded["border"])
    assert found["again"]["history"][: len(first["history"])] == first["history"]
    assert not found["left"]
    assert_same(found["other"], embedded["border"])  # of another model: not used, and not in the way
    assert "not used: it is of another label" in found["stderr"]


@pytest.mark.parametrize("ranks", [2])
def test_a_killed_rank_costs_nothing_but_time(folder: Path, embedded: dict[str, Any], ranks: int) -> None:
    launch(folder, "killed", ranks, expect=None)
    assert (folder / f"checkpoint-{ranks}" / "checkpoint.json").exists()
    again = launch(folder, "resumed", ranks)
    assert_same(again, embedded["border"])
    assert "continues after iteration" in again["stderr"]
    assert not again["left"]


def test_the_ladder_has_a_row_for_every_step(folder: Path) -> None:
    rows = launch(folder, "compare", 2)["rows"]
    rounds = {(r["name"], r["operator"]): r["rounds"] for r in rows if not r["remark"]}
    assert rounds["diagonal", "matrix-free"] > rounds["block", "matrix-free"] > rounds["border", "matrix-free"] > 0
    assert rounds["border", "assembled"] == rounds["border", "matrix-free"]
    assert len(rounds) >= 8
    assert all(r["seconds_per_round"] > 0 and r["memory_bytes"] > 0 for r in rows if not r["remark"])
    assert all(r["reason"] == "CONVERGED" for r in rows if not r["remark"])
    assert all("hypre" in r["remark"] for r in rows if r["remark"])
