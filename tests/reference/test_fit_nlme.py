"""Nested, crossed and class-by-group random effects in the words of nlme and lme4, against what those print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import henderson


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "extra" / "lme4_classic_b"


def test_orthodont(folder: Path) -> None:
    # lme(distance ~ age, Orthodont, ~ age | Subject), Pinheiro & Bates (2000), section 4.2
    fit = henderson.reml("distance ~ age", "~ age | Subject", data=pd.read_csv(folder / "Orthodont.csv"))
    assert fit.loglik_full == pytest.approx(-221.3183, abs=1e-4)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.sigma("Subject"))), [2.3270, 0.2264], atol=6e-5)
    assert fit.correlation("Subject").iloc[0, 1] == pytest.approx(-0.609, abs=5e-4)
    assert np.sqrt(fit.varcomp.loc["units!R", "component"]) == pytest.approx(1.3100, abs=6e-5)
    np.testing.assert_allclose(fit.fixef()["estimate"], [16.7611, 0.6602], atol=6e-5)
    np.testing.assert_allclose(fit.fixef()["std_error"], [0.7752, 0.0713], atol=6e-5)


@pytest.mark.parametrize("fixed", ["strength ~ 1 + (1 | batch/cask)", "strength ~ 1 + (1 | batch) + (1 | sample)"])
def test_pastes(folder: Path, fixed: str) -> None:
    # lmer(strength ~ 1 + (1 | batch) + (1 | sample), Pastes), Bates (2010), section 2.2
    fit = henderson.reml(fixed, data=folder / "Pastes.csv")
    assert -2 * fit.loglik_full == pytest.approx(246.9907, abs=1e-3)
    np.testing.assert_allclose(fit.varcomp["component"], [1.6573, 8.4337, 0.6780], rtol=2e-4)
    assert fit.fixef()["estimate"].iloc[0] == pytest.approx(60.0533, abs=1e-4)


def test_machines(folder: Path) -> None:
    # anova(fm1Machine, fm2Machine) and fm3Machine of nlme, Pinheiro & Bates (2000), section 1.3, with R's contrasts
    data = pd.read_csv(folder / "Machines.csv").astype({"Worker": str})
    one = henderson.reml("score ~ Machine", "~ 1 | Worker", data=data)
    two = henderson.reml("score ~ Machine", "~ 1 | Worker/Machine", data=data)
    three = henderson.reml("score ~ Machine", "~ Machine - 1 | Worker", data=data)
    assert two.loglik_full == pytest.approx(-107.8438, abs=1e-4)
    np.testing.assert_allclose(np.sqrt(two.varcomp["component"]), [4.7811, 3.7295, 0.9616], atol=6e-4)
    np.testing.assert_allclose(np.diag(three.sigma("Worker")), [16.64, 74.40, 19.27], rtol=5e-4)
    test = two.lrt(one)
    assert test.statistic == pytest.approx(71.1906, abs=1e-3)
    assert test.mixture == {0: 0.5, 1: 0.5}
    assert test.p_value < 1e-15
    assert three.lrt(two, mixture={4: 1.0}).statistic == pytest.approx(7.376, abs=2e-3)
