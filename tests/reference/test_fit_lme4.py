"""What `henderson.reml` tells of lme4's examples, against what lme4 prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import henderson
from henderson.errors import HendersonError, UsageError


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "lme4_classic_a"


@pytest.fixture(scope="module")
def sleep(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "sleepstudy.csv")


@pytest.fixture(scope="module")
def fit(sleep: pd.DataFrame) -> henderson.Fit:
    return henderson.reml("Reaction ~ Days + (Days | Subject)", data=sleep)


@pytest.fixture(scope="module")
def ml(sleep: pd.DataFrame) -> henderson.Fit:
    return henderson.reml("Reaction ~ Days + (Days | Subject)", data=sleep, REML=False)


def test_sleepstudy_by_reml(fit: henderson.Fit) -> None:
    # summary(lmer(Reaction ~ Days + (Days | Subject), sleepstudy)), Bates et al. (2015)
    assert -2 * fit.loglik_full == pytest.approx(1743.628, abs=1e-3)
    table = fit.fixef()
    np.testing.assert_allclose(table["estimate"], [251.405, 10.467], atol=6e-4)
    np.testing.assert_allclose(table["std_error"], [6.825, 1.546], atol=6e-4)
    assert np.sqrt(fit.varcomp["component"].iloc[[0, 2, 3]]).to_numpy() == pytest.approx(
        [24.7404, 5.9221, 25.5918], rel=1e-4
    )
    assert fit.correlation("Subject").iloc[0, 1] == pytest.approx(0.07, abs=0.005)
    effects = fit.ranef()
    assert effects.loc[("Subject_(Intercept)", "308"), "blup"] == pytest.approx(2.2586, abs=1e-3)
    assert effects.loc[("Subject_Days", "308"), "blup"] == pytest.approx(9.1990, abs=1e-3)
    assert list(fit.varcomp.index) == [
        "Subject!(Intercept):(Intercept)", "Subject!Days:(Intercept)", "Subject!Days:Days", "units!R",
    ]  # fmt: skip


def test_sleepstudy_by_ml(ml: henderson.Fit, sleep: pd.DataFrame) -> None:
    # lmer(..., REML = FALSE): logLik, AIC, BIC; anova() with the model without Days, and with (1 | Subject)
    assert ml.loglik_full == pytest.approx(-875.9697, abs=1e-3)
    assert ml.aic == pytest.approx(1763.939, abs=2e-3)
    assert ml.bic == pytest.approx(1783.097, abs=2e-3)
    without = henderson.reml("Reaction ~ 1 + (Days | Subject)", data=sleep, method="ML")
    test = ml.lrt(without)
    assert test.statistic == pytest.approx(23.537, abs=1e-3)
    assert (test.df, test.mixture, test.bound) == (1, {1: 1.0}, False)
    assert test.p_value == pytest.approx(1.226e-06, rel=1e-3)
    simple = henderson.reml("Reaction ~ Days + (1 | Subject)", data=sleep, method="ML")
    test = simple.lrt(ml)
    assert test.statistic == pytest.approx(42.139, abs=2e-3)
    assert chi2.sf(test.statistic, 2) == pytest.approx(7.072e-10, rel=2e-3)  # what anova() prints
    assert test.p_value == pytest.approx((chi2.sf(42.1393, 1) + chi2.sf(42.1393, 2)) / 2, rel=1e-3)


def test_dyestuff_and_penicillin_by_ml(folder: Path) -> None:
    # Bates (2010), lme4: Mixed-effects modeling with R, chapters 1 and 2
    dyestuff = henderson.reml("Yield ~ 1 + (1 | Batch)", data=folder / "Dyestuff.csv", method="ML")
    assert dyestuff.aic == pytest.approx(333.3271, abs=1e-3)
    assert dyestuff.bic == pytest.approx(337.5307, abs=1e-3)
    assert dyestuff.varcomp["component"].to_numpy() == pytest.approx([1388.33, 2451.25], rel=1e-4)
    both = henderson.reml("diameter ~ 1 + (1 | plate) + (1 | sample)", data=folder / "Penicillin.csv", method="ML")
    assert -2 * both.loglik_full == pytest.approx(332.1883, abs=1e-3)


def test_a_component_at_zero_is_named(folder: Path) -> None:
    fit = henderson.reml("Yield ~ 1 + (1 | Batch)", data=pd.read_csv(folder / "Dyestuff2.csv"))
    assert fit.varcomp.loc["Batch", "constraint"] == "B"
    assert np.isnan(fit.varcomp.loc["Batch", "std_error"])
    assert "at the boundary" in str(fit)
    value = fit.vpredict("Batch[1,1] / (Batch[1,1] + res[1,1])")
    assert np.isnan(value.se)
    assert fit.vpredict("2 * res[1,1]").se == pytest.approx(2 * fit.varcomp.loc["units!R", "std_error"], rel=1e-5)


def test_functions_of_components(fit: henderson.Fit) -> None:
    V = fit.result.covariance
    a, c, b, r = fit.varcomp["component"]
    value = fit.vpredict("Subject[1,1] / (Subject[1,1] + res[1,1])")
    gradient = np.array([r, 0, 0, -a]) / (a + r) ** 2
    assert value.value == pytest.approx(a / (a + r), rel=1e-12)
    assert value.se == pytest.approx(np.sqrt(gradient @ V @ gradient), rel=1e-6)
    found = fit.vpredict("Subject[1,2] / sqrt(Subject[1,1] * Subject[2,2])")
    assert found.value == pytest.approx(c / np.sqrt(a * b), rel=1e-12)
    assert found.se == pytest.approx(fit.result.sigma["Subject", None].correlation_se[0, 1], rel=1e-5)
    for text, words in [("Subjct[1,1]", "did you mean 'Subject'"), ("Subject[3,1]", "outside"), ("1 +", "the end")]:
        with pytest.raises(UsageError, match=words):
            fit.vpredict(text)


def test_what_cannot_be_compared_is_refused(fit: henderson.Fit, ml: henderson.Fit, sleep: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="by REML and one by ML cannot be compared"):
        fit.lrt(ml)
    other = henderson.reml("Reaction ~ 1 + (1 | Subject)", data=sleep)
    with pytest.raises(UsageError, match="different fixed effects"):
        fit.lrt(other)
    fewer = henderson.reml("Reaction ~ Days + (1 | Subject)", data=sleep[sleep["Days"] < 9])
    with pytest.raises(UsageError, match="not of the same data: 180 and 162"):
        fit.lrt(fewer)
    with pytest.raises(UsageError, match="as many parameters"):
        fit.lrt(fit)


def test_printed_fit(fit: henderson.Fit) -> None:
    lines = str(fit).splitlines()
    assert lines[0] == "Linear mixed model fit by REML: Reaction"
    assert lines[1] == "180 observations, 2 fixed effects"
    assert lines[3] == "logLik -708.2431   with constants -871.8141   AIC 1424.49   BIC 1437.21"
    assert "units!R                            654.941    77.1855     8.49           P" in lines
    assert "P positive, U unconstrained" in lines
    assert "Days          10.4673    1.54579     6.77" in lines
    text = fit.summary()
    assert "Wald tests:" in text
    assert re.search(r"\nDays +1 +45\.853 +45\.853 +1\.275e-11\n", text)
    html = fit._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 5
    assert "<td style='text-align:left'>units!R</td><td style='text-align:right'>654.941</td>" in html


def test_mistakes_name_the_formula_and_the_place(sleep: pd.DataFrame) -> None:
    cases = [
        (
            {"fixed": "Reaction ~ Day + (1 | Subject)"},
            r"henderson.reml\(\), column 12: formula 'fixed': data has no column 'Day'",
        ),
        ({"fixed": "Reaction ~ Days +"}, "column 18: formula 'fixed'.*the end"),
        (
            {"fixed": "Reaction ~ Days", "random": "~ Subjct"},
            r"henderson.reml\(\), column 3: formula 'random': data has no column 'Subjct'; did you mean 'Subject'",
        ),
        ({"fixed": "Reaction ~ Days + (1 | Subject), REML = FALSE"}, 'method="ML"'),
        ({"fixed": "Reaction ~ Days", "random": "~ vm(Subject, ped)"}, "unknown pedigree or matrix 'ped'"),
        ({"fixed": "Reaction ~ Days", "method": "REM"}, "unknown method 'REM'; did you mean 'REML'"),
        ({"fixed": "Reaction ~ Days", "max_round": 3}, "unknown option of job 'reml': 'max_round'"),
        ({"fixed": "Reaction ~ Days", "start": {"Subjct": [[1.0]]}}, "'Subjct' is declared, but no sub-factor"),
        ({"fixed": "Reaction ~ Days", "out": "x"}, "out= is for parameter files"),
    ]
    for arguments, words in cases:
        with pytest.raises(HendersonError, match=words):
            henderson.reml(**{"data": sleep, **arguments})
    with pytest.raises(UsageError, match="data= is missing"):
        henderson.reml("Reaction ~ Days")
    with pytest.raises(HendersonError, match="several columns of the DataFrame are called Days"):
        henderson.reml("Reaction ~ Days", data=pd.concat([sleep, sleep[["Days"]]], axis=1))
    with pytest.raises(HendersonError, match="no rows"):
        henderson.reml("Reaction ~ Days", data=sleep.iloc[:0])


def test_mistakes_of_predictions(fit: henderson.Fit) -> None:
    cases = [
        (("Subjct",), {}, "did you mean 'Subject'"),
        (("Days",), {}, "is a covariate; say where"),
        (("Subject",), {"at": {"Subject": "999"}}, "unknown level '999'"),
        ((pd.DataFrame({"Subject": ["308"]}),), {}, "have no column 'Days'"),
        ((pd.DataFrame({"Days": ["one"]}),), {}, "holds what is no number"),
    ]
    for positional, named, words in cases:
        with pytest.raises(UsageError, match=words):
            fit.predict(*positional, **named)
    with pytest.raises(UsageError, match="did you mean 'Subject'"):
        fit.ranef("Subjec")
    with pytest.raises(UsageError, match="unknown kind of test 'type3'"):
        fit.wald("type3")  # type: ignore[arg-type]
