"""A solve that needs more than `--memory`: within the limit, in a scratch file, to the same solutions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

HENDERSON = Path(sys.executable).with_name("henderson")
LIMIT = 512 << 20


def run(*words: object) -> str:
    done = subprocess.run([HENDERSON, *map(str, words)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of test days whose equations take more than the limit, and their store."""
    path = tmp_path_factory.mktemp("core") / "data"
    run("simulate", "testday", "--scale", "0.04", "--format", "parquet", "--out", path)
    run("ingest", path / "model.toml", "--store", path / "store.zarr", "--quiet")
    return path


def solved(folder: Path, out: str, *options: object) -> tuple[str, dict[str, Any], np.ndarray]:
    """Return what was told, the record of the run, and the solutions."""
    command = ("solve", folder / "model.toml", "--store", folder / "store.zarr", "--out", folder / out)
    told = run(*command, "--rtol", "1e-4", "--threads", "2", *options)
    record = json.loads((folder / out / "run.json").read_text())
    return told, record, np.asarray(pq.read_table(folder / out / "solutions.parquet", columns=["value"])["value"])


def test_a_limit_of_memory_is_kept_and_solutions_are_the_same(folder: Path) -> None:
    told, free, expected = solved(folder, "free")
    assert "scratch file" not in told
    scratch = folder / "scratch"
    scratch.mkdir()
    told, limited, found = solved(folder, "limited", "--memory", "0.5GiB", "--scratch", scratch)
    assert f"they lie in a scratch file in {scratch}" in told
    peaks = [max(stage["peak_bytes"] for stage in record["stages"]) for record in (free, limited)]
    assert peaks[0] > 1.3 * LIMIT
    assert peaks[1] <= LIMIT
    assert not list(scratch.iterdir())
    rounds = [record["jobs"][0]["iterations"] for record in (free, limited)]
    assert rounds[0] == rounds[1]
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6 * np.abs(expected).max())
