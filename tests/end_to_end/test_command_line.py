"""The commands, as a user types them."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

import henderson
from henderson.cli.solver_options import SIZE
from oracles.animal_model import ANIMAL_MODEL

HENDERSON = Path(sys.executable).with_name("henderson")
SALMON = Path(__file__).resolve().parents[2] / "examples" / "salmon"


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(HENDERSON), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "pedigree.csv").write_text("id,sire,dam\nC,A,B\nA,0,0\nB,0,0\nD,A,\n")
    (tmp_path / "records.csv").write_text("id,herd,y\nC,1,5.5\nD,1,4.0\nB,2,NA\nA,2,6.25\nD,2,4.5\n")
    (tmp_path / "model.toml").write_text(ANIMAL_MODEL)
    return tmp_path


def solutions(out: Path) -> dict[tuple[str, str], float]:
    with (out / "solutions.csv").open(newline="") as file:
        return {(r["subfactor"], r["level"]): float(r["value"]) for r in csv.DictReader(file)}


def test_run_writes_what_the_design_says(small: Path) -> None:
    done = call("run", "model.toml", "--json", cwd=small)
    assert done.returncode == 0, done.stderr
    out = small / "model.out"
    record = json.loads((out / "run.json").read_text())
    assert json.loads(done.stdout) == record
    assert record["version"] == henderson.__version__
    by_name = {Path(i["path"]).name: i for i in record["inputs"]}
    assert set(by_name) == {"model.toml", "records.csv", "pedigree.csv"}
    assert by_name["records.csv"]["sha256"] == hashlib.sha256((small / "records.csv").read_bytes()).hexdigest()
    (job,) = record["jobs"]
    assert {"job", "equations", "iterations", "stop_reason", "relative_residual", "history"} <= set(job)
    assert (job["job"], job["equations"]) == ("solve", 6)
    assert job["relative_residual"] <= 1e-8
    assert all({"name", "seconds", "peak_bytes"} == set(s) for s in record["stages"])
    assert record["config"]["model"]["data"]["records"] == ["records.csv"]
    assert (out / "report.html").read_text().rstrip().endswith("</html>")
    assert [level for name, level in solutions(out) if name == "u"] == ["C", "A", "B", "D"]  # as in the file


def test_solutions_are_those_of_dense_equations(small: Path) -> None:
    assert call("run", "model.toml", "--out", "out", "--quiet", cwd=small).returncode == 0
    A = np.array([[1, 0, 0.5, 0.5], [0, 1, 0.5, 0], [0.5, 0.5, 1, 0.25], [0.5, 0, 0.25, 1]])  # A B C D
    X = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    Z = np.eye(4)[[2, 3, 0, 3]]
    y = np.array([5.5, 4.0, 6.25, 4.5])
    V = np.linalg.inv(2 * Z @ A @ Z.T + 4 * np.eye(4))
    b = np.linalg.solve(X.T @ V @ X, X.T @ V @ y)
    u = 2 * A @ Z.T @ V @ (y - X @ b)
    expected = {("h", "1"): b[0], ("h", "2"): b[1], **{("u", i): u[k] for k, i in enumerate("ABCD")}}
    assert solutions(small / "out") == pytest.approx(expected, abs=1e-7)


def test_a_second_run_uses_the_store(small: Path) -> None:
    assert call("ingest", "model.toml", cwd=small).returncode == 0
    before = (small / "model.out" / "store.zarr" / "zarr.json").stat().st_mtime_ns
    assert call("solve", "model.toml", "--quiet", cwd=small).returncode == 0
    assert (small / "model.out" / "store.zarr" / "zarr.json").stat().st_mtime_ns == before


def test_not_converged_is_exit_6_without_solutions(small: Path) -> None:
    (small / "model.toml").write_text(ANIMAL_MODEL + "[jobs]\nrun = ['solve']\nsolve = { rtol = 1e-8, max_it = 1 }\n")
    done = call("run", "model.toml", cwd=small)
    assert done.returncode == 6
    assert "max_it" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small / "model.out" / "solutions.csv").exists()
    assert json.loads((small / "model.out" / "run.json").read_text())["jobs"][0]["stop_reason"].startswith("not conv")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["run", "nothing.toml"], 2, "nothing.toml"),
        (["rum", "model.toml"], 2, "rum"),
        (["run", "model.toml", "--engine", "mpi"], 2, "petsc"),
        (["run", "pedigree.csv"], 2, ".toml"),
        (["run", "model.toml", "--threads", "100000"], 2, "1024"),
        (["run", "model.toml", "--out", "/proc/results"], 7, "/proc/results"),
        (["run", "model.toml", "--store", "/proc/store"], 7, "/proc/store"),
    ],
)
def test_mistakes_on_the_command_line(small: Path, arguments: list[str], code: int, word: str) -> None:
    done = call(*arguments, cwd=small)
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kept", ["mine/notes.txt", "mine/records/1.csv", "mine/zarr.json", "mine.wip/notes.txt"])
def test_a_folder_of_something_else_is_never_taken_for_the_store(small: Path, kept: str) -> None:
    path = small / kept
    path.parent.mkdir(parents=True)
    path.write_text('{"attributes": {}}')
    done = call("run", "model.toml", "--store", "mine", cwd=small)
    assert done.returncode == 4, done.stderr
    assert "is not a store" in done.stderr
    assert path.read_text() == '{"attributes": {}}'


def test_errors_as_json(small: Path) -> None:
    (small / "records.csv").write_text("id,herd,y\nZ,1,5.5\n")
    done = call("run", "model.toml", "--json", cwd=small)
    answer = json.loads(done.stdout)
    assert done.returncode == answer["exit_code"] == 3
    assert "'Z'" in answer["error"][0]


def test_check_prints_the_model(small: Path) -> None:
    done = call("check", "model.toml", cwd=small)
    assert done.returncode == 0
    assert "y = herd*h + id*u(v(g(1)))" in done.stdout
    assert "pedigree ped" in done.stdout
    assert not (small / "model.out").exists()


def test_pedigree_reports(small: Path) -> None:
    done = call("pedigree", "pedigree.csv", "--out", "reports", cwd=small)
    assert done.returncode == 0, done.stderr
    assert json.loads((small / "reports" / "summary.json").read_text())["founders"] == 2
    rows = (small / "reports" / "pedigree_sorted.csv").read_text().split()
    assert rows[0] == "id,sire,dam"
    assert {r.split(",")[0] for r in rows[1:3]} == {"A", "B"}  # parents first
    assert (small / "reports" / "inbreeding.png").read_bytes().startswith(b"\x89PNG")


def test_simulated_truth_is_recovered(tmp_path: Path) -> None:
    arguments = ["--animals", 4000, "--traits", 2, "--pedigree", "random", "--seed", 7]
    assert call("simulate", "--out", "sim", *arguments, cwd=tmp_path).returncode == 0
    assert call("run", "sim/model.toml", "--out", "out", "--quiet", cwd=tmp_path).returncode == 0
    with (tmp_path / "sim" / "truth_animals.csv").open(newline="") as file:
        truth = list(csv.DictReader(file))
    found = solutions(tmp_path / "out")
    for k in (1, 2):
        name = next(c for c in truth[0] if c.endswith(f"y{k}"))
        u = np.array([float(r[name]) for r in truth])
        ebv = np.array([found[(f"u{k}", r["id"])] for r in truth])
        slope = np.cov(u, ebv)[0, 1] / ebv.var(ddof=1)
        accuracy = np.corrcoef(u, ebv)[0, 1]
        assert abs(slope - 1) < 0.15  # its standard error is about 0.03 here
        assert 0.5 < accuracy < 0.95


def test_the_example_from_python() -> None:
    result = henderson.solve(SALMON / "salmon.toml")
    load = result.effect("load")
    assert len(load) == 1561
    assert load.reliability.between(0, 1).all()
    # y = mean + u + e: fitted means and variances are those of the data, seen from the side of the solutions
    assert math.isclose(result.effect("mean_load").value.iloc[0], 31.36, abs_tol=0.5)
    assert set(result.solutions.factor) == {"fxcl", "g"}
    assert result.to_xarray("g").sizes == {"animal": 1561, "effect": 1, "trait": 2}
    with pytest.raises(KeyError, match="mean_score"):
        result.effect("lod")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", 8 << 30),
        ("8GiB", 8 << 30),
        ("0.5 G", 1 << 29),
        (".5T", 1 << 39),
        ("500M", 500 << 20),
        ("64GB", 64 * 10**9),
    ],
)
def test_sizes_are_read_with_their_unit(text: str, expected: int) -> None:
    assert SIZE.convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "8 apples", "GiB", "nan", "1e3", "8gib"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=re.escape(f"{text!r} is not a size: give a number of GiB")):
        SIZE.convert(text, None, None)
