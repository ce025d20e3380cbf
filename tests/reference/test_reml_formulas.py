"""Published REML estimates from data frames: every case that is written as a formula, through `henderson.reml`."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import henderson

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def cases() -> list[Path]:
    """Parameter files with formulas whose job is REML; none where the data are not there."""
    files = sorted(SHARED.glob("*/*_formula.toml"))
    return [f for f in files if "reml" in tomllib.loads(f.read_text()).get("jobs", {}).get("run", [])]


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, comment="#" if path.read_text().startswith("#!") else None)


def fit_frames(path: Path) -> henderson.Fit:
    """The fit of a case, its files read by pandas."""
    model = tomllib.loads(path.read_text())
    formulas: dict[str, Any] = model["model"]
    listed = model.get("pedigree", {}).items()
    pedigrees = {n: table | {"file": read(path.parent / table["file"])} for n, table in listed}
    return henderson.reml(
        **formulas,
        data=read(path.parent / model["data"]["records"]),
        pedigree=pedigrees or None,
        variance=model.get("variance"),
        functions=model.get("functions"),
    )


def value_of(fit: henderson.Fit, check: dict[str, Any]) -> float:
    what = check["what"]
    if what in ("loglik", "loglik_full"):
        return float(getattr(fit, what))
    if what == "function":
        return fit.result.functions[check["name"]].value
    if what in ("solution", "solution_se"):
        frame = fit.ranef(check["subfactor"])
        column = "blup" if what == "solution" else "std_error"
        return float(frame.loc[(check["subfactor"], check["level"]), column])
    estimate = fit.result.sigma[check["variance"], check.get("class")]
    table = {"sigma": estimate.sigma, "sigma_se": estimate.se, "correlation": estimate.correlation}[what]
    return float(table[check["row"] - 1, check["col"] - 1])


def test_there_are_cases(shared_data: Path) -> None:
    assert len(cases()) >= 30


@pytest.mark.parametrize("path", cases(), ids=name)
def test_estimates_from_data_frames(path: Path) -> None:
    fit = fit_frames(path)
    assert fit.converged
    checks = json.loads((path.parent / f"{path.stem}.expected.json").read_text())["checks"]
    for check in checks:
        got, want = value_of(fit, check), check["value"]
        assert abs(got - want) <= check.get("atol", 0.0) + check.get("rtol", 0.0) * abs(want), (check, got)
        if "se" in check:
            se = fit.result.functions[check["name"]].se
            assert abs(se - check["se"]) <= check.get("se_rtol", 0.0) * abs(check["se"]), (check, se)
    assert str(fit).startswith("Linear mixed model fit by REML")
    assert set(fit.varcomp["constraint"]) <= {"P", "U", "B", "F", "C"}
