"""Jobs one after the other, from TOML and lmt's XML, in one process and on two ranks, against dense equations."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from henderson.errors import HendersonError, InputFileError, ModelError, ResourceError, UsageError
from henderson.jobs.run import Settings, run
from oracles.file_blup import FileBlup, file_blup
from oracles.job_models import LEVELS, MODELS, SIGMA_RES, TOML, recipe, write_models

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def dense(folder: Path) -> FileBlup:
    return file_blup(recipe(folder / "records.csv"))


@pytest.fixture(scope="module")
def embedded(folder: Path) -> Path:
    """All models in one process; the store of the first is that of all but the flagged ones."""
    out = folder / "embedded"
    for name in MODELS:
        run(folder / name, Settings(out / name, folder / "stores" / name, threads=1))
    return out


@pytest.fixture(scope="module")
def on_two_ranks(folder: Path, embedded: Path, mpiexec: str) -> Path:
    out = folder / "ranks"
    listed = [[str(folder / n), str(folder / "stores" / n), str(out / n)] for n in MODELS]
    out.mkdir()
    (out / "jobs.json").write_text(json.dumps({"rtol": None, "models": listed, "settings": {}, "all_jobs": True}))
    script = Path(__file__).with_name("mpi_cases.py")
    command = [mpiexec, "-n", "2", sys.executable, str(script), str(out / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "errors.json").read_text()) == {}
    return out


@pytest.fixture(params=["embedded", "on_two_ranks"])
def results(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["chosen.toml", "chosen.xml"])
def test_accuracies_of_chosen_levels(name: str, results: Path, dense: FileBlup) -> None:
    rows = table(results / name / "solutions.csv")
    seen = 0
    for row in rows:
        key = row["subfactor"], row["level"]
        wanted = key[0] in ("u1", "u2", "m1", "h1") and key[1] in LEVELS
        assert (row["se"] != "") == wanted
        if key in dense.random:
            assert float(row["value"]) == pytest.approx(dense.random[key], abs=1e-9)
        if wanted and key[0] != "h1":
            seen += 1
            assert float(row["se"]) ** 2 == pytest.approx(dense.pev[key], rel=1e-8)
            assert float(row["reliability"]) == pytest.approx(1 - dense.pev[key] / dense.prior[key], abs=1e-8)
    assert seen == 12
    fixed = next(row for row in rows if row["subfactor"] == "h1" and row["level"] == "1")
    assert fixed["reliability"] == ""


def test_covariances_within_chosen_levels(results: Path, folder: Path) -> None:
    rows = {
        (r["level"], r["subfactor"], r["with"]): float(r["value"]) for r in table(results / "chosen.toml" / "pev.csv")
    }
    assert len(rows) == 4 * 6 + 2  # three positions of four animals, and of h1 the herds 1 and 3
    C, place = dense_equations(folder)
    for (level, one, two), value in rows.items():
        assert value == pytest.approx(C[place[one, level], place[two, level]], rel=1e-7, abs=1e-9)


def dense_equations(folder: Path) -> tuple[np.ndarray, dict[tuple[str, str], int]]:
    """C^-1 by NumPy from the equations as they are assembled, and the row of each (sub-factor, level)."""
    from henderson.equations.assembly import assemble
    from henderson.equations.operator import build_operator
    from henderson.jobs.run import understand
    from henderson.partitions.threads import Team
    from henderson.solvers.solve import Stages, set_up
    from henderson.store.reader import open_store

    spec, data = understand(folder / "chosen.toml"), open_store(folder / "stores" / "chosen.toml")
    with Team(1) as team:
        design = set_up(spec, data, team, Stages()).design
        assembled = assemble(build_operator(design, data, team))
    place = {}
    for group, number in zip(design.groups, assembled.number, strict=True):
        for k, position in enumerate(group.positions):
            assert position is not None
            place |= {(position.subfactor, n): int(i) for n, i in zip(group.labels.text(), number[:, k], strict=True)}
    return np.linalg.inv(assembled.matrix.toarray()), place


def test_accuracies_of_all_levels(results: Path, dense: FileBlup) -> None:
    rows = table(results / "all.toml" / "solutions.csv")
    for row in rows:
        key = row["subfactor"], row["level"]
        assert row["se"] != ""
        if key in dense.pev:
            assert float(row["se"]) ** 2 == pytest.approx(dense.pev[key], rel=1e-7)
            assert float(row["reliability"]) == pytest.approx(1 - dense.pev[key] / dense.prior[key], abs=1e-7)
    assert {row["factor"] for row in rows} == {"fxcl", "fxco", "g", "pe"}


def expected_fit(records: Path) -> tuple[dict[tuple[int, str], float], dict[tuple[int, str], float]]:
    """What was observed and fitted by (record from 1, trait): y_hat = y - R V^-1 (y - X b)."""
    oracle = file_blup(recipe(records))
    lines = table(records)
    y = np.array([float(lines[r][t]) for r, t in oracle.rows])
    traits = ["y1", "y2"]
    R = np.array(
        [
            [SIGMA_RES[traits.index(t), traits.index(u)] if r == s else 0.0 for s, u in oracle.rows]
            for r, t in oracle.rows
        ]
    )
    fitted = y - R @ oracle.V_inverse @ (y - oracle.fitted)
    keys = [(r + 1, t) for r, t in oracle.rows]
    return dict(zip(keys, y, strict=True)), dict(zip(keys, fitted, strict=True))


@pytest.mark.parametrize("name", ["chosen.toml", "chosen.xml", "all.toml"])
def test_fitted_values(name: str, results: Path, folder: Path) -> None:
    observed, fitted = expected_fit(folder / "records.csv")
    rows = table(results / name / "yhat.csv")
    assert [(int(r["record"]), r["trait"]) for r in rows] == sorted((int(r["record"]), r["trait"]) for r in rows)
    herds = [line.split(",")[2] for line in (folder / "records.csv").read_text().splitlines()[1:]]
    seen = 0
    for row in rows:
        key = int(row["record"]), row["trait"]
        if key in observed:
            seen += 1
            assert float(row["observed"]) == observed[key]
            assert float(row["fitted"]) == pytest.approx(fitted[key], abs=1e-8)
            assert float(row["residual"]) == pytest.approx(observed[key] - fitted[key], abs=1e-8)
        else:
            assert row["observed"] == row["residual"] == ""
            # nothing is known of herd 4 for y2: no prediction; of others there is one
            assert (row["fitted"] == "") == (row["trait"] == "y2" and herds[key[0] - 1] == "4")
    assert seen == len(observed)


@pytest.mark.parametrize("name", ["chosen.toml", "flags.toml", "flags.xml"])
def test_residuals_of_what_was_observed(name: str, results: Path, folder: Path) -> None:
    observed, fitted = expected_fit(folder / ("flagged.csv" if "flags" in name else "records.csv"))
    rows = table(results / name / "residuals.csv")
    assert {(int(r["record"]), r["trait"]) for r in rows} == set(observed)
    for row in rows:
        key = int(row["record"]), row["trait"]
        assert float(row["residual"]) == pytest.approx(observed[key] - fitted[key], abs=1e-6)


def test_the_run_record_lists_the_jobs(results: Path) -> None:
    def jobs(name: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads((results / name / "run.json").read_text())["jobs"]
        return found

    assert [j["job"] for j in jobs("chosen.toml")] == ["solve", "pev", "yhat", "residuals"]
    lmt = jobs("chosen.xml")
    assert [j["job"] for j in lmt] == ["solve", "solve", "pev", "yhat", "residuals"]
    assert "xtol" in str(lmt[1]["stop_reason"])
    assert "true residual" in str(lmt[0]["stop_reason"])
    assert jobs("chosen.toml")[1]["right_hand_sides"] == 14
    assert [j["job"] for j in jobs("flags.toml")] == ["solve", "residuals"]


def test_ranks_take_as_many_products_as_one_process(embedded: Path, on_two_ranks: Path) -> None:
    pev = [json.loads((out / "chosen.toml" / "run.json").read_text())["jobs"][1] for out in (embedded, on_two_ranks)]
    assert pev[0]["products"] == pytest.approx(pev[1]["products"], abs=2)


def test_files_of_lmt(results: Path, folder: Path) -> None:
    for name in ("chosen.xml", "flags.toml"):
        out = results / name
        ids = (out / "ped_crossref.csv").read_text().split()
        numbers = {i: str(k) for k, i in enumerate(ids, 1)} | {"0": "0"}
        pedigree = [line.split(",") for line in (folder / "pedigree.csv").read_text().splitlines()[1:]]
        lines = [line.split(",") for line in (out / "ped_sorted.csv").read_text().splitlines()]
        assert all(int(i) > max(int(s), int(d)) for i, s, d in lines)
        assert sorted(lines) == sorted([numbers[i], numbers[s], numbers[d]] for i, s, d in pedigree)
        steps = [line.split(",") for line in (out / "so_conv.csv").read_text().splitlines()]
        assert steps[0] == ["#iteration", "alpha", "beta", "rMr", "CD", "CR", "seconds"]
        assert [int(s[0]) for s in steps[1:]] == list(range(1, len(steps)))
        last = json.loads((out / "run.json").read_text())["jobs"][1 if "xml" in name else 0]
        np.testing.assert_allclose(np.exp([float(s[5]) for s in steps[1:-3]]), last["history"][1:-3], rtol=1e-6)
        for before, after in pairwise(steps[1:-3]):
            assert float(after[2]) == pytest.approx(float(after[3]) / float(before[3]), rel=1e-3)
        assert (out / "results.csv").exists()
    assert not (results / "chosen.toml" / "so_conv.csv").exists()


def test_diagonals_of_the_relationships(embedded: Path, folder: Path) -> None:
    raw = (embedded / "chosen.xml" / "ped.bin").read_bytes()
    blocks, at = {}, 0
    while at < len(raw):
        name = raw[at : at + 8].rstrip(b"\0").decode()
        n, m = np.frombuffer(raw, "<i8", 2, at + 8)
        blocks[name] = np.frombuffer(raw, "<f8", n * m, at + 24).reshape(n, m)
        at += 24 + 8 * n * m
    assert list(blocks) == ["a", "ai", "m", "pe"]
    T = np.eye(60)
    for i, sire, dam in blocks["pe"].astype(int):
        for parent in (sire, dam):
            if parent:
                T[i - 1, parent - 1] -= 0.5
    A_inverse = T.T @ np.diag(1.0 / blocks["m"].ravel()) @ T
    np.testing.assert_allclose(blocks["ai"].ravel(), np.diag(A_inverse), rtol=1e-12)
    np.testing.assert_allclose(blocks["a"].ravel(), np.diag(np.linalg.inv(A_inverse)), rtol=1e-10)


@pytest.mark.parametrize(
    ("job", "error", "words"),
    [
        ('pev = { factor = "gg" }', ModelError, "unknown factor or sub-factor 'gg'"),
        ('pev = { levels = ["3", "x9"] }', ModelError, "'x9' is no level of"),
        ('pev = { levelfile = "absent.csv" }', InputFileError, "there is no such file"),
        ('pev = { solver = "none" }', ModelError, "unknown solver 'none'"),
        ("pev = { factor = 3.5 }", ModelError, "a list of names or ids was expected"),
        ("solve = { max_it = 2 }", HendersonError, "not converged within max_it"),
        ('pev = { factor = "g", max_it = 2 }', HendersonError, "job 'pev' stopped after 2 products"),
    ],
)
def test_mistakes(job: str, error: type[HendersonError], words: str, folder: Path, tmp_path: Path) -> None:
    for name in ("records.csv", "pedigree.csv"):
        shutil.copy(folder / name, tmp_path)
    (tmp_path / "m.toml").write_text(TOML + f'[jobs]\nrun = ["solve", "pev"]\n{job}\n')
    with pytest.raises(error, match=words):
        run(tmp_path / "m.toml", Settings(tmp_path / "out", threads=1))


def test_accuracies_need_memory(folder: Path, tmp_path: Path) -> None:
    (folder / "direct.toml").write_text(TOML + '[jobs]\nrun = ["pev"]\npev = { method = "direct" }\n')
    from henderson.accuracy.pev import pev
    from henderson.jobs.run import understand
    from henderson.store.reader import open_store

    run(folder / "direct.toml", Settings(tmp_path, threads=1))
    with pytest.raises(ResourceError, match="iterate instead"):
        pev(understand(folder / "direct.toml"), open_store(tmp_path / "store.zarr"), memory=10_000)


def test_what_ranks_cannot_do_is_said(folder: Path) -> None:
    from henderson.jobs.distributed_jobs import refuse_direct
    from henderson.language.spec import JobSpec

    with pytest.raises(UsageError, match="method 'direct' needs --engine embedded"):
        refuse_direct(JobSpec("pev", (("method", "direct"),)))
