"""The whole way under a real SLURM of two nodes: ingest by worker jobs, solve over MPI, a time limit on purpose.

Needs root and Debian's packages of SLURM (cluster/mini-slurm): fails in CI without them, is skipped elsewhere.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from henderson.jobs.checkpoints import FOLDER
from henderson.solvers.checkpoint import MARKER

ROOT = Path(__file__).parents[2]
MINI = ROOT / "cluster" / "mini-slurm"
BIN = Path(sys.executable).parent
WAIT = 300.0  # seconds for a job: the machine may be busy
STOPPED = 45  # seconds after its start at which a job of one minute has been warned: warning = 20, seen every 30
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE")

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Slurm:
    """A SLURM that runs: the environment of its commands, and the folder of the test's data."""

    environment: dict[str, str]
    data: Path

    def run(self, *command: str | Path, cwd: Path, timeout: float = WAIT) -> str:
        done = subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def script(self, job: str, cwd: Path, *options: str) -> Path:
        """Write the script that a user gets, and return it."""
        command = (
            "slurm",
            self.data / "model.toml",
            "--site",
            "mini-slurm",
            "--job",
            job,
            "--out",
            "scripts",
            *options,
        )
        self.run(BIN / "henderson", *command, cwd=cwd)
        return cwd / "scripts" / f"{job}.sbatch"

    def submit(self, script: Path, cwd: Path) -> str:
        return self.run("sbatch", "--parsable", script, cwd=cwd).strip()

    def show(self, job: str) -> dict[str, str]:
        """Return what SLURM knows of a job."""
        text = self.run("scontrol", "show", "job", "--oneliner", job, cwd=self.data)
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def wait(self, job: str, until: Callable[[], bool] | None = None) -> str:
        """Return the state of the job when it has ended, or when `until` holds."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            if until is not None and until():
                return ""
            state = self.show(job)["JobState"]
            if state in ENDED:
                return state
            time.sleep(0.1)
        raise AssertionError(f"{job} goes on after {WAIT:.0f} s: {self.show(job)}")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    commands = [c for c in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(c, path=_path()) is None]
    modules = [m for m in ("petsc4py", "mpi4py", "dask_jobqueue") if importlib.util.find_spec(m) is None]
    lacking = [*(["root"] if os.geteuid() else []), *commands, *modules]
    if lacking:
        reason = f"the tests on SLURM need {', '.join(lacking)}: see cluster/mini-slurm and cluster/env"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    # not pytest's own folder: sockets need a short path
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        up = subprocess.run([MINI / "up.sh", folder / "s"], capture_output=True, text=True, timeout=120, check=False)
        assert up.returncode == 0, up.stderr
        conf = up.stdout.strip().removeprefix("export SLURM_CONF=")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "PMI_"))}
        data = folder / "data"
        data.mkdir()
        yield Slurm({**kept, "SLURM_CONF": conf, "PATH": _path(), "SRUN_EXPORT_ENV": "ALL"}, data)
    finally:
        subprocess.run([MINI / "down.sh", folder / "s"], capture_output=True, timeout=120, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _path() -> str:
    return f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin"


@pytest.fixture(scope="module")
def store(slurm: Slurm) -> Path:
    """A model of two traits that iterates for a while, ingested by two worker jobs; the folder of its store."""
    henderson = BIN / "henderson"
    slurm.run(henderson, "simulate", "--out", slurm.data, "--animals", "100000", "--traits", "2", cwd=slurm.data)
    model = slurm.data / "model.toml"
    text = model.read_text()
    solve = 'solve = { rtol = 1e-13, preconditioner = "diagonal" }\n'
    model.write_text(text[: text.index("[jobs]")] + f'[jobs]\nrun = ["solve"]\n{solve}')
    work = slurm.data / "ingest"
    work.mkdir()
    job = slurm.submit(slurm.script("ingest", work, "--nodes", "2"), work)
    assert slurm.wait(job) == "COMPLETED", _logs(work)
    return work / "model.out"


def _logs(work: Path) -> str:
    return "\n".join(p.read_text() for p in sorted(work.glob("henderson-*.log")))


def _work(slurm: Slurm, name: str, store: Path) -> Path:
    """Return a new folder to submit from, with the store in it."""
    work = slurm.data / name
    shutil.copytree(store / "store.zarr", work / "model.out" / "store.zarr")
    return work


def _values(out: Path) -> NDArray[np.float64]:
    with (out / "solutions.csv").open() as handle:
        return np.array([float(row["value"]) for row in csv.DictReader(handle)])


def _same_values(got: Path, expected: Path) -> None:
    values = _values(expected)
    assert len(values) > 200_000
    np.testing.assert_allclose(_values(got), values, rtol=1e-10, atol=1e-10 * np.abs(values).max())


def _history(out: Path) -> list[float]:
    history: list[float] = json.loads((out / "run.json").read_text())["jobs"][0]["history"]
    return history


@pytest.fixture(scope="module")
def uninterrupted(slurm: Slurm, store: Path) -> Path:
    """The results of a solve on two nodes."""
    work = _work(slurm, "uninterrupted", store)
    job = slurm.submit(slurm.script("solve", work, "--nodes", "2", "--ranks-per-node", "1"), work)
    assert slurm.wait(job) == "COMPLETED", _logs(work)
    shown = slurm.show(job)
    assert (shown["NumNodes"], shown["Restarts"]) == ("2", "0")
    return work / "model.out"


def test_worker_jobs_make_the_store_that_threads_make(slurm: Slurm, store: Path) -> None:
    work = slurm.data / "threads"
    work.mkdir()
    slurm.run(BIN / "henderson", "ingest", slurm.data / "model.toml", cwd=work)
    made, expected = (
        {str(p.relative_to(s)): p.read_bytes() for p in (s / "store.zarr").rglob("*") if p.is_file()}
        for s in (store, work / "model.out")
    )
    assert made == expected
    ran = [p.name for p in (store / "workers").glob("*.err") if "Registered to" in p.read_text()]
    assert ran, "no worker job took part"
    assert slurm.run("squeue", "--noheader", cwd=work) == ""


def test_two_nodes_give_the_answers_of_the_embedded_engine(slurm: Slurm, store: Path, uninterrupted: Path) -> None:
    work = _work(slurm, "embedded", store)
    slurm.run(BIN / "henderson", "solve", slurm.data / "model.toml", cwd=work)
    assert json.loads((uninterrupted / "run.json").read_text())["ranks"] == 2
    _same_values(uninterrupted, work / "model.out")


def test_a_job_that_meets_its_time_limit_goes_on_where_it_was(slurm: Slurm, store: Path, uninterrupted: Path) -> None:
    """The ranks are held until SLURM has warned them, as no machine must be too fast for it."""
    work = _work(slurm, "interrupted", store)
    script = slurm.script("solve", work, "--nodes", "2", "--ranks-per-node", "1", "--time", "1")
    script.write_text(script.read_text().replace("--engine petsc", "--engine petsc --checkpoint-every 0.2"))
    assert "--checkpoint-every" in script.read_text()
    assert "#SBATCH --signal=USR1@20" in script.read_text()
    job = slurm.submit(script, work)
    marker = work / "model.out" / FOLDER / MARKER
    assert slurm.wait(job, marker.exists) == "", f"too fast, or failed: {_logs(work)}"
    slurm.run("scancel", "--signal=STOP", job, cwd=work)
    while (shown := slurm.show(job))["Restarts"] == "0" and _seconds(shown["RunTime"]) < STOPPED:
        time.sleep(0.5)
    # SLURM itself may have let them go on, to tell them; then there may be nothing to signal
    subprocess.run(["scancel", "--signal=CONT", job], env=slurm.environment, capture_output=True, check=False)
    assert slurm.wait(job) == "COMPLETED", _logs(work)
    log = _logs(work)
    assert int(slurm.show(job)["Restarts"]) >= 1, log
    continued = re.findall(r"continues after iteration (\d+)", log)
    assert continued, log
    got, expected = np.array(_history(work / "model.out")), np.array(_history(uninterrupted))
    first = int(continued[0])
    assert 0 < first < len(expected) - 1
    # the same path: to the last bit up to the checkpoint, then up to rounding, which the iteration itself enlarges
    np.testing.assert_array_equal(got[: first + 1], expected[: first + 1])
    np.testing.assert_allclose(got[first : first + 20], expected[first : first + 20], rtol=1e-6)
    assert abs(len(got) - len(expected)) <= 2
    _same_values(work / "model.out", uninterrupted)
    assert not marker.exists()


def _seconds(clock: str) -> int:
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return 3600 * hours + 60 * minutes + seconds


def test_worker_jobs_that_cannot_start_end_with_their_own_words(slurm: Slurm, store: Path) -> None:
    work = slurm.data / "broken"
    work.mkdir()
    site = work / "site.toml"
    profile = (ROOT / "cluster" / "sites" / "mini-slurm.toml").read_text()
    broken = re.sub(r"(?m)^setup = .*$", 'setup = ["echo no such module >&2", "exit 1"]', profile)
    assert broken != profile
    site.write_text(broken)
    done = subprocess.run(
        [BIN / "henderson", "ingest", slurm.data / "model.toml", "--cluster", "slurm", "--site", site],
        cwd=work, env=slurm.environment, capture_output=True, text=True, timeout=WAIT, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert "all worker jobs have ended" in done.stderr
    assert "no such module" in done.stderr
    assert "Traceback" not in done.stderr
    assert slurm.run("squeue", "--noheader", cwd=work) == ""
