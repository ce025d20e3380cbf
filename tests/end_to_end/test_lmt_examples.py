"""The examples of lmt's parameter files: all run, what the page shows is what they write, XML and TOML agree."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import henderson
from henderson.jobs.run import understand

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "lmt"
FILES = ("para.xml", "para.toml", "airemlc.xml")
LMT = ("results.csv", "ped_sorted.csv", "ped_crossref.csv", "ped.bin")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lmt")
    for name in FILES:
        henderson.solve(EXAMPLES / name, out=folder / name, threads=1)
    return folder


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def shown(first: str) -> list[list[str]]:
    """The rows of the table of the page that begins with the column `first`."""
    lines = (EXAMPLES / "README.md").read_text().splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in (lines[at], *lines[at + 2 :]):
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_there_is_a_test_of_every_example() -> None:
    assert sorted(FILES) == sorted(p.name for p in EXAMPLES.iterdir() if p.suffix in (".xml", ".toml"))


@pytest.mark.parametrize(("first", "file"), [("factor", "pev.csv"), ("record", "yhat.csv")])
def test_the_page_shows_what_is_written(first: str, file: str, out: Path) -> None:
    for page, row in zip(shown(first), table(out / "para.xml" / file), strict=False):
        for told, found in zip(page, row, strict=True):
            if told != found:
                assert float(told) == pytest.approx(float(found), abs=0.006)
    assert len(shown("factor")) == len(table(out / "para.xml" / "pev.csv"))


def test_the_xml_is_the_toml(out: Path) -> None:
    xml, toml = (understand(EXAMPLES / name) for name in ("para.xml", "para.toml"))
    assert replace(toml, lmt_files=False) == xml
    for file in ("solutions.csv", "pev.csv", "yhat.csv", "residuals.csv", *LMT):
        assert (out / "para.xml" / file).read_bytes() == (out / "para.toml" / file).read_bytes()


def test_the_average_information_gives_the_standard_errors(out: Path) -> None:
    names, values = table(out / "airemlc.xml" / "ai_pa.csv")[0], table(out / "airemlc.xml" / "ai_pa.csv")[-1]
    upper = iter(float(v) for v in table(out / "airemlc.xml" / "ai_ai.csv")[-1])
    information = np.zeros((len(names), len(names)))
    for j in range(len(names)):
        for i in range(j + 1):
            information[i, j] = information[j, i] = next(upper)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    fit = json.loads((out / "airemlc.xml" / "variances.json").read_text())["parameters"]
    assert [n.lstrip("#") for n in names] == [f"{p['variance']}_{p['row']}_{p['col']}" for p in fit]
    np.testing.assert_allclose([float(v) for v in values], [p["value"] for p in fit])
    np.testing.assert_allclose(errors, [p["se"] for p in fit], rtol=1e-6)


def test_flags_and_threshold_are_both_heeded(out: Path) -> None:
    lines = [line.split(",") for line in (EXAMPLES / "data.csv").read_text().splitlines()[1:]]
    flags = [line.split(",") for line in (EXAMPLES / "missing.csv").read_text().splitlines()[2:]]
    seen = {
        (str(k), trait)
        for k, (line, flag) in enumerate(zip(lines, flags, strict=True), 1)
        for trait, value, f in zip(("milk", "fat"), line[:2], flag, strict=True)
        if float(value) > -50 and f == "F"
    }
    assert {tuple(row[:2]) for row in table(out / "airemlc.xml" / "residuals.csv")[1:]} == seen
    assert any("T" in flag for flag in flags)
