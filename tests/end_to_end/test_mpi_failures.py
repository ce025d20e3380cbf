"""The petsc engine when something goes wrong: one message, one exit code, no process that hangs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

BIN = Path(sys.executable).parent
HENDERSON, MPIEXEC = BIN / "henderson", shutil.which("mpiexec", path=f"{BIN}:{os.environ['PATH']}")
HERE = Path(__file__).parent
SECONDS = 120  # for one command on a busy machine

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("mpiexec")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated data, the store of them, and the solutions of an uninterrupted run on two ranks."""
    folder = tmp_path_factory.mktemp("data")
    command = [HENDERSON, "simulate", "--out", folder, "--animals", "8000", "--traits", "2"]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    done = solve(folder, "whole")
    assert done.returncode == 0, done.stderr
    return folder


def command_of(data: Path, out: str, *more: str, ranks: int = 2) -> list[str]:
    slow = ("--preconditioner", "diagonal", "--rtol", "1e-13")
    engine = ("--engine", "petsc", "--store", str(data / "store.zarr"), "--out", str(data / out), "--quiet")
    return [str(MPIEXEC), "-n", str(ranks), str(HENDERSON), "solve", str(data / "model.toml"), *engine, *slow, *more]


def solve(data: Path, out: str, *more: str, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    command = command_of(data, out, *more, ranks=ranks)
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def voices(out: Path, kind: str, ranks: int) -> subprocess.CompletedProcess[str]:
    command = [MPIEXEC, "-n", str(ranks), sys.executable, HERE / "mpi_voices.py", out, kind]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("memory", 7, "resources: out of memory"),
        ("store", 4, "store: shard 3 is damaged"),
        ("bug", 1, "KeyError: 'a bug'"),
        ("all", 4, "store: seen by rank 0"),
        ("two", 4, "store: seen by rank"),
        ("first", 7, "resources: out of memory"),
    ],
)
def test_one_rank_speaks_and_all_end(kind: str, code: int, message: str, tmp_path: Path) -> None:
    done = voices(tmp_path, kind, 3)
    assert done.returncode == code, done.stderr
    assert done.stderr.count(message) == 1, done.stderr
    assert done.stderr.count("Traceback") == (kind == "bug")


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    for k in range(middle, middle + 8):
        content[k] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("array", ["records/value.0", "pedigree/ped/sire", "pedigree/ped/row"])
def test_a_damaged_shard_ends_all_with_one_message(data: Path, array: str, tmp_path: Path) -> None:
    store = tmp_path / "store.zarr"
    shutil.copytree(data / "store.zarr", store)
    damage(next(p for p in (store / array / "c").rglob("*") if p.is_file()))
    done = solve(data, f"damaged-{array.replace('/', '-')}", "--store", str(store))
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("store: ") == 1, done.stderr
    assert "henderson ingest" in done.stderr
    assert "Traceback" not in done.stderr


def test_numbers_that_overflow_end_the_solve(data: Path, tmp_path: Path) -> None:
    for name in ("model.toml", "pedigree.csv"):
        shutil.copy(data / name, tmp_path)
    with (data / "records.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    column = rows[0].index("y1")
    at = next(k for k in range(len(rows) - 1, 0, -1) if rows[k][column])
    rows[at][column] = "1e300"
    with (tmp_path / "records.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    done = solve(tmp_path, "out")
    assert done.returncode == 6, done.stderr
    assert done.stderr.count("not converged: ") == 1
    assert "infinite or undefined" in done.stderr
    assert not (tmp_path / "out" / "solutions.csv").exists()


def test_too_little_memory_is_told_before_the_solve(data: Path) -> None:
    done = solve(data, "memory", "--memory", "0.002")
    assert done.returncode == 7, done.stderr
    assert done.stderr.count("each of 2 ranks takes") == 1
    assert "such nodes with 2 ranks each" in done.stderr
    assert "vectors" in done.stderr


def test_mistakes_of_the_command_line_are_told_once(data: Path, tmp_path: Path) -> None:
    for more, message in [
        (("--rtol", "2"), "Invalid value for '--rtol'"),
        (("--petsc", "-henderson_ksp_typ cg"), "did you mean -henderson_ksp_type?"),
        (("--engine", "embedded"), "2 copies were started"),
        (("--engine", "embedded", "--operator", "assembled"), "--operator: only with --engine petsc"),
    ]:
        done = solve(data, "mistakes", *more)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count(message) == 1, done.stderr
    # one of the copies does not see the file
    there, engine = command_of(data, "mistakes", ranks=1), ["--engine", "petsc", "--out", str(data / "mistakes")]
    absent = [":", "-n", "1", str(HENDERSON), "solve", str(tmp_path / "absent.toml"), *engine]
    done = subprocess.run([*there, *absent], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("absent.toml' does not exist") == 1


def test_methods_of_the_other_engine_are_refused(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "pev.toml"
    jobs = 'run = ["solve", "pev"]\npev = { method = "direct" }'
    text = (data / "model.toml").read_text().replace('run = ["solve"]', jobs)
    for name in ("records.csv", "pedigree.csv"):
        shutil.copy(data / name, tmp_path)
    model.write_text(text)
    command = [MPIEXEC, "-n", "2", HENDERSON, "run", model, "--engine", "petsc", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert done.stderr.count("the petsc engine iterates: method 'direct' needs --engine embedded") == 1


def start(data: Path, out: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Return a run that has just written a checkpoint, and the processes of its ranks."""
    shutil.rmtree(data / out, ignore_errors=True)
    run = subprocess.Popen(
        command_of(data, out, "--checkpoint-every", "0.1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + SECONDS
    while not (data / out / "checkpoint" / "checkpoint.json").exists():
        assert run.poll() is None, "the solve ended before it was interrupted"
        assert time.monotonic() < end
        time.sleep(0.01)
    return run, [pid for pid in descendants(run.pid) if b"henderson" in command_line(pid)]


def descendants(pid: int) -> list[int]:
    children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(d for c in children for d in descendants(c))]


def command_line(pid: int) -> bytes:
    parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return parts[1] if len(parts) > 1 else b""


def assert_same(data: Path, out: str) -> None:
    """The run `out` has come to the solutions of the uninterrupted run, in as many iterations."""
    tables = []
    for name in ("whole", out):
        with (data / name / "solutions.csv").open(newline="") as file:
            tables.append(list(csv.reader(file))[1:])
    assert [row[:3] for row in tables[0]] == [row[:3] for row in tables[1]]
    whole, other = (np.array([float(row[3]) for row in table]) for table in tables)
    np.testing.assert_allclose(other, whole, rtol=0, atol=1e-10 * np.abs(whole).max())
    first, second = (json.loads((data / name / "run.json").read_text())["jobs"][0] for name in ("whole", out))
    assert first["iterations"] == second["iterations"] > 100
    assert not (data / out / "checkpoint").exists()


def test_a_signal_writes_a_checkpoint_and_the_next_run_goes_on(data: Path) -> None:
    run, _ = start(data, "signal")
    run.send_signal(signal.SIGUSR1)  # mpiexec passes it on
    _, told = run.communicate(timeout=SECONDS)
    assert run.returncode == 7, told
    assert told.count("resources: job 'solve' stopped after") == 1
    assert str(data / "signal" / "checkpoint") in told
    done = solve(data, "signal")
    assert done.returncode == 0, done.stderr
    assert "continues after iteration" in done.stderr
    assert_same(data, "signal")


def test_a_killed_rank_ends_all_and_the_next_run_goes_on(data: Path) -> None:
    run, ranks = start(data, "killed")
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    began = time.monotonic()
    run.communicate(timeout=SECONDS)
    assert run.returncode != 0
    assert time.monotonic() - began < 30
    done = solve(data, "killed")
    assert done.returncode == 0, done.stderr
    assert "continues after iteration" in done.stderr
    assert_same(data, "killed")


def test_the_embedded_engine_goes_on_to_the_same_bits(data: Path) -> None:
    slow = ("--preconditioner", "diagonal", "--rtol", "1e-13", "--threads", "1", "--quiet")
    base = [str(HENDERSON), "solve", str(data / "model.toml"), "--store", str(data / "store.zarr"), *slow]

    def out(name: str) -> list[str]:
        return [*base, "--out", str(data / name)]

    subprocess.run(out("embedded"), check=True, capture_output=True, timeout=SECONDS)
    run = subprocess.Popen([*out("stopped"), "--checkpoint-every", "0.05"], stderr=subprocess.PIPE, text=True)
    while not (data / "stopped" / "checkpoint" / "checkpoint.json").exists():
        assert run.poll() is None, "the solve ended before it was interrupted"
        time.sleep(0.005)
    run.terminate()
    _, told = run.communicate(timeout=SECONDS)
    assert run.returncode == 7, told
    done = subprocess.run(out("stopped"), capture_output=True, text=True, timeout=SECONDS, check=True)
    assert "continues after iteration" in done.stderr
    names = ("embedded/solutions.csv", "stopped/solutions.csv")
    assert (data / names[0]).read_bytes() == (data / names[1]).read_bytes()
