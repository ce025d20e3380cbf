"""Accuracies of all levels from samples: beside the exact ones, on both engines, and where a factor is too large."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from henderson.errors import ResourceError
from henderson.jobs import embedded
from henderson.jobs.run import Settings, run
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate

HENDERSON = Path(sys.executable).parent / "henderson"
SAMPLES = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pev") / "data"
    simulate(SimulationConfig(animals=1500, traits=("y1", "y2"), seed=4), folder)
    return folder / "model.toml"


def with_jobs(model: Path, name: str, jobs: str) -> Path:
    file = model.with_name(name)
    file.write_text(model.read_text(encoding="utf-8").split("[jobs]")[0] + f"[jobs]\n{jobs}\n", encoding="utf-8")
    return file


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "solutions.csv", dtype={"level": str}).set_index(["factor", "subfactor", "level"])


@pytest.fixture(scope="module")
def sampled(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sampled")
    file = with_jobs(model, "sampled.toml", f'run = ["pev"]\npev = {{ method = "sampling", samples = {SAMPLES} }}')
    record = run(file, Settings(out=out)).record
    assert [job["job"] for job in record["jobs"]] == ["solve", "pev"]
    assert record["jobs"][1]["samples"] == SAMPLES
    return out


def test_beside_the_exact_ones(model: Path, sampled: Path, tmp_path: Path) -> None:
    run(with_jobs(model, "exact.toml", 'run = ["pev"]'), Settings(out=tmp_path, store=sampled / "store.zarr"))
    exact, found = table(tmp_path), table(sampled)
    assert list(exact.columns) == ["value", "se", "reliability"]
    assert list(found.columns) == ["value", "se", "reliability", "se_mc_se", "reliability_mc_se"]
    assert found.index.equals(exact.index)
    pd.testing.assert_series_equal(found["value"], exact["value"], rtol=1e-6, atol=1e-5)
    for name in ("se", "reliability"):
        known = exact[name].notna()
        z = ((found[name] - exact[name]) / found[f"{name}_mc_se"])[known]
        assert z.notna().all()
        assert (z.abs() < 3.0).mean() > 0.98
        assert 0.8 < (z**2).mean() ** 0.5 < 1.25
        assert found.loc[~known, f"{name}_mc_se"].isna().all()
    animals = found.loc["g"]
    assert animals["reliability_mc_se"].max() < 0.5 / SAMPLES**0.5  # the bound at any reliability


@pytest.mark.timeout(200)
def test_the_same_over_ranks(model: Path, sampled: Path, tmp_path: Path, mpiexec: str) -> None:
    file = with_jobs(model, "ranks.toml", f'run = ["pev"]\npev = {{ method = "sampling", samples = {SAMPLES} }}')
    command = [mpiexec, "-n", 2, HENDERSON, "run", file, "--out", tmp_path, "--store", sampled / "store.zarr"]
    subprocess.run([str(c) for c in [*command, "--engine", "petsc", "--quiet"]], check=True, timeout=120)
    pd.testing.assert_frame_equal(table(tmp_path), table(sampled), rtol=1e-5)
    jobs = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["jobs"]
    assert jobs[-1]["method"] == "sampling"


def test_exact_levels_have_no_monte_carlo_error(model: Path, sampled: Path, tmp_path: Path) -> None:
    level = table(sampled).loc["g"].index[0][1]
    jobs = (
        f'run = ["pev", "pevsolve"]\npev = {{ method = "sampling", samples = 8 }}\n'
        f'pevsolve = {{ factor = "g", levels = ["{level}"] }}'
    )
    file = with_jobs(model, "both.toml", jobs)
    run(file, Settings(out=tmp_path, store=sampled / "store.zarr"))
    found = table(tmp_path).loc["g"]
    chosen = found.index.get_level_values("level") == level
    assert found.loc[chosen, "se_mc_se"].isna().all()
    assert found.loc[~chosen, "se_mc_se"].notna().all()


def test_samples_where_the_factor_is_too_large(
    model: Path, sampled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded.EmbeddedJobs, "_available", lambda self: 1 << 20)
    file = with_jobs(model, "auto.toml", 'run = ["pev"]')
    settings = Settings(out=tmp_path, store=sampled / "store.zarr")
    assert run(file, settings).record["jobs"][0]["method"] == "sampling"
    assert "reliability_mc_se" in table(tmp_path)
    direct = with_jobs(model, "direct.toml", 'run = ["pev"]\npev = { method = "direct" }')
    with pytest.raises(ResourceError, match="iB are there"):
        run(direct, settings)


def test_its_sentence(model: Path, sampled: Path, tmp_path: Path) -> None:
    file = with_jobs(model, "sentence.toml", 'run = ["pev"]\npev = { method = "sampling", samples = 4 }')
    command = [str(HENDERSON), "run", str(file), "--out", str(tmp_path)]
    command += ["--store", str(sampled / "store.zarr")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    assert "4 samples" in said


@pytest.mark.timeout(300)
def test_after_monte_carlo_reml(model: Path, tmp_path: Path, mpiexec: str) -> None:
    """Log-likelihood and accuracies are those of the estimates, the same on two ranks."""
    text = model.read_text(encoding="utf-8").split("[jobs]")[0].split("\ny2 = ")
    one = text[0] + '\n"""' + text[1].split('"""', 1)[1]
    jobs = 'run = ["reml", "pev"]\nreml = { method = "mc-ai", mc_error = 0.3 }\n'
    jobs += 'pev = { method = "sampling", samples = 16 }\n'
    variances = one.split("[variance.")[0]
    variances += '[variance.g]\ngamma = { A = { pedigree = "ped" } }\n[variance.res]\n'
    file = model.with_name("fitted.toml")
    file.write_text(f"{variances}[jobs]\n{jobs}", encoding="utf-8")
    run(file, Settings(out=tmp_path / "one"))
    command = [mpiexec, "-n", 2, HENDERSON, "run", file, "--out", tmp_path / "two", "--engine", "petsc", "--quiet"]
    command += ["--store", tmp_path / "one" / "store.zarr"]
    subprocess.run([str(c) for c in command], check=True, timeout=200)
    pd.testing.assert_frame_equal(table(tmp_path / "two"), table(tmp_path / "one"), rtol=1e-4, atol=1e-5)
    assert table(tmp_path / "one").loc["g", "reliability"].between(0.0, 1.0).all()
    found, again = (json.loads((tmp_path / o / "variances.json").read_text("utf-8")) for o in ("one", "two"))
    assert again["loglik"] == pytest.approx(found["loglik"], abs=1e-4)
    assert again["loglik_mc_se"] == pytest.approx(found["loglik_mc_se"], rel=1e-4)
