"""The baseline of the benchmark solves the right equations: compared with dense BLUP from V, and with the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate

HERE = Path(__file__).parent


def load(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


baseline = load(HERE / "scipy_baseline.py")
relationship_matrix = load(HERE.parent / "oracles" / "dense_pedigree.py").relationship_matrix


def dense_blup(problem) -> np.ndarray:
    """Return u = G Z'V^-1 (y - X b) with b by generalised least squares, (n_animals, n_traits), from dense matrices."""
    n, t = problem.y.shape
    n_animals = len(problem.ids)
    G = np.kron(relationship_matrix(problem.sire, problem.dam), problem.sigma_g)
    observed = ~np.isnan(problem.y)
    Z = np.kron(np.eye(n_animals)[problem.animal], np.eye(t))[observed.ravel()]
    columns = [np.kron(np.eye(codes.max() + 1)[codes], np.eye(t)) for codes in problem.classes]
    columns.append(np.kron(problem.age[:, None], np.eye(t)))
    X = np.hstack(columns)[observed.ravel()]
    R = np.kron(np.eye(n), problem.sigma_e)[np.ix_(observed.ravel(), observed.ravel())]
    V_inverse = np.linalg.inv(Z @ G @ Z.T + R)
    y = problem.y.ravel()[observed.ravel()]
    b = np.linalg.pinv(X.T @ V_inverse @ X) @ (X.T @ V_inverse @ y)
    return (G @ Z.T @ V_inverse @ (y - X @ b)).reshape(n_animals, t)


@pytest.mark.parametrize("ids", ["text", "integer"])
@pytest.mark.parametrize("recorded", ["females", "all"])
def test_baseline_equals_dense_blup(ids: str, recorded: str, tmp_path: Path) -> None:
    config = SimulationConfig(
        animals=150, cohorts=6, sires=4, herds=5, missing=(0.0, 0.3, 0.5), recorded=recorded, ids=ids, seed=2
    )
    simulate(config, tmp_path / "data")
    problem = baseline.read(tmp_path / "data")
    assert problem.inbreeding.max() > 0.05
    assert len(problem.classes) == (2 if recorded == "all" else 1)
    C, rhs, n_fixed = baseline.assemble(problem)
    assert abs(C - C.T).max() < 1e-12
    x, _ = baseline.solve(C, rhs, rtol=1e-12)
    ebv = x[n_fixed:].reshape(-1, 3)
    np.testing.assert_allclose(ebv, dense_blup(problem), atol=1e-7)


def test_inverse_relationship_is_the_inverse(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=200, cohorts=8, sires=3, traits=("y",), herds=4, unknown=0.2), tmp_path / "data")
    problem = baseline.read(tmp_path / "data")
    A = relationship_matrix(problem.sire, problem.dam)
    np.testing.assert_allclose(np.diag(A) - 1, problem.inbreeding, atol=1e-12)
    A_inverse = baseline.inverse_relationship(problem.sire, problem.dam, problem.inbreeding).toarray()
    np.testing.assert_allclose(A_inverse @ A, np.eye(200), atol=1e-9)


def test_true_values_regress_by_one_on_predictions(tmp_path: Path) -> None:
    """Cov(u, u_hat) = Var(u_hat), so the slope is one; over seeds its sd was 0.03, and the bound is five times that."""
    simulate(SimulationConfig(animals=8000, records=0.7, missing=(0.0, 0.1, 0.3), seed=5), tmp_path / "data")
    problem = baseline.read(tmp_path / "data")
    C, rhs, n_fixed = baseline.assemble(problem)
    x, _ = baseline.solve(C, rhs, rtol=1e-8)
    predicted = x[n_fixed:].reshape(-1, 3)
    truth = pd.read_csv(tmp_path / "data" / "truth_animals.csv", index_col="id").loc[problem.ids]
    for trait in range(3):
        true = truth.iloc[:, trait].to_numpy()
        slope, _ = np.polyfit(predicted[:, trait], true, 1)
        assert slope == pytest.approx(1.0, abs=0.15)
        assert np.corrcoef(predicted[:, trait], true)[0, 1] > 0.4


def test_script_prints_its_stages_and_writes_its_solutions(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=500), tmp_path / "data")
    command = [sys.executable, HERE / "scipy_baseline.py", tmp_path / "data", tmp_path / "out.npz"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert list(report["stages"]) == ["read", "set up", "solve", "write"]
    assert report["equations"] == 3 * (12 + 1 + 500)
    with np.load(tmp_path / "out.npz") as result:
        assert result["ebv"].shape == (500, 3)
        assert len(set(result["ids"].tolist())) == 500


def test_benchmark_agrees_with_the_baseline(tmp_path: Path) -> None:
    """A small run of the whole script: it checks the agreement of both sides itself; times and memory are not asked."""
    command = [sys.executable, HERE / "scipy_bench.py", "--animals", "3000", "--repeat", "1", "--no-assert"]
    process = subprocess.run([*command, "--json", tmp_path / "out.json"], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["largest_errors"]["converged"] < 1e-7
    for side in ("scipy", "henderson"):
        assert result[side]["peak_bytes"] > 50 << 20
        assert {"set up", "solve"} <= set(result[side]["stages"])
    assert "set up and solve" in process.stdout
