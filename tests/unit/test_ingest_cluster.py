"""Ingest by worker processes: the same store, the same messages, and what happens when workers die."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from henderson.errors import InputFileError, Problem, ResourceError
from henderson.ingest.cluster import LocalWorkers, SlurmWorkers
from henderson.ingest.run import ingest
from henderson.ingest.tasks import on_cluster, run_tasks
from henderson.jobs.run import understand
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from workers.mortal_tasks import add, die, die_once, refuse


def files_of(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def test_results_come_in_order_from_other_processes_and_progress_counts_them() -> None:
    told: list[tuple[str, int, int]] = []
    shared = (10, 20)
    with on_cluster(LocalWorkers(2)):
        found = run_tasks("stage", add, [(shared, i) for i in range(20)], 1, lambda *a: told.append(a))
        assert run_tasks("none", add, [], 1, None) == []
        assert run_tasks("one", add, [(shared, 1)], 1, None)[0][0] == 31
    assert [value for value, _ in found] == [30 + i for i in range(20)]
    assert os.getpid() not in {pid for _, pid in found}
    assert told == [("stage", i, 20) for i in range(21)]
    # afterwards threads of this process run the tasks again
    assert run_tasks("stage", add, [(shared, 1)], 1, None) == [(31, os.getpid())]


def test_errors_come_with_all_their_problems() -> None:
    error = InputFileError([Problem("x", file="f", line=1), Problem("y", remedy="z")])
    assert pickle.loads(pickle.dumps(error)).problems == error.problems
    with on_cluster(LocalWorkers(1)), pytest.raises(InputFileError, match="no good") as caught:
        run_tasks("stage", refuse, [(i,) for i in range(5)], 1, None)
    assert caught.value.problems == (Problem("no good", file="a.csv", line=3), Problem("nor this", file="b.csv"))


def test_a_task_whose_worker_dies_is_done_again(tmp_path: Path) -> None:
    with on_cluster(LocalWorkers(1)):
        assert run_tasks("stage", die_once, [(tmp_path / "died", i) for i in range(4)], 1, None) == [0, 1, 2, 3]
    assert (tmp_path / "died").exists()


def test_a_task_that_always_kills_its_worker_ends_with_a_message() -> None:
    with on_cluster(LocalWorkers(1)), pytest.raises(ResourceError, match=r"stage: workers died 3 times .* of memory"):
        run_tasks("stage", die, [(0,)], 1, None)


def test_the_store_of_worker_processes_is_that_of_threads(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=600, traits=("y1", "y2")), tmp_path / "data")
    spec = understand(tmp_path / "data" / "model.toml")
    ingest(spec, tmp_path / "threads.zarr", workers=2, block_bytes=6000)
    ingest(spec, tmp_path / "processes.zarr", block_bytes=6000, cluster=LocalWorkers(2))
    assert files_of(tmp_path / "threads.zarr") == files_of(tmp_path / "processes.zarr")


def test_mistakes_are_told_as_by_threads(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=300), tmp_path / "data")
    spec = understand(tmp_path / "data" / "model.toml")
    records = tmp_path / "data" / spec.data.records[0]
    lines = records.read_text().splitlines()
    for at in (20, 150):
        lines[at] = lines[at].rsplit(",", 1)[0] + ",text"
    records.write_text("\n".join(lines) + "\n")
    told = []
    for cluster in (None, LocalWorkers(2)):
        with pytest.raises(InputFileError) as caught:
            ingest(spec, tmp_path / "store.zarr", block_bytes=2000, cluster=cluster)
        told.append(caught.value.problems)
    assert told[0] == told[1]
    assert [p.line for p in told[0]] == [21, 151]


def test_jobs_without_slurm_end_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    jobs = SlurmWorkers(1, 1, 1 << 30, "10", interface="lo", logs=tmp_path / "logs")
    with pytest.raises(ResourceError, match="sbatch is not there"), on_cluster(jobs):
        pass
