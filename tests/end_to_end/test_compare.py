"""Two runs beside each other: agreement, groups, top movers and the reasons behind them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from henderson.cli.main import main
from henderson.errors import InputFileError
from henderson.jobs.compare import Comparison, compare
from henderson.jobs.compare_files import write_comparison
from henderson.jobs.run import Settings, run
from oracles.animal_model import ANIMAL_MODEL

N, OLD = 240, 200  # animals in all, and when the old run was made


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two runs: the new one has later animals, one other sire, one other record."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(5)
    males, females = [0], [1]
    rows, records = [("a0", "0", "0", "M", 2000), ("a1", "0", "0", "F", 2000)], []
    for k in range(2, N):
        sire, dam = (f"a{rng.choice(p[-20:])}" if k > 20 else "0" for p in (males, females))
        (males if k % 2 == 0 else females).append(k)
        rows.append((f"a{k}", sire, dam, "M" if k % 2 == 0 else "F", 2000 + k // 20))
        records.append([f"a{k}", f"h{k % 7}", round(float(rng.normal(10, 2.5)), 2)])
    for name, n in (("old", OLD), ("new", N)):
        (folder / name).mkdir()
        own, data = list(rows[:n]), [list(r) for r in records[: n - 2]]
        if name == "new":
            own[150] = ("a150", "a0", *own[150][2:])
            data[100 - 2][2] += 20.0
        lines = ["id,sire,dam,sex,birth_date", *(f"{i},{s},{d},{x},{y}-03-01" for i, s, d, x, y in own)]
        (folder / name / "pedigree.csv").write_text("\n".join(lines) + "\n")
        (folder / name / "records.csv").write_text("id,herd,y\n" + "".join(f"{i},{h},{y}\n" for i, h, y in data))
        (folder / name / "model.toml").write_text(ANIMAL_MODEL)
        run(folder / name / "model.toml", Settings(folder / name / "out", threads=1))
    return folder


@pytest.fixture(scope="module")
def found(runs: Path) -> Comparison:
    return compare(runs / "old" / "out", runs / "new" / "out")


def solutions(out: Path, subfactor: str) -> dict[str, float]:
    rows = [line.split(",") for line in (out / "solutions.csv").read_text().splitlines()[1:]]
    return {r[2]: float(r[3]) for r in rows if r[1] == subfactor}


def test_agreement_is_that_of_the_shared_levels(runs: Path, found: Comparison) -> None:
    old, new = (solutions(runs / name / "out", "u") for name in ("old", "new"))
    x, y = np.array([[old[k], new[k]] for k in old]).T
    (u,) = [e for e in found.effects if e.subfactor == "u"]
    assert (u.all.n, u.only_old, u.only_new) == (OLD, 0, N - OLD)
    assert u.all.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert (u.all.slope, u.all.intercept) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert u.all.reverse_slope == pytest.approx(np.polyfit(y, x, 1)[0])
    assert (u.all.sd_old, u.all.sd_new) == pytest.approx((x.std(ddof=1), y.std(ddof=1)))
    assert u.all.largest_change == pytest.approx(np.abs(y - x).max())
    assert [e.subfactor for e in found.effects] == ["h", "u"]
    assert found.notes == ()


def test_groups_are_those_of_the_pedigree_file(runs: Path, found: Comparison) -> None:
    old, new = (solutions(runs / name / "out", "u") for name in ("old", "new"))
    (u,) = [e for e in found.effects if e.subfactor == "u"]
    sex = dict(u.groups["sex"])
    males = [f"a{k}" for k in range(0, OLD, 2)]
    assert sex["M"].n == len(males)
    assert sex["M"].mean_change == pytest.approx(np.mean([new[m] - old[m] for m in males]))
    years = u.groups["birth year"]
    assert [name for name, _ in years] == [str(2000 + k) for k in range(OLD // 20)]
    assert sum(a.n for _, a in years) == OLD
    assert years[3][1].mean_new == pytest.approx(np.mean([new[f"a{k}"] for k in range(60, 80)]))


def test_top_movers_have_their_reasons(runs: Path, found: Comparison) -> None:
    (u,) = [e for e in found.effects if e.subfactor == "u"]
    first = u.movers[0]
    assert first.level == "a100"
    assert "other values in its records" in first.reasons
    parents = (runs / "old" / "pedigree.csv").read_text().splitlines()[101].split(",")[1:3]
    reasons = {m.level: m.reasons for m in u.movers}
    assert all("other values in records of its progeny" in reasons[p] for p in parents)
    old, new = (solutions(runs / name / "out", "u") for name in ("old", "new"))
    change = np.array([new[k] - old[k] for k in old])
    assert first.standardised == pytest.approx((first.change - change.mean()) / np.std(list(old.values()), ddof=1))
    assert [abs(m.change - change.mean()) for m in u.movers] == sorted(np.abs(change - change.mean()), reverse=True)[
        : len(u.movers)
    ]
    every = {m.level: m.reasons for m in compare(runs / "old" / "out", runs / "new" / "out", top=OLD).effects[1].movers}
    sire = (runs / "old" / "pedigree.csv").read_text().splitlines()[151].split(",")[1]
    assert f"sire was {sire}, is a0" in every["a150"]
    children = [line.split(",") for line in (runs / "new" / "pedigree.csv").read_text().splitlines()[1:]]
    late = [p for c in children[OLD:] for p in c[1:3]]
    parent = max(set(late) & set(old), key=late.count)
    assert f"{late.count(parent)} new progeny" in every[parent]
    assert f"{late.count(parent):+d} records of progeny" in every[parent]
    counts = dict(u.groups["reason"])
    assert counts["other records"].n == 1
    assert counts["other parents"].n == 1
    assert counts["new progeny"].n == len(set(late) & set(old) | {"a0"})


def test_a_run_does_not_differ_from_itself(runs: Path) -> None:
    same = compare(runs / "old" / "out", runs / "old" / "out")
    for effect in same.effects:
        assert (effect.all.largest_change, effect.only_old, effect.only_new) == (0.0, 0, 0)
        assert effect.all.correlation == pytest.approx(1.0)
    (u,) = [e for e in same.effects if e.subfactor == "u"]
    assert [name for name, _ in u.groups["reason"]] == ["nothing of its own"]


def test_the_page_needs_nothing_else(runs: Path, found: Comparison, tmp_path: Path) -> None:
    page, data = write_comparison(found, tmp_path)
    text = page.read_text()
    assert text.count("<svg") == 3  # two sub-factors, one trend
    assert not [word for word in ("<script", "<link", "<img", "src=", "@import") if word in text]
    content = json.loads(data.read_text())
    assert content["effects"][1]["movers"][0]["level"] == "a100"
    assert content["effects"][1]["all"]["correlation"] == pytest.approx(found.effects[1].all.correlation)


def test_without_stores_there_are_no_reasons(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old", "new"):
        shutil.copytree(runs / name / "out", tmp_path / name, ignore=shutil.ignore_patterns("store.zarr"))
        record = json.loads((tmp_path / name / "run.json").read_text())
        record["config"]["store"] = "gone.zarr"
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr("sys.argv", ["henderson", "compare", str(tmp_path / "old"), str(tmp_path / "new"), "--json"])
    main()
    said = capsys.readouterr()
    assert "the stores of both runs tell them" in said.err
    content = json.loads(said.out)
    assert content["effects"][1]["movers"][0] | {"reasons": []} == content["effects"][1]["movers"][0]
    assert (tmp_path / "new" / "compare.html").exists()


def test_folders_without_results_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        compare(runs / "old" / "out", tmp_path)
    other = tmp_path / "other"
    shutil.copytree(runs / "old" / "out", other)
    text = (other / "solutions.csv").read_text().replace(",u,", ",w,").replace(",h,", ",k,")
    (other / "solutions.csv").write_text(text)
    with pytest.raises(InputFileError, match="no sub-factor in common"):
        compare(runs / "old" / "out", other)


def test_a_solve_starts_from_an_earlier_one(runs: Path, tmp_path: Path) -> None:
    old, model = runs / "old" / "out", runs / "new" / "model.toml"
    store = runs / "new" / "out" / "store.zarr"
    cold = json.loads((runs / "new" / "out" / "run.json").read_text())["jobs"][0]
    for name, start in (("warm", old), ("same", runs / "new" / "out")):
        run(model, Settings(tmp_path / name, store, threads=1, start=start))
    warm, same = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("warm", "same"))
    assert warm["jobs"][0]["history"][0] < 0.1 * cold["history"][0]
    assert same["jobs"][0]["iterations"] <= 1
    assert str(old / "solutions.csv") in [entry["path"] for entry in warm["inputs"]]
    expected = solutions(runs / "new" / "out", "u")
    assert solutions(tmp_path / "warm", "u") == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputFileError, match="no solutions"):
        run(model, Settings(tmp_path / "none", store, start=tmp_path))


@pytest.mark.parametrize("preconditioner", ["sweep", "border"])
def test_ranks_start_from_an_earlier_run_as_one_process_does(
    runs: Path, tmp_path: Path, mpiexec: str, preconditioner: str
) -> None:
    old, model, store = runs / "old" / "out", runs / "new" / "model.toml", runs / "new" / "out" / "store.zarr"
    run(model, Settings(tmp_path / "one", store, threads=1, start=old, preconditioner=preconditioner))
    program = Path(sys.executable).parent / "henderson"
    command = [mpiexec, "-n", "2", str(program), "solve", str(model), "--engine", "petsc"]
    command += ["--store", str(store), "--out", str(tmp_path / "two"), "--start", str(old)]
    command += ["--preconditioner", preconditioner]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two"))
    histories = [np.array(record["jobs"][0]["history"]) for record in (one, two)]
    assert histories[0][0] < 0.1
    assert histories[1][0] == pytest.approx(histories[0][0], rel=1e-6)
    assert abs(len(histories[0]) - len(histories[1])) <= 1
    assert str(old / "solutions.csv") in [entry["path"] for entry in two["inputs"]]
    assert solutions(tmp_path / "two", "u") == pytest.approx(solutions(tmp_path / "one", "u"), abs=1e-6)
