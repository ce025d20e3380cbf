"""Monte Carlo REML from parameter file to results: beside the exact method, after an interruption, on several ranks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import henderson
from henderson.errors import NotConvergedError, UsageError
from henderson.jobs.reml import CHECKPOINT
from henderson.jobs.run import Settings, run
from henderson.reml import fit

HENDERSON = Path(sys.executable).parent / "henderson"
SAMPLED = Settings(jobs=("reml",), method="mc-ai")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    found = tmp_path_factory.mktemp("sampled") / "gryphon"
    shutil.copytree(shared_data / "gryphon_univariate", found)
    return found


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, Any]:
    return outcome(folder, "whole")


def outcome(folder: Path, out: str, **changes: Any) -> dict[str, Any]:
    """Return what a run has left: `run.json`, and `variances.json` as ``variances``."""
    file = folder / "m3.toml"
    if changes:
        text = file.read_text()
        assert "[jobs]" in text
        file = folder / f"{out}.toml"
        options = ", ".join(f"{k} = {json.dumps(v)}" for k, v in changes.items())
        kept = [line for line in text.splitlines() if not line.startswith("reml =")]
        file.write_text("\n".join(kept).replace("[jobs]", f"[jobs]\nreml = {{ {options} }}"))
    method = None if "method" in changes else SAMPLED.method
    settings = Settings(folder / out, folder / "store.zarr", jobs=("reml",), method=method)
    record: dict[str, Any] = run(file, settings).record
    return record | {"variances": json.loads((folder / out / "variances.json").read_text())}


def path_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = record["jobs"][0]["history"]
    return history


def test_estimates_beside_the_exact_ones(folder: Path, whole: dict[str, Any]) -> None:
    exact = henderson.reml(folder / "m3.toml").result
    assert whole["jobs"][0]["algorithm"] == "mc-ai"
    assert path_of(whole)[-1]["ratio"] <= 0.1
    for ours, theirs in zip(whole["variances"]["parameters"], exact.parameters, strict=True):
        assert ours["name"] == theirs.name
        assert 0.0 < ours["mc_se"] < 0.12 * ours["se"]
        assert abs(ours["value"] - theirs.value) < 4.0 * ours["mc_se"]
        assert ours["se"] == pytest.approx(theirs.se, rel=0.1)
    h2 = whole["variances"]["functions"]["h2"]
    assert abs(h2["value"] - exact.functions["h2"].value) < 4.0 * h2["mc_se"]
    assert h2["mc_se"] < 0.12 * h2["se"]
    assert whole["variances"]["variances"]["g"]["mc_se"][0][0] == whole["variances"]["parameters"][0]["mc_se"]
    assert not (folder / "whole" / CHECKPOINT).exists()
    assert "Monte Carlo" in (folder / "whole" / "report.html").read_text()


def test_rounds_go_on_from_the_checkpoint(folder: Path, whole: dict[str, Any]) -> None:
    with pytest.raises(NotConvergedError, match="no round left"):
        outcome(folder, "stopped", max_rounds=2)
    assert (folder / "stopped" / CHECKPOINT).exists()
    again = outcome(folder, "stopped")
    assert len(path_of(again)) == len(path_of(whole))
    for ours, theirs in zip(path_of(again), path_of(whole), strict=True):
        np.testing.assert_allclose(ours["parameters"], theirs["parameters"], rtol=1e-4)
        assert ours["samples"] == theirs["samples"]
    assert not (folder / "stopped" / CHECKPOINT).exists()


def test_other_seeds_are_within_the_errors_that_are_reported(folder: Path, whole: dict[str, Any]) -> None:
    other = outcome(folder, "seed", seed=7)
    for a, b in zip(other["variances"]["parameters"], whole["variances"]["parameters"], strict=True):
        assert a["value"] != b["value"]
        assert abs(a["value"] - b["value"]) < 4.0 * np.hypot(a["mc_se"], b["mc_se"])


def test_accelerated_em_has_the_same_root(folder: Path, whole: dict[str, Any]) -> None:
    other = outcome(folder, "em", method="mc-em")
    steps = [r["step"] for r in path_of(other)]
    assert "EM+" in steps
    assert steps[-1] == "AI"
    for a, b in zip(other["variances"]["parameters"], whole["variances"]["parameters"], strict=True):
        assert a["value"] == pytest.approx(b["value"], abs=0.2 * b["mc_se"])
        assert a["se"] == pytest.approx(b["se"], rel=0.1)


def test_auto_is_exact_where_the_factor_is_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert henderson.reml(folder / "m3.toml", method="auto").result.algorithm == "ai"
    for limit in ("AFFORDABLE", "MOST_ANALYSED"):  # flops of a factorisation; equations
        with monkeypatch.context() as context:
            context.setattr(fit, limit, 100)
            assert henderson.reml(folder / "m3.toml", method="auto").result.algorithm == "mc-ai"
    with pytest.raises(UsageError, match=r"mc-ai.*auto|'mc-ai'"):
        henderson.reml(folder / "m3.toml", method="mcai")


@pytest.mark.timeout(300)
def test_ranks_take_the_same_path(folder: Path, whole: dict[str, Any], mpiexec: str) -> None:
    for ranks in ("1", "2"):
        out = folder / f"ranks-{ranks}"
        command = [mpiexec, "-n", ranks, HENDERSON, "reml", folder / "m3.toml", "--method", "mc-ai"]
        command += ["--engine", "petsc", "--out", out, "--store", folder / "store.zarr", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        record = json.loads((out / "run.json").read_text())
        assert record["ranks"] == int(ranks)
        for ours, theirs in zip(path_of(record), path_of(whole), strict=True):
            np.testing.assert_allclose(ours["parameters"], theirs["parameters"], rtol=1e-8)
            np.testing.assert_allclose(ours["errors"], theirs["errors"], rtol=1e-8)
        ours, theirs = ((folder / o / "solutions.csv").read_text().splitlines() for o in (out.name, "whole"))
        assert [line.rsplit(",", 1)[0] for line in ours] == [line.rsplit(",", 1)[0] for line in theirs]
        values = [np.array([float(v.rsplit(",", 1)[1]) for v in lines[1:]]) for lines in (ours, theirs)]
        np.testing.assert_allclose(*values, atol=1e-6)


@pytest.mark.timeout(120)
def test_several_ranks_refuse_the_exact_method(folder: Path, mpiexec: str) -> None:
    command = [mpiexec, "-n", "2", HENDERSON, "reml", folder / "m3.toml", "--engine", "petsc", "--out", folder / "no"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "--method mc-ai" in done.stderr
