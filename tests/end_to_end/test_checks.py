"""`[checks]`: what they find, what is dropped and really has no part in the solutions, what is logged."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from henderson.cli.main import main
from henderson.errors import HendersonError, InputFileError, ModelError
from henderson.ingest.run import edits_file
from henderson.jobs.run import Settings, run
from henderson.results.solution_files import read_effects
from oracles.animal_model import ANIMAL_MODEL

N = 300
HEADER = "id,herd,age,y\n"
MODEL = ANIMAL_MODEL.replace("herd*h +", "herd*h + age(t(co))*a +")
CHECKS = """
[checks]
action = "{}"
range = {{ y = [0, 60], age = [10, 99] }}
outliers = {{ y = 4 }}
within = "herd"
smallest = {{ herd = 2 }}
"""


def records() -> list[list[str]]:
    """Return records with one mistake of each kind: rows 20 (range), 40 (age), 60 (outlier), 80 (group of one)."""
    rng = np.random.default_rng(8)
    rows = [[f"a{k}", f"h{k % 9}", str(20 + k % 50), f"{float(30 + (k % 9) + rng.normal(0, 2)):.3f}"] for k in range(N)]
    rows[20][3] = "-7"
    rows[40][2] = "5"
    rows[60][3] = str(30 + 60 % 9 + 15)
    rows[80][1] = "alone"
    rows[100][3] = "NA"  # with row 101 the only ones of their herd, so that this one has one observation
    rows[100][1] = rows[101][1] = "pair"
    return rows


def write(folder: Path, rows: list[list[str]], model: str = MODEL, pedigree: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records.csv").write_text(HEADER + "# a comment\n" + "".join(",".join(r) + "\n" for r in rows))
    parents = [("0", "0") if k < 20 else (f"a{k % 10}", f"a{10 + k % 7}") for k in range(N)]
    lines = [f"a{k},{s},{d}\n" for k, (s, d) in enumerate(parents)]
    (folder / "pedigree.csv").write_text(pedigree or "id,sire,dam\n" + "".join(lines))
    (folder / "model.toml").write_text(model)
    return folder / "model.toml"


def solutions(out: Path) -> dict[tuple[str, str, str], float]:
    return {
        (*key, level): value
        for key, e in read_effects(out).items()
        for level, value in zip(e.levels.to_pylist(), e.value.tolist(), strict=True)
    }


def edits(out: Path) -> list[dict[str, str]]:
    with edits_file(out / "store.zarr").open(newline="") as file:
        return list(csv.DictReader(file))


BROKEN = (
    (20, "-7", "y", "outside [0, 60]"),
    (40, "5", "age", "outside [10, 99]"),
    (60, "51", "y", "more than 4 standard deviations from the mean of its herd"),
    (80, None, "y", "fewer than 2 observations in its herd"),
    (101, None, "y", "fewer than 2 observations in its herd"),
)


def test_what_is_dropped_has_no_part_and_is_logged_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = records()
    run(write(tmp_path / "drop", rows, MODEL + CHECKS.format("drop")), Settings(tmp_path / "drop" / "out", threads=1))
    log = edits(tmp_path / "drop" / "out")
    assert [(int(e["line"]) - 3, e["animal"], e["column"], e["reason"], e["action"]) for e in log] == [
        (row, f"a{row}", column, reason, "drop") for row, _, column, reason in BROKEN
    ]  # below the header and the comment, lines count from 1
    assert [e["value"] for e in log] == [v or rows[r][3].rstrip("0") for r, v, _, _ in BROKEN]
    assert "1 of age: outside [10, 99], taken as missing" in caplog.text
    kept = [r for k, r in enumerate(rows) if k not in [b[0] for b in BROKEN] and r[3] != "NA"]
    run(write(tmp_path / "clean", kept), Settings(tmp_path / "clean" / "out", threads=1))
    assert solutions(tmp_path / "drop" / "out") == pytest.approx(solutions(tmp_path / "clean" / "out"), abs=1e-6)


def test_a_warning_keeps_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = records()
    run(write(tmp_path, rows, MODEL + CHECKS.format("warn")), Settings(tmp_path / "warn", threads=1))
    assert "1 of y: outside [0, 60], kept; first: records.csv line 23 of a20 y -7" in caplog.text
    assert {e["action"] for e in edits(tmp_path / "warn")} == {"warn"}
    run(write(tmp_path, rows), Settings(tmp_path / "plain", threads=1))
    assert solutions(tmp_path / "warn") == pytest.approx(solutions(tmp_path / "plain"), abs=1e-6)
    run(write(tmp_path, rows), Settings(tmp_path / "warn", threads=1))  # the same folder without checks
    assert not edits_file(tmp_path / "warn" / "store.zarr").exists()


def test_an_error_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputFileError) as told:
        run(write(tmp_path, records(), MODEL + CHECKS.format("error")), Settings(tmp_path / "out", threads=1))
    assert "records.csv, line 23: y -7 of a20: outside [0, 60]" in str(told.value)
    assert len(told.value.problems) == len(BROKEN)


def test_outliers_are_those_of_standardised_deviations(tmp_path: Path) -> None:
    rows = records()
    limit = 1.0  # the row far out widens the standard deviation
    checks = f'\n[checks]\naction = "drop"\noutliers = {{ y = {limit} }}\nwithin = "herd"\n'
    run(write(tmp_path, rows, MODEL + checks), Settings(tmp_path / "out", threads=1))
    known = [k for k in range(N) if rows[k][3] != "NA"]
    herds, y = np.array([rows[k][1] for k in known]), np.array([float(rows[k][3]) for k in known])
    names, code = np.unique(herds, return_inverse=True)
    n, mean = np.bincount(code), np.bincount(code, y) / np.bincount(code)
    deviation = y - mean[code]
    sd = np.sqrt((deviation**2).sum() / (len(y) - len(names)))
    far = np.abs(deviation) > limit * sd * np.sqrt(1 - 1 / n[code])
    assert [e["animal"] for e in edits(tmp_path / "out")] == [
        f"a{known[k]}" for k in np.flatnonzero(far & (n[code] > 1))
    ]
    assert far.sum() > 3


@pytest.mark.parametrize(
    ("births", "age", "wrong"),
    [
        ({"a0": "2001", "a30": "1999"}, 0, ["a30"]),
        ({"a0": "2001-06-01", "a30": "2001-05-31", "a40": "2001-06-02"}, 0, ["a30"]),
        ({"a0": "2000", "a30": "2001", "a40": "2002"}, 2, ["a30"]),
    ],
)
def test_parents_born_after_their_progeny_are_found(
    births: dict[str, str], age: int, wrong: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [f"a{k},{f'a{k % 10}' if k >= 20 else 0},0,{births.get(f'a{k}', '')}\n" for k in range(N)]
    pedigree = "id,sire,dam,born\n" + "".join(lines)
    checks = f'\n[checks]\nborn = "born"\nparent_age = {age}\n'
    run(write(tmp_path, records(), MODEL + checks, pedigree), Settings(tmp_path / "out", threads=1))
    assert f"{len(wrong)} impossible parents" in caplog.text
    assert f"sire a0 was born {births['a0'][:4]}" in caplog.text
    assert f"its progeny {wrong[0]}" in caplog.text
    model = write(tmp_path, records(), MODEL + checks + 'action = "error"\n', pedigree)
    with pytest.raises(InputFileError, match="impossible parents"):
        run(model, Settings(tmp_path / "out", threads=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('action = "delete"', "unknown action 'delete'"),
        ("range = { y = 7 }", "[lowest, highest]"),
        ("range = { y = [9, 7] }", "[lowest, highest]"),
        ("range = { herd = [0, 9] }", "unknown response or covariate 'herd'"),
        ("outliers = { age = 3 }", "unknown response 'age'"),
        ("outliers = { y = -3 }", "a number of standard deviations"),
        ('within = "heard"', "did you mean 'herd'"),
        ("smallest = { herd = 1.5 }", "a whole number of records"),
        ("collinear = 2", "a correlation between 0 and 1"),
        ("ranges = {}", "did you mean 'range'"),
        ('born = "birth"', "unknown column 'birth'"),
    ],
)
def test_mistakes_in_the_checks_are_told(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(HendersonError) as told:
        run(write(tmp_path, records(), f"{MODEL}\n[checks]\n{text}\n"), Settings(tmp_path / "out", threads=1))
    assert isinstance(told.value, ModelError)
    assert message in str(told.value)


TWO_TRAITS = """
[data]
records = "records.csv"

[pedigree.ped]
file = "pedigree.csv"

[model]
equations = '''
y = herd*h1 + region*r1 + id*u1(v(g(1)))
z = herd*h2 + twin*t2 + id*u2(v(g(2)))
'''

[variance.g]
sigma = [[2.0, 0.5], [0.5, 2.0]]
gamma = { A = { pedigree = "ped" } }

[variance.res]
sigma = [[4.0, 1.0], [1.0, 4.0]]
"""


def check(words: list[object], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["henderson", "check", *map(str, words)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_check_reads_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    y = 1e6 + rng.normal(0, 1, N)
    z = y + rng.normal(0, 0.05, N)
    rows = [
        [f"a{k}", f"h{k % 9}", f"r{k % 9 // 3}", f"t{k % 9}", f"{y[k]:.4f}", f"{z[k]:.4f}" if k % 2 else "NA"]
        for k in range(N)
    ]
    rows[5][1] = rows[5][3] = "lonely"
    model = write(tmp_path, rows, TWO_TRAITS)
    text = (tmp_path / "records.csv").read_text()
    (tmp_path / "records.csv").write_text(text.replace(HEADER, "id,herd,region,twin,y,z\n"))
    assert check([model, "--data", "--json"], monkeypatch) == 0
    report = json.loads(capsys.readouterr().out)["data"]
    traits = {t["trait"]: t for t in report["traits"]}
    assert (traits["y"]["observed"], traits["z"]["observed"]) == (N, N // 2)
    assert traits["y"]["sd"] == pytest.approx(y.std(ddof=1), rel=1e-3)
    assert traits["z"]["least"] == pytest.approx(z[1::2].min(), abs=1e-3)
    classes = {c["column"]: (c["levels"], c["smallest"], c["alone"]) for c in report["classes"]}
    assert classes["herd"] == (10, 1, 1)
    assert classes["region"] == (3, min(sum(k % 9 // 3 == g for k in range(N)) for g in range(3)), 0)
    same, *nested = report["remarks"]
    r = np.corrcoef(y[1::2], z[1::2])[0, 1]
    assert same == f"y and z are almost the same: correlation {r:.4f} in {N // 2} records"
    assert nested == [
        "herd is nested in region, which adds nothing to it: each level of herd has one level of region (y)",
        "herd and twin are the same: each level of one has one level of the other (z)",
    ]
    run(model, Settings(tmp_path / "run", threads=1))
    assert check([model, "--data", "--json", "--store", tmp_path / "run" / "store.zarr"], monkeypatch) == 0
    (*_, dependent) = json.loads(capsys.readouterr().out)["data"]["remarks"]
    assert dependent.startswith("13 columns of fixed effects depend on others and will be left out: r1[r0], r1[r1]")
    checks = '\n[checks]\naction = "error"\nsmallest = { herd = 2 }\n'
    model.write_text(TWO_TRAITS + checks)
    assert check([model, "--data", "--edits", tmp_path / "edits.csv"], monkeypatch) == 3
    said = capsys.readouterr()
    assert "2 of herd: fewer than 2 observations in its herd" in said.err
    assert "levels of one record" in said.out
    assert len((tmp_path / "edits.csv").read_text().splitlines()) == 3
    assert not (tmp_path / "model.out").exists()
    assert check([model, "--edits", tmp_path / "edits.csv"], monkeypatch) == 2
