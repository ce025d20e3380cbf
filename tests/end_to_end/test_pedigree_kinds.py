"""Every kind of pedigree from its file to breeding values and accuracies, against dense equations."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import henderson
from henderson.errors import InputFileError
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from oracles.pedigree_files import KINDS, SIGMA, Kind, dense, make_kind, make_records, write_model, write_xml


def table(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "solutions.csv").open(newline="") as handle:
        return {(row["subfactor"], row["level"]): row for row in csv.DictReader(handle)}


def column(rows: dict[tuple[str, str], dict[str, str]], kind: Kind, name: str) -> np.ndarray:
    return np.array([[float(rows[f"u{t}", label][name] or "nan") for t in (1, 2)] for label in kind.labels])


@pytest.mark.parametrize("name", KINDS)
def test_breeding_values_and_accuracies_are_those_of_dense_equations(name: str, tmp_path: Path) -> None:
    kind = make_kind(name, 1)
    records = make_records(kind, 1)
    path = write_model(tmp_path, kind, records, jobs='["solve", "pev"]')
    henderson.solve(path, out=tmp_path / "out")
    rows = table(tmp_path / "out")
    expected = dense(kind, records)
    np.testing.assert_allclose(column(rows, kind, "value"), expected.u, atol=1e-8)
    np.testing.assert_allclose(column(rows, kind, "se") ** 2, expected.pev, rtol=1e-8)
    prior = np.outer(np.diag(kind.A), np.diag(SIGMA))
    np.testing.assert_allclose(column(rows, kind, "reliability"), 1 - expected.pev / prior, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_absorbed_groups_are_a_regression_on_their_fractions(seed: int, tmp_path: Path) -> None:
    kind = make_kind("fixed groups", seed)
    records = make_records(kind, seed)
    path = write_model(tmp_path, kind, records, jobs='["solve", "pev"]')
    result = henderson.solve(path, out=tmp_path / "out")
    rows = table(tmp_path / "out")
    assert kind.Q is not None
    expected = dense(kind, records, [kind.Q[:, k] for k in range(3)])
    g = expected.beta[8:].reshape(3, 2)
    # only contrasts are estimable: the herds hold a constant, which the fractions sum to
    contrast = (expected.u + kind.Q @ g) - (expected.u + kind.Q @ g)[3]
    found = column(rows, kind, "value")
    np.testing.assert_allclose(found[3:] - found[3], contrast[3:], atol=1e-7)
    dropped = {(sub, level) for _, sub, level in result.record["jobs"][0]["dropped"]}
    assert {s for s, _ in dropped} == {"u1", "u2"}
    assert all(level in kind.labels[:3] for _, level in dropped)
    for sub, level in dropped:
        assert abs(float(rows[sub, level]["value"])) < 1e-9
    for label in kind.labels[:3]:
        assert rows["u1", label]["reliability"] == ""


@pytest.mark.parametrize("random", [False, True])
def test_regression_on_groups(random: bool, tmp_path: Path) -> None:
    kind = make_kind("fixed groups", 5)
    records = make_records(kind, 5)
    assert kind.Q is not None
    terms = " + id(t(gg(groups)))*q%d" + ("(v(gg(%d)))" if random else "")
    path = write_model(tmp_path, kind, records, jobs='["solve", "pev"]')
    text = path.read_text()
    for t in (1, 2):
        text = text.replace(f"u{t}(v(g({t})))", f"u{t}(v(g({t})))" + terms.replace("%d", str(t)))
    # the relationship of the animals alone, and the groups beside it
    text = text.replace("phantomparents = 3", 'phantomparents = 3\n[pedigree.plain]\nfile = "plain.csv"')
    text = text.replace('A = { pedigree = "ped" }', 'A = { pedigree = "plain" }').replace(
        "[pedigree.ped]", "[pedigree.groups]"
    )
    if random:
        text += "[variance.gg]\nsigma = [[3.0, 0.5], [0.5, 2.0]]\n"
    path.write_text(text)
    groups = set(kind.labels[:3])
    plain = [line.split(",") for line in kind.lines if line.split(",")[0] not in groups]
    (tmp_path / "plain.csv").write_text(
        "\n".join(",".join("0" if w in groups else w for w in line) for line in plain) + "\n"
    )
    henderson.solve(path, out=tmp_path / "out")
    rows = table(tmp_path / "out")
    if random:
        groups_found, u = _two_factors(kind, records)
        for k, label in enumerate(kind.labels[:3]):
            for t in (1, 2):
                assert float(rows[f"q{t}", label]["value"]) == pytest.approx(groups_found[k, t - 1], abs=1e-8)
        for i, label in enumerate(kind.labels[3:], 3):
            assert float(rows["u1", label]["value"]) == pytest.approx(u[i, 0], abs=1e-8)
        return
    expected = dense(kind, records, [kind.Q[:, k] for k in range(3)])
    for i, label in enumerate(kind.labels[3:], 3):
        assert float(rows["u2", label]["value"]) == pytest.approx(expected.u[i, 1], abs=1e-8)
        assert float(rows["u2", label]["se"]) ** 2 == pytest.approx(expected.pev[i, 1], rel=1e-8)
    g = expected.beta[8:].reshape(3, 2)
    printed = {(s, level): float(row["value"]) for (s, level), row in rows.items() if s in ("q1", "q2")}
    assert len(printed) == 4, "one group of each trait depends on the herds and the others"
    for t in (1, 2):
        value = [printed.get((f"q{t}", label), 0.0) for label in kind.labels[:3]]
        np.testing.assert_allclose(np.diff(value), np.diff(g[:, t - 1]), atol=1e-7)


def _two_factors(kind: Kind, records: object) -> tuple[np.ndarray, np.ndarray]:
    """Random groups beside animals: q and u from V = Z (A (x) S) Z' + W (I (x) S_g) W' + R."""
    from oracles.pedigree_files import RESIDUAL, Records

    assert isinstance(records, Records)
    assert kind.Q is not None
    S = np.array([[3.0, 0.5], [0.5, 2.0]])
    n = len(kind.labels)
    rows = [(r, t) for r in range(len(records.y)) for t in range(2) if not np.isnan(records.y[r, t])]
    y = np.array([records.y[r, t] for r, t in rows])
    Z, W, X = np.zeros((len(rows), 2 * n)), np.zeros((len(rows), 6)), np.zeros((len(rows), 8))
    R = np.zeros((len(rows), len(rows)))
    for k, (r, t) in enumerate(rows):
        Z[k, 2 * records.animal[r] + t] = 1.0
        X[k, 2 * records.herd[r] + t] = 1.0
        for g in range(3):
            W[k, 2 * g + t] = kind.Q[records.animal[r], g]
        for j, (q, v) in enumerate(rows):
            R[k, j] = RESIDUAL[t, v] if q == r else 0.0
    G, H = np.kron(kind.A, SIGMA), np.kron(np.eye(3), S)
    V_inverse = np.linalg.inv(Z @ G @ Z.T + W @ H @ W.T + R)
    beta = np.linalg.solve(X.T @ V_inverse @ X, X.T @ V_inverse @ y)
    e = V_inverse @ (y - X @ beta)
    return (H @ W.T @ e).reshape(3, 2), (G @ Z.T @ e).reshape(n, 2)


@pytest.mark.parametrize("name", [*KINDS, "fixed groups"])
def test_xml_says_the_same(name: str, tmp_path: Path) -> None:
    kind = make_kind(name, 2)
    path = write_model(tmp_path, kind, make_records(kind, 2))
    write_xml(tmp_path, kind)
    toml, other = (load_model(p, read_schema) for p in (path, tmp_path / "model.xml"))
    assert toml.pedigrees == other.pedigrees
    assert toml.equations == other.equations


@pytest.mark.parametrize(
    ("pedigree", "switches", "words"),
    [
        ("id,sire,dam\na,0,0\n", "probabilistic = true", "3 columns where a probabilistic pedigree has four"),
        ("id,sire,dam,p\na,0,0,1\nb,a,0,\n", "probabilistic = true", r"line 3: a row without the probability"),
        ("id,sire,dam,p\na,0,0,1\nb,a,0,x\n", "probabilistic = true", r"ped.csv, line 3.*'x'"),
        ("id,sire,dam,p\na,0,0,1\nb,c,0,1\n", "probabilistic = true", r"line 3: sire 'c' is not listed"),
        ("id,sire,mgs,mgd\na,0,0,0\nb,a,0,z\n", "mgs = true", r"line 3: granddam 'z' is not listed"),
        ("id,sire,dam\nm,0,0\na,m,m\n", 'metafile = "g.csv"', r"g.csv, line 2: not a row of numbers"),
        ("id,sire,dam\nm,0,0\na,m,m\n", 'metafile = "none.csv"', "none.csv"),
        ("id,sire,dam\nm,0,0\na,m,m\n", "metamatrix = [[2.5]]", "less than 2"),
    ],
)
def test_mistakes_in_the_files_are_named(pedigree: str, switches: str, words: str, tmp_path: Path) -> None:
    kind = make_kind("plain", 1)
    kind.lines, kind.switches = pedigree.rstrip().split("\n"), switches
    kind.files = {"g.csv": "# Gamma\n0.5;0.1\n"}
    records = make_records(kind, 1)
    records.lines = ["id,herd,y1,y2", "a,h1,1,2"]
    path = write_model(tmp_path, kind, records)
    with pytest.raises(InputFileError, match=words):
        henderson.solve(path, out=tmp_path / "out")


def test_run_json_names_all_files(tmp_path: Path) -> None:
    kind = make_kind("uncertain metafounders", 1)
    result = henderson.solve(write_model(tmp_path, kind, make_records(kind, 1)), out=tmp_path / "out")
    assert {Path(f["path"]).name for f in result.record["inputs"]} == {
        "model.toml", "records.csv", "ped.csv", "gamma.csv",
    }  # fmt: skip
