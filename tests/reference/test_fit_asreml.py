"""Wald tests, predictions and tests at the boundary against the examples of the ASReml user guide (Gilmour et al.)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import henderson


def test_oats_split_plot(shared_data: Path) -> None:
    data = pd.read_csv(shared_data / "asreml_oats_splitplot" / "oats.csv")
    fit = henderson.reml("yield ~ Variety*Nitrogen", "~ Blocks + Blocks:Wplots", data=data)
    np.testing.assert_allclose(fit.wald()["F"], [245.14, 1.49, 37.69, 0.30], atol=0.006)
    assert list(fit.wald()["df"]) == [1, 2, 3, 6]
    nitrogen = fit.predict("Nitrogen").set_index("Nitrogen")
    np.testing.assert_allclose(
        nitrogen.loc[["0_cwt", "0.2_cwt", "0.4_cwt", "0.6_cwt"], "predicted"],
        [79.3889, 98.8889, 114.2222, 123.3889],
        atol=6e-5,
    )
    np.testing.assert_allclose(nitrogen["std_error"], 7.1747, atol=2e-4)
    variety = fit.predict("Variety").set_index("Variety")
    wanted = {"Golden_rain": 104.5, "Marvellous": 109.7917, "Victory": 97.625}
    for name, value in wanted.items():
        assert variety.loc[name, "predicted"] == pytest.approx(value, abs=6e-5)
    np.testing.assert_allclose(variety["std_error"], 7.7975, atol=2e-4)
    np.testing.assert_allclose(fit.predict("Variety:Nitrogen")["std_error"], 9.1070, atol=2e-4)


def test_rats_unbalanced(shared_data: Path) -> None:
    data = pd.read_csv(shared_data / "asreml_rats_unbalanced" / "rats.csv")
    full = henderson.reml("weight ~ littersize + Dose + Sex + Dose:Sex", "~ Dam", data=data)
    np.testing.assert_allclose(full.wald()["F"][1:], [27.99, 12.15, 57.96, 0.40], atol=0.006)
    assert full.wald()["F"].iloc[0] == pytest.approx(9049.48, rel=1e-5)
    conditional = full.wald("conditional")["F"]
    np.testing.assert_allclose(conditional.iloc[1:], [46.25, 11.51, 57.96, 0.40], atol=0.006)


def test_voltage_at_the_boundary(shared_data: Path) -> None:
    data = pd.read_csv(shared_data / "extra" / "asreml_voltage_boundary" / "voltage.csv")
    random = "~ Setstat + Setstat:Regulatr + Teststat + Setstat:Teststat"
    fit = henderson.reml("voltage ~ 1", random, data=data)
    assert fit.loglik == pytest.approx(203.242, abs=1e-3)
    table = fit.varcomp
    wanted = {"Setstat": 0.0119371, "Setstat:Regulatr": 0.0307771, "Teststat": 0.00328704, "units!R": 0.0511400}
    for name, value in wanted.items():
        assert table.loc[name, "component"] == pytest.approx(value, rel=1e-3)
    assert table.loc["Setstat:Teststat", "constraint"] == "B"
    assert "1 fixed effect\n" in str(fit)
    without = henderson.reml("voltage ~ 1", "~ Setstat + Setstat:Regulatr + Teststat", data=data)
    assert fit.lrt(without).p_value == pytest.approx(1.0)
    stations = without.lrt(henderson.reml("voltage ~ 1", "~ Setstat:Regulatr + Teststat", data=data))
    assert stations.mixture == {0: 0.5, 1: 0.5}
    assert stations.statistic == pytest.approx(5.864, abs=2e-3)
    assert stations.p_value == pytest.approx(0.0077, abs=1e-4)
