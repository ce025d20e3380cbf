"""`henderson plan` beside the runs that it foretells."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HENDERSON = Path(sys.executable).with_name("henderson")
SITE = """
[slurm]
time = "{time}"
partition = "main"
[node]
cores = 4
memory = {memory}
"""


def henderson(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HENDERSON, *words], capture_output=True, text=True, check=False, cwd=folder, timeout=300)


def plan(folder: Path, *words: str | Path) -> dict[str, Any]:
    done = henderson("plan", folder / "model.toml", "--store", folder / "store.zarr", "--json", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("small"), 3_000)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("large"), 75_000)


def simulated(folder: Path, animals: int) -> Path:
    henderson("simulate", "--out", folder, "--animals", str(animals), "--traits", "2", folder=folder)
    done = henderson("ingest", "model.toml", "--store", "store.zarr", "--threads", "1", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def solved(folder: Path, *words: str) -> dict[str, Any]:
    done = henderson("solve", "model.toml", "--store", "store.zarr", "--json", "--quiet", *words, folder=folder)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_small_problem_is_solved_whole(small: Path) -> None:
    found, run = plan(small, "--threads", "1"), solved(small, "--threads", "1")
    (job,) = run["jobs"]
    assert found["whole"]["exact"]
    assert found["equations"] == job["equations"]
    assert found["whole"]["rounds"] == job["iterations"]
    assert found["seconds"] == pytest.approx(sum(s["seconds"] for s in found["stages"]))


def test_a_large_one_is_foretold_from_pieces(large: Path) -> None:
    found, run = plan(large, "--threads", "1"), solved(large, "--threads", "1")
    (job,) = run["jobs"]
    assert len(found["pilots"]) >= 1
    assert all(p["equations"] < 0.6 * job["equations"] for p in found["pilots"])
    assert found["equations"] == pytest.approx(job["equations"], rel=0.01)
    assert found["whole"]["rounds"] == pytest.approx(job["iterations"], rel=0.25)
    assert found["whole"]["rounds_low"] <= job["iterations"] <= found["whole"]["rounds_high"]
    assert found["rank_bytes"] == pytest.approx(max(s["peak_bytes"] for s in run["stages"]), rel=0.15)


def test_years_of_birth_take_memory_once(large: Path) -> None:
    """Of few equations the page is what takes most memory."""
    alone = {item["what"]: item["bytes"] for item in plan(large)["rank"]}
    shared = plan(large, "--nodes", "2", "--ranks-per-node", "2")
    births = {item["what"]: item["bytes"] for item in shared["rank"]}["years of birth"]
    assert 0 < alone["years of birth"] < 1.5 * births
    assert shared["node_bytes"] == 2 * shared["rank_bytes"] - births


def test_ranks_share_the_work_and_ask_for_themselves(large: Path) -> None:
    (large / "site.toml").write_text(SITE.format(time="2:00:00", memory=8))
    alone = plan(large, "--threads", "1")
    four = plan(large, "--nodes", "2", "--ranks-per-node", "2", "--site", "site.toml")
    assert four["engine"] == "petsc"
    assert four["traffic"]["messages"] > 0
    assert {"--nodes=2", "--ntasks-per-node=2", "--partition=main"} <= set(four["request"])
    assert [x["limit"] for x in four["limits"] if x["what"] == "wall time"] == [7200.0]

    def without_program(found: dict[str, Any]) -> int:
        return sum(i["bytes"] for i in found["rank"] if i["what"] not in ("program", "levels of fixed effects"))

    assert without_program(four) < without_program(alone)


def test_without_a_store_only_sizes_are_guessed(large: Path) -> None:
    done = henderson("plan", "model.toml", "--store", "none.zarr", "--json", folder=large)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seconds"] is None
    assert found["pilots"] == []
    assert found["records"] == pytest.approx(45_000, rel=0.1)
    assert found["individuals"]["ped"] == pytest.approx(75_000, rel=0.1)
    assert any("henderson ingest" in note for note in found["notes"])


def test_what_does_not_fit_is_printed_and_refused(large: Path) -> None:
    (large / "tiny.toml").write_text(SITE.format(time="0:01", memory=1))
    words = ("--site", "tiny.toml", "--nodes", "1", "--ranks-per-node", "4")
    done = henderson("plan", "model.toml", "--store", "store.zarr", "--quiet", *words, folder=large)
    assert done.returncode == 7
    assert "wall time binds" in done.stdout or "memory of a node binds" in done.stdout
    assert "#SBATCH --nodes=1" in done.stdout
    assert "the solve takes more than there is" in done.stderr
    assert "--ranks-per-node" in done.stderr


def test_threads_are_those_of_one_rank(small: Path) -> None:
    done = henderson("plan", "model.toml", "--ranks-per-node", "2", "--threads", "2", folder=small)
    assert done.returncode == 2
    assert "only with one rank" in done.stderr


def test_the_table_tells_how_each_number_is_known(small: Path) -> None:
    done = henderson("plan", "model.toml", "--store", "store.zarr", "--threads", "1", "--quiet", folder=small)
    assert done.returncode == 0
    for words in ("counted in the store", "counted: the pilot was the whole", "would bind first", "#SBATCH --mem="):
        assert words in done.stdout
