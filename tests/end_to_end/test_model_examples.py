"""The examples of models: all run, and their solutions have the signs that were put into the data."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import henderson

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "models"
FILES = ("maternal", "social", "traits", "curves", "columns")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, henderson.Result]:
    return {name: henderson.solve(EXAMPLES / f"{name}.toml", out=tmp_path_factory.mktemp(name)) for name in FILES}


def test_there_is_a_test_of_every_example() -> None:
    assert sorted(FILES) == sorted(path.stem for path in EXAMPLES.glob("*.toml"))


def values(result: henderson.Result, subfactor: str) -> pd.Series:
    return pd.Series(result.effect(subfactor)["value"])


def test_effects_have_their_levels(results: dict[str, henderson.Result]) -> None:
    for name, subfactor in (
        ("maternal", "u"),
        ("maternal", "m"),
        ("social", "i"),
        ("curves", "u_3"),
        ("columns", "u1"),
    ):
        assert len(values(results[name], subfactor)) == 26
    assert len(values(results["maternal"], "pm")) == 7
    assert len(values(results["curves"], "q_2")) == 18


def test_fat_goes_down_where_weight_goes_up(results: dict[str, henderson.Result]) -> None:
    weight, fat = (values(results["traits"], u) for u in ("u1", "u2"))
    assert weight.corr(fat) < -0.5


def test_growth_is_about_linear(results: dict[str, henderson.Result]) -> None:
    f = results["curves"].solutions.set_index("subfactor")["value"]
    assert 25.0 < f["f_2"] < 40.0
    assert abs(f["f_3"]) < 5.0
