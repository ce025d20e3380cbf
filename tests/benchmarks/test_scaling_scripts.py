"""The scripts of scaling runs still do all their steps, on small sizes, and print their tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCALING = HERE.parents[1] / "cluster" / "scaling"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def output_of(*command: object, codes: tuple[int, ...] = (0,), **more: str) -> str:
    environment = {**os.environ, "PATH": PATH, "PYTHON": sys.executable, **more}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=250, env=environment)
    assert done.returncode in codes, done.stderr
    return done.stdout


def rows_of(told: str) -> list[list[str]]:
    """Return the cells of a table in Markdown, without its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()[2:]]


@pytest.fixture(scope="module")
def testday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of few test days and their store."""
    folder = tmp_path_factory.mktemp("scaling") / "data"
    output_of("henderson", "simulate", "testday", "--scale", "0.0003", "--format", "parquet", "--out", folder)
    output_of("henderson", "ingest", folder / "model.toml", "--store", folder / "store.zarr", "--quiet")
    return folder


@pytest.mark.parametrize(
    ("kind", "problem", "size", "preconditioner"),
    [("strong", "testday", "0.0002", "sweep"), ("weak", "animal", "1e3", "border")],
)
def test_scaling_is_run_and_told(
    kind: str, problem: str, size: str, preconditioner: str, tmp_path: Path, mpiexec: str
) -> None:
    more = {"LAUNCH": f"{mpiexec} -n", "SCALING": str(SCALING), "ITERATIONS": "4", "PRECONDITIONER": preconditioner}
    told = output_of("bash", SCALING / "scaling.sbatch", kind, problem, size, "1 2", 1, tmp_path / "x", **more)
    assert told == (tmp_path / "x" / "table.md").read_text()
    assert f"{kind} scaling: cg, {preconditioner}" in told
    rows = [line.split("|") for line in told.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    equations = [int(row[2]) for row in rows]
    assert equations[0] == equations[1] if kind == "strong" else 1.8 < equations[1] / equations[0] < 2.2
    assert float(rows[0][-2]) == 1.0
    measured = tmp_path / "x" / "measured.jsonl"
    assert [json.loads(line)["ranks"] for line in measured.read_text().splitlines()] == [1, 2]
    predicted = output_of(sys.executable, SCALING / "iteration_model.py", measured)
    assert "ranks" in predicted


def test_other_methods_of_petsc_are_measured(testday: Path, mpiexec: str) -> None:
    script = (sys.executable, SCALING / "mpi_iteration.py", testday, "--iterations", 4)
    told = output_of(mpiexec, "-n", 2, *script, "--methods", "cg,groppcg,pipecg")
    assert all(method in told for method in ("cg", "groppcg", "pipecg"))


def test_intervals_of_validation_are_a_table(tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    script = (sys.executable, SCALING / "validation_calibration.py", lines, "--animals", 1500)
    output_of(*script, "--runs", 1)
    told = output_of(*script, "--runs", 1, "--first", 2)
    assert len(lines.read_text().splitlines()) == 2
    assert "dispersion" in told


def test_scaling_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    script = SCALING / "scaling.sbatch"
    output_of("bash", script, "sideways", "animal", "1e3", "1", 1, tmp_path / "x", codes=(2,))
    output_of("bash", script, "weak", codes=(2,))
    assert not (tmp_path / "x").exists()


def test_warm_and_cold_rounds_stand_beside_each_other(testday: Path) -> None:
    script = SCALING / "warm_start.py"
    told = output_of(sys.executable, script, testday, "--preconditioners", "sweep", codes=(0, 1))
    found = json.loads(told.splitlines()[0])
    assert found["records"] == round(0.02 * found["of"])
    assert found["rounds"]["warm"] < 0.75 * found["rounds"]["cold"]  # a third is of larger data: reports, warm-start
    assert "| sweep |" in told
    exact, store = testday / "exact", testday / "store.zarr"
    output_of("henderson", "solve", testday / "model.toml", "--store", store, "--rtol", "1e-11", "--out", exact)
    told = output_of(
        *(sys.executable, SCALING / "warm_error.py", testday, "--store", store),
        *("--exact", exact, "--start", testday / "warm-sweep-old"),
    )
    by_round = json.loads(told.splitlines()[0])
    zero, earlier = by_round["zero"], by_round["earlier"]
    assert zero["rounds"] == found["rounds"]["cold"]
    assert earlier["rounds"] == found["rounds"]["warm"]
    assert len(zero["errors"]) == len(zero["residuals"]) == zero["rounds"] + 1
    assert zero["errors"][0] > 10.0 * earlier["errors"][1] > 10.0 * earlier["errors"][-1]
    assert zero["errors"][0] > 50.0 * zero["errors"][-1]
    assert [row[0].split()[0] for row in rows_of(told[told.index("| until") :])] == ["error", "residual"]


def test_ghosts_and_rounds_are_counted(testday: Path) -> None:
    assert "ghosts = " in output_of(sys.executable, SCALING / "ghosts.py", testday / "store.zarr", "--ranks", "2,4")
    script = HERE / "testday_bench.py"
    told = output_of(
        sys.executable, script, testday, "--store", testday / "store.zarr", "--kinds", "border,sweep", "--max-it", "5"
    )
    assert all(kind in told for kind in ("border", "sweep"))


def test_sizes_of_reml_are_a_table(tmp_path: Path) -> None:
    script = (sys.executable, SCALING / "reml_sizes.py", tmp_path)
    command = (*script, "--animals", "600", "--traits", "1", "--threads", "1")
    told = output_of(*command)
    exact, sampled = rows = rows_of(told)
    assert [row[2] for row in rows] == ["ai", "mc-ai"]
    assert exact[3] == sampled[3]  # equations
    assert all(float(row[10]) < 5.0 for row in rows)  # off truth
    assert float(sampled[12]) < 5.0  # off exact
    record = json.loads((tmp_path / "random-600-1" / "ai.out" / "run.json").read_text())
    assert float(exact[8]) > 0.9 * max(stage["peak_bytes"] for stage in record["stages"]) / 2**30
    assert output_of(*command) == told  # from what was kept


def test_a_fit_of_reml_ends_at_the_limit(tmp_path: Path) -> None:
    script = (sys.executable, SCALING / "reml_sizes.py", tmp_path, "--animals", 600, "--traits", 1, "--methods", "ai")
    (row,) = rows_of(output_of(*script, "--limit", 0.3))
    assert row[4] == "the limit of time"
    assert 0.3 < float(row[6]) < 20.0
    assert float(row[8]) > 0.0  # what it took until then


def test_plans_beside_runs_are_a_table(tmp_path: Path) -> None:
    problems = "animals-2000,testday-0.0003"
    told = output_of(sys.executable, SCALING / "plan_runs.py", tmp_path, "--problems", problems, "--runs", 1)
    rows = rows_of(told)
    assert [row[0] for row in rows] == problems.split(",")
    for row in rows:
        assert row[1] == row[2]  # equations: a small problem is solved whole
        assert abs(float(row[5]) / float(row[6]) - 1.0) < 0.3  # memory


def test_variance_reduction_is_a_table() -> None:
    script = (sys.executable, SCALING / "variance_reduction.py")
    told = output_of(*script, "--animals", 120, "--samples", 64, "--solves", 12, "--model", "bivariate")
    rows = {row[1]: row for row in rows_of(told)}
    assert float(rows["normal numbers, quadratic"][2]) == 1.0
    best = rows["signs, with control variates"]
    assert float(best[2]) < float(rows["signs, quadratic"][2])
    assert float(best[3]) < 0.7


def test_the_ladder_is_a_table(testday: Path) -> None:
    command = (sys.executable, HERE / "ladder.py", testday, "--store", testday / "store.zarr")
    rungs = ["block", "traits", "diagonalised", "border*herds", "sweep+levels"]
    told = output_of(*command, "--rungs", ",".join(rungs))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines() if line.startswith("|")]
    rounds = dict(zip(rungs, (int(row[1]) for row in rows[2:]), strict=True))
    assert rounds["sweep+levels"] < rounds["border*herds"] < rounds["block"] < rounds["traits"]
    assert rounds["block"] < rounds["diagonalised"]
    assert all(float(cell.replace(",", "")) >= 0.0 for row in rows[2:] for cell in row[2:])


def test_the_ladder_tells_what_did_not_converge(testday: Path) -> None:
    command = (sys.executable, HERE / "ladder.py", testday, "--store", testday / "store.zarr")
    assert "| above 2 (" in output_of(*command, "--rungs", "effects", "--max-it", "2", codes=(1,))
    output_of(*command, "--rungs", "block,no-such", codes=(2,))


def test_orders_and_storage_give_the_same_rounds(testday: Path) -> None:
    script = HERE / "layout_bench.py"
    told = output_of(sys.executable, script, testday, "--store", testday / "store.zarr", "--repeat", 1)
    rows = {row[0]: row for row in rows_of(told[told.index("| | product") :])}
    solved = {what: int(row[4]) for what, row in rows.items() if row[4]}
    assert len(rows) == 13
    assert len(solved) == 7
    # the sweep is the same preconditioner in any order, but for rounding
    assert max(solved.values()) - min(solved.values()) <= 1
