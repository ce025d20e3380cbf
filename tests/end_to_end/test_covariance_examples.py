"""The examples of covariances: all run, and those that say one thing in several ways agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import henderson
from henderson.jobs.convert import convert

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "covariances"
FILES = ("by_level.toml", "by_class.toml", "by_record.toml", "by_record.xml", "by_device.toml", "files.toml")
Solutions = dict[tuple[str, str], float]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Solutions]]:
    found = {}
    for name in FILES:
        out = tmp_path_factory.mktemp("examples") / name
        henderson.solve(EXAMPLES / name, out=out)
        found[name] = (out, solutions(out))
    return found


def solutions(out: Path) -> Solutions:
    with (out / "solutions.csv").open(newline="") as handle:
        return {(row["subfactor"], row["level"]): float(row["value"]) for row in csv.DictReader(handle)}


def test_there_is_a_test_of_every_example() -> None:
    assert sorted(FILES) == sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".toml", ".xml"))


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 3), (2, 4)])
def test_two_ways_to_say_one_thing(one: int, other: int, results: dict[str, tuple[Path, Solutions]]) -> None:
    (_, a), (_, b) = results[FILES[one]], results[FILES[other]]
    assert a.keys() == b.keys()
    np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], atol=1e-7)


def test_what_is_converted_elsewhere_finds_its_files(
    results: dict[str, tuple[Path, Solutions]], tmp_path: Path
) -> None:
    convert(EXAMPLES / "by_record.xml", tmp_path / "new" / "model.toml")
    henderson.solve(tmp_path / "new" / "model.toml", out=tmp_path / "out")
    expected = results["by_record.xml"][1]
    assert solutions(tmp_path / "out") == pytest.approx(expected, abs=1e-9)


def test_held_elements_stay(results: dict[str, tuple[Path, Solutions]]) -> None:
    out, _ = results["files.toml"]
    sigma = json.loads((out / "variances.json").read_text())["variances"]["res"]["sigma"]
    assert sigma[0][1] == pytest.approx(0.02, abs=1e-12)
    assert sigma[0][0] != pytest.approx(0.05, rel=1e-3)
