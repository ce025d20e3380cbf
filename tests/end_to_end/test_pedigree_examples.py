"""The examples of pedigrees: all run, and those that are one model in two forms agree."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import henderson

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "pedigrees"
FILES = ("absorbed", "regression", "random", "metafounders", "uncertain", "bulls")


def solved(name: str, out: Path) -> dict[tuple[str, str], float]:
    henderson.solve(EXAMPLES / f"{name}.toml", out=out)
    with (out / "solutions.csv").open(newline="") as handle:
        return {(row["subfactor"], row["level"]): float(row["value"]) for row in csv.DictReader(handle)}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[tuple[str, str], float]]:
    out = tmp_path_factory.mktemp("examples")
    found = {name: solved(name, out / name) for name in FILES}
    with (out / "absorbed" / "Q.coocsv").open(newline="") as handle:
        found["Q"] = {(row["i"], row["j"]): float(row["value"]) for row in csv.DictReader(handle)}
    return found


def test_there_is_a_test_of_every_example() -> None:
    assert sorted(FILES) == sorted(path.stem for path in EXAMPLES.glob("*.toml"))


def test_absorbed_groups_are_the_regression(results: dict[str, dict[tuple[str, str], float]]) -> None:
    regression, Q = results["regression"], results["Q"]
    q = {group: regression.get(("q", group), 0.0) for group in ("Upland", "Lowland")}
    for (sub, animal), value in regression.items():
        if sub == "u":
            total = value + sum(Q.get((animal, group), 0.0) * q[group] for group in q)
            assert results["absorbed"]["u", animal] == pytest.approx(total, abs=1e-7)


def test_the_groups_order_the_animals(results: dict[str, dict[tuple[str, str], float]]) -> None:
    for name in ("absorbed", "random", "metafounders"):
        assert results[name]["u", "Upland"] > results[name]["u", "Lowland"]
        assert results[name]["u", "Iris"] > results[name]["u", "Cleo"]
    difference = {n: results[n]["u", "Upland"] - results[n]["u", "Lowland"] for n in ("absorbed", "random")}
    assert 0.0 < difference["random"] < difference["absorbed"]
    assert results["bulls"]["s", "Gus"] > results["bulls"]["s", "Abe"]
