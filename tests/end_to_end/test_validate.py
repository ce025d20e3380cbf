"""`henderson validate`: the earlier part of the data, focal individuals, statistics, files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from henderson.cli.main import main
from henderson.jobs.run import Settings, run
from henderson.jobs.simulate import simulate_from_options
from henderson.results.solution_files import read_effects

CUT = 2014


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return simulated data of one trait."""
    path = tmp_path_factory.mktemp("validate") / "data"
    simulate_from_options(
        path, animals=1500, pedigree="dairy", traits=1, records=None, herds=20, missing=0.1, seed=2, file_format="csv",
        scale=None, integer_ids=False, progress=None,
    )  # fmt: skip
    return path


def henderson(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["henderson", *map(str, words)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(scope="module")
def validated(folder: Path) -> Path:
    out = folder.parent / "out"
    with pytest.MonkeyPatch.context() as patch:
        model = folder / "model.toml"
        words = ("--date-column", "born", "--cut-off", CUT, "--out", out, "--quiet", "--threads", 1, "--rtol", 1e-11)
        assert henderson(patch, "validate", model, *words) == 0
    return out


def test_the_earlier_part_is_that_of_a_file_without_the_later_records(folder: Path, validated: Path) -> None:
    lines = (folder / "records.csv").read_text().splitlines(keepends=True)
    place = lines[0].strip().split(",").index("born")
    early = [line for line in lines[1:] if int(line.split(",")[place]) < CUT]
    assert 0 < len(early) < len(lines) - 1
    (folder / "early.csv").write_text("".join([lines[0], *early]))
    text = (folder / "model.toml").read_text().replace("records.csv", "early.csv")
    (folder / "early.toml").write_text(text)
    run(folder / "early.toml", Settings(folder.parent / "early", jobs=("solve",), threads=1, rtol=1e-11))
    expected, found = read_effects(folder.parent / "early"), read_effects(validated / "partial")
    assert expected.keys() == found.keys()
    for key, effect in expected.items():
        a, b = (dict(zip(e.levels.to_pylist(), e.value.tolist(), strict=True)) for e in (effect, found[key]))
        assert a == pytest.approx(b, abs=1e-7), key


def test_focal_individuals_have_later_information_only(folder: Path, validated: Path) -> None:
    parents = {r["id"]: (r["sire"], r["dam"]) for r in rows_of(folder / "pedigree.csv")}
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for r in rows_of(folder / "records.csv"):
        if r["y1"]:
            seen[int(r["born"]) < CUT] |= {r["id"], *parents[r["id"]]}
    expected = (seen[False] - seen[True]) & set(parents)
    focal = rows_of(validated / "focal.csv")
    assert {r["level"] for r in focal} == expected
    whole = read_effects(validated / "whole")["g", "u1"]
    values = dict(zip(whole.levels.to_pylist(), whole.value.tolist(), strict=True))
    assert {r["level"]: float(r["whole"]) for r in focal} == pytest.approx({i: values[i] for i in expected})
    found = json.loads((validated / "validation.json").read_text())
    (effect,) = found["effects"]
    p, w = np.array([[float(r["partial"]), float(r["whole"])] for r in focal]).T
    statistics = effect["statistics"]
    assert effect["focal"] == len(expected)
    assert statistics["dispersion"]["value"] == pytest.approx(np.polyfit(p, w, 1)[0])
    assert statistics["bias"]["value"] == pytest.approx((p - w).mean())
    assert found["records"]["whole"] == sum(bool(r["y1"]) for r in rows_of(folder / "records.csv"))
    table = {r["statistic"]: r for r in rows_of(validated / "validation.csv")}
    assert float(table["dispersion"]["low"]) == statistics["dispersion"]["low"] < statistics["dispersion"]["value"]
    page = (validated / "validation.html").read_text()
    assert page.count("<svg") == 2
    assert not [word for word in ("<script", "<link", "<img", "src=", "@import") if word in page]


def test_the_model_file_may_say_where_to_cut_and_the_command_who_is_focal(
    folder: Path, validated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = (folder / "model.toml").read_text() + f'\n[validation]\ndate = "born"\ncut_off = {CUT}\n'
    (folder / "cut.toml").write_text(text)
    some = [r["level"] for r in rows_of(validated / "focal.csv")][:30]
    (tmp_path / "ids.csv").write_text("\n".join([*some, "stranger"]))
    words = ("--focal", tmp_path / "ids.csv", "--out", tmp_path / "out", "--json", "--threads", 1)
    assert henderson(monkeypatch, "validate", folder / "cut.toml", *words) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["effects"][0]["focal"] == 30
    assert "1 individuals of" in said.err
    assert "stranger" in said.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--cut-off", "2014"), 2, "--date-column is missing"),
        (("--date-column", "burn", "--cut-off", "2014"), 5, "did you mean 'born'"),
        (("--date-column", "born", "--cut-off", "2014-06-01"), 5, "is not a number"),
        (("--date-column", "herd", "--cut-off", "2014"), 3, "is no date in column 'herd'"),
        (("--date-column", "born", "--cut-off", "2090"), 3, "0 focal individuals"),
        (("--date-column", "born", "--cut-off", "1990"), 3, "has no observation"),
    ],
)
def test_mistakes_are_told(
    words: tuple[str, ...], code: int, message: str, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert henderson(monkeypatch, "validate", folder / "model.toml", *words, "--out", tmp_path, "--quiet") == code
    assert message in capsys.readouterr().err


def test_estimated_variances_are_those_of_all_data(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shared_data / "gryphon_univariate" / "m4.toml"
    words = ("--date-column", "byear", "--born", "byear", "--cut-off", 990, "--out", tmp_path, "--quiet")
    assert henderson(monkeypatch, "validate", model, *words, "--threads", 1) == 0
    partial, whole = (json.loads((tmp_path / p / "run.json").read_text()) for p in ("partial", "whole"))
    assert whole["jobs"][0]["job"] == "reml"
    assert str(tmp_path / "whole" / "variances.json") in [entry["path"] for entry in partial["inputs"]]
    known = {v["name"]: v["sigma"][0][0] for v in partial["config"]["model"]["variances"]}
    assert known["g"] == pytest.approx(2.298532, rel=1e-3)  # as published
    (effect,) = json.loads((tmp_path / "validation.json").read_text())["effects"]
    statistics = effect["statistics"]
    ratio = statistics["bias"]["value"] / statistics["bias_sd"]["value"]
    assert ratio == pytest.approx(np.sqrt(known["g"]))
    assert effect["focal"] > 400
    assert statistics["dispersion"]["holds"]
    assert statistics["bias"]["holds"]
    assert {g["group"] for g in effect["groups"]} >= {str(year) for year in range(990, 1003)}


def test_processes_find_the_same(folder: Path, validated: Path, mpiexec: str, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "henderson"
    words = ["--date-column", "born", "--cut-off", str(CUT), "--rtol", "1e-11", "--out", str(tmp_path), "--quiet"]
    command = [mpiexec, "-n", "2", str(program), "validate", str(folder / "model.toml"), *words, "--engine", "petsc"]
    subprocess.run(command, check=True, timeout=100)
    one, two = (json.loads((p / "validation.json").read_text())["effects"][0] for p in (validated, tmp_path))
    assert one["focal"] == two["focal"]
    for name, value in one["statistics"].items():
        assert value["value"] == pytest.approx(two["statistics"][name]["value"], rel=1e-5, abs=1e-6), name
