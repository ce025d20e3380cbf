"""Mistakes of fits that were found, each with the data that showed it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import henderson
from henderson.errors import ModelError, UsageError


def _classes(rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    group = rng.integers(0, 8, 150)
    return [f"s{i}" for i in group], rng.normal(size=8)[group] + rng.normal(size=150)


def test_a_square_of_years_is_not_left_out_silently() -> None:
    rng = np.random.default_rng(1)
    year = rng.integers(2000, 2021, 150)
    labels, noise = _classes(rng)
    y = 0.3 * (year - 2010) + 0.02 * (year - 2010.0) ** 2 + noise
    frame = pd.DataFrame({"y": y, "year": year, "d": year - 1990, "S": labels})
    with pytest.raises(ModelError, match="subtract a constant"):
        henderson.reml("y ~ year + I(year^2)", "~ S", data=frame)
    assert len(henderson.reml("y ~ year", "~ S", data=frame).fixef()) == 2
    near = henderson.reml("y ~ d + I(d^2)", "~ S", data=frame)
    assert list(near.wald().df) == [1, 1, 1]


def test_a_covariate_far_from_zero_is_refused_and_a_constant_left_out() -> None:
    rng = np.random.default_rng(2)
    labels, noise = _classes(rng)
    t = 1.7e9 + rng.uniform(0.0, 3e4, 150)
    frame = pd.DataFrame({"y": 1e-4 * (t - 1.7e9) + noise, "t": t, "u": t - 1.7e9, "S": labels, "c": 3.1})
    with pytest.raises(ModelError, match="subtract a constant"):
        henderson.reml("y ~ t", "~ S", data=frame)
    frame["w"] = 2.0 * frame["u"] + 1.0
    fit = henderson.reml("y ~ c + u + w", "~ S", data=frame)
    assert list(fit.fixef().index.get_level_values(0)) == ["(Intercept)", "u"]
    assert list(fit.wald().df) == [1, 0, 1, 0]


def test_wald_tests_keep_all_degrees_of_freedom_of_what_was_kept() -> None:
    rng = np.random.default_rng(3)
    labels, noise = _classes(rng)
    u = rng.uniform(0.0, 1.0, 150)
    frame = pd.DataFrame({"y": 3.0 * u + noise, "u": u, "far": u + 8e3, "S": labels})
    far, near = (henderson.reml(f"y ~ {x}", "~ S", data=frame).wald() for x in ("far", "u"))
    assert list(far.df) == [1, 1]
    np.testing.assert_allclose(far.Wald.iloc[1], near.Wald.iloc[1], rtol=1e-4)


def test_standard_errors_of_functions_do_not_depend_on_units() -> None:
    rng = np.random.default_rng(4)
    group = rng.integers(0, 15, 120)
    G = np.array([[1.0, 0.5], [0.5, 1.0]])
    y = (rng.normal(size=(15, 2)) @ np.linalg.cholesky(G).T)[group] + rng.normal(size=(120, 2))
    found = []
    for a, b in ((1.0, 1.0), (1e3, 1e-5)):
        frame = pd.DataFrame({"a": a * y[:, 0], "b": b * y[:, 1], "S": [f"s{i}" for i in group]})
        fit = henderson.reml("cbind(a, b) ~ trait", "~ us(trait):S", "~ units:us(trait)", data=frame)
        name = next(n for n, _ in fit.result.sigma if n != "res")
        expressions = (f"{name}[2,2] / ({name}[2,2] + res[2,2])", f"{name}[2,1] / sqrt({name}[1,1] * {name}[2,2])")
        found.append([fit.vpredict(e).se for e in expressions])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_the_likelihood_ratio_of_models_that_are_not_nested_is_refused() -> None:
    rng = np.random.default_rng(5)
    group = rng.integers(0, 15, 150)
    x, z = rng.normal(size=(2, 150))
    u = rng.normal(size=(15, 2))[group]
    frame = pd.DataFrame({"x": x, "z": z, "B": [f"b{i}" for i in group]})
    frame["y"] = u[:, 0] + x * u[:, 1] + rng.normal(size=150)
    line, slope, mean = (
        henderson.reml(f"y ~ x + z + {random}", data=frame) for random in ("(x | B)", "(0 + z | B)", "(1 | B)")
    )
    assert line.lrt(mean).p_value < 0.05
    with pytest.raises(UsageError, match="mixture="):
        line.lrt(slope)
    line.lrt(slope, mixture={1: 0.5, 2: 0.5})


def test_categories_that_are_numbers_are_classes() -> None:
    rng = np.random.default_rng(6)
    labels, noise = _classes(rng)
    g = rng.integers(1, 5, 150)
    frame = pd.DataFrame({"y": noise, "g": pd.Categorical(g), "g2": pd.Categorical(g % 2), "t": g, "S": labels})
    fit = henderson.reml("y ~ g", "~ S", data=frame)
    assert list(fit.wald().df) == [1, 3]
    assert len(fit.predict("g")) == 4
    assert fit.predict(frame.head(5)).predicted.notna().all()
    assert list(henderson.reml("y ~ t", "~ S", data=frame).wald().df) == [1, 1]


def test_predictions_of_the_rows_that_were_fitted_for_all_types_of_columns() -> None:
    rng = np.random.default_rng(7)
    labels, noise = _classes(rng)
    flag = rng.random(150) < 0.5
    frame = pd.DataFrame({"y": noise + flag, "flag": flag, "S": labels})
    frame["day"] = pd.to_datetime(rng.choice(["2020-01-01", "2021-06-01"], 150))
    fit = henderson.reml("y ~ flag + day", "~ S", data=frame)
    found = fit.predict(frame)
    np.testing.assert_allclose(found.predicted, fit.fitted().fitted, rtol=1e-9)
    assert fit.predict(pd.DataFrame({"flag": [True], "day": [pd.Timestamp("2021-06-01")]})).predicted.notna().all()
    assert len(fit.predict("flag", at={"flag": True})) == 1
    with pytest.raises(UsageError, match="missing values"):
        fit.predict(frame.assign(S=None))


def test_arguments_of_the_wrong_type_are_refused() -> None:
    rng = np.random.default_rng(8)
    labels, noise = _classes(rng)
    frame = pd.DataFrame({"y": noise, "S": labels})
    fit = henderson.reml("y ~ 1", "~ S", data=frame)
    with pytest.raises(henderson.HendersonError, match="start="):
        henderson.reml("y ~ 1", "~ S", data=frame, start=[1, 2])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="DataFrame"):
        henderson.reml("y ~ 1", "~ S", data=[1, 2])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not int"):
        fit.predict(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not int"):
        fit.lrt(3)  # type: ignore[arg-type]
