"""Monte Carlo REML against the exact method: every structure by both methods, and open cases with records enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from henderson.ingest.run import ingest
from henderson.jobs.run import understand
from henderson.language.spec import ModelSpec
from henderson.reml import sampled_em
from henderson.reml.fit import fit_reml
from henderson.reml.result import RemlFit, RemlOptions, RemlStop
from henderson.store.model_data import ModelData
from henderson.store.reader import open_store
from oracles.trials import no_values, trial, with_variances

HELD = {"sigma": ((120.0, 0.0), (0.0, 0.003)), "fix": ((False, True), (True, False))}
MODELS: dict[str, dict[str, dict[str, Any]]] = {
    "us": {},
    "diag": {"g": {"structure": "diag"}},
    "corgh": {"g": {"structure": "corgh"}, "res": {"structure": "corgh"}},
    "held elements": {"g": HELD},
    "equal elements": {"res": {"equal": (((1, 1), (2, 2)),)}},
    "residual by class": {"res": {"by": "half"}},
}
CASES = [
    "asreml_rats_unbalanced/full.toml",
    "blupf90_simdata_aireml/reml.toml",
    "gryphon_hetero_sex/sexes.toml",
    "gryphon_univariate/m4.toml",
]


def compare(spec: ModelSpec, data: ModelData, method: str) -> tuple[RemlFit, RemlFit, np.ndarray]:
    """Return both fits, and the differences of the estimates in Monte Carlo errors."""
    exact = fit_reml(spec, data)
    found = fit_reml(spec, data, options=RemlOptions(method=method))  # type: ignore[arg-type]
    assert found.stop_reason is RemlStop.SAMPLED
    differences = []
    for ours, theirs in zip(found.parameters, exact.parameters, strict=True):
        assert (ours.name, ours.constraint) == (theirs.name, theirs.constraint)
        if theirs.se is None:
            assert ours.mc_se is None
            if theirs.constraint == "not estimable":  # stays what it was but for rounding
                assert ours.value == pytest.approx(theirs.value, rel=0.0, abs=1e-9)
            else:
                assert ours.value == theirs.value
            continue
        assert ours.mc_se is not None
        assert 0.0 < ours.mc_se < 0.15 * theirs.se
        assert ours.se == pytest.approx(theirs.se, rel=0.15)
        differences.append((ours.value - theirs.value) / ours.mc_se)
    return found, exact, np.array(differences)


@pytest.mark.parametrize("method", ["mc-ai", "mc-em"])
@pytest.mark.parametrize("name", MODELS)
def test_structures(name: str, method: str) -> None:
    spec, data = trial(missing=0.1, repeats=6)
    if name == "equal elements":  # of traits of one size
        responses = {"a": data.records.responses["a"], "b": 200.0 * data.records.responses["b"]}
        data = replace(data, records=replace(data.records, responses=responses))
    found, exact, z = compare(with_variances(no_values(spec), **MODELS[name]), data, method)
    assert np.abs(z).max() < 4.0
    assert np.sqrt(np.mean(z**2)) < 2.5
    assert found.n_parameters == exact.n_parameters
    assert abs(found.loglik - exact.loglik) < 4.0 * (found.loglik_mc_se or 0.0)


@pytest.mark.parametrize("method", ["mc-ai", "mc-em"])
def test_traits_never_seen_together(method: str) -> None:
    """As parities on records of their own: nothing is known of their residual covariance, which stays what it was."""
    spec, data = trial(missing=0.0, repeats=6)
    first = np.arange(len(data.records.responses["a"])) % 2 == 0
    responses = {t: np.where(first == (t == "a"), v, np.nan) for t, v in data.records.responses.items()}
    data = replace(data, records=replace(data.records, responses=responses))
    found, _, z = compare(no_values(spec), data, method)
    assert [p.constraint for p in found.parameters if p.name == "res[2,1]"] == ["not estimable"]
    assert np.abs(z).max() < 4.0


def test_extrapolated_steps_do_not_lead_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """An EM step from the end of an extrapolated one promises at most FARTHER times what the one before did."""
    spec, data = trial(missing=0.1, repeats=6)
    spec = with_variances(no_values(spec), g={"structure": "diag"})
    steps = [r.step for r in compare(spec, data, "mc-em")[0].history]
    assert "EM+" in steps
    monkeypatch.setattr(sampled_em, "FARTHER", 0.0)
    steps = [r.step for r in compare(spec, data, "mc-em")[0].history]
    assert "EM" in steps
    assert "EM+" not in steps


@pytest.mark.parametrize("case", CASES)
def test_open_cases(case: str, shared_data: Path, tmp_path: Path) -> None:
    spec = understand(shared_data / case, ("reml",))
    ingest(spec, tmp_path / "store.zarr")
    found, exact, z = compare(spec, open_store(tmp_path / "store.zarr"), "mc-ai")
    assert np.abs(z).max() < 4.0
    assert found.rounds <= 12
    assert abs(found.loglik - exact.loglik) < 4.0 * (found.loglik_mc_se or 0.0)
