"""REML with every kind of pedigree: the estimates are those with A as a user matrix, or with groups as covariates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import henderson
from oracles.pedigree_files import Kind, Records, make_kind, write_model


def animal_records(kind: Kind, seed: int) -> Records:
    """Four records of each animal, drawn from the model, so that both variances can be estimated."""
    rng = np.random.default_rng([seed, 11])
    n = len(kind.labels)
    root = np.linalg.cholesky(kind.A + 1e-9 * np.eye(n))
    u = root @ rng.normal(size=(n, 2)) @ np.linalg.cholesky(np.array([[4.0, 1.0], [1.0, 2.0]])).T
    animal = np.repeat(np.arange(kind.first, n), 4)
    herd = rng.integers(0, 4, len(animal))
    y = np.round(10.0 + u[animal] + rng.normal(size=(len(animal), 2)) * 1.5 + herd[:, None], 3)
    lines = ["id,herd,y1,y2"]
    lines += [f"{kind.labels[a]},h{h},{p!r},{q!r}" for a, h, (p, q) in zip(animal, herd, y.tolist(), strict=True)]
    return Records(lines, animal, herd, y)


def estimates(path: Path, out: Path) -> tuple[np.ndarray, np.ndarray, float]:
    henderson.solve(path, out=out)
    found = json.loads((out / "variances.json").read_text())
    g, res = (np.array(found["variances"][name]["sigma"]) for name in ("g", "res"))
    return g, res, found["loglik"]


@pytest.mark.parametrize("name", ["selfing", "uncertain", "mgd", "metafounders", "random groups"])
def test_estimates_are_those_with_the_relationships_as_a_user_matrix(name: str, tmp_path: Path) -> None:
    kind = make_kind(name, 6)
    path = write_model(tmp_path, kind, animal_records(kind, 6), jobs='["reml"]')
    path.write_text(path.read_text().replace("solve = { rtol = 1e-12 }\n", ""))
    g, res, loglik = estimates(path, tmp_path / "out")
    K = "\n".join([",".join(["id", *kind.labels])] + [
        ",".join([label, *map(repr, row)]) for label, row in zip(kind.labels, kind.A.tolist(), strict=True)
    ])  # fmt: skip
    (tmp_path / "K.csv").write_text(K + "\n")
    text = path.read_text().replace('A = { pedigree = "ped" }', 'matrix = "K"')
    other = tmp_path / "other.toml"
    other.write_text(text.replace("[model]", '[matrix.K]\nfile = "K.csv"\n[model]'))
    expected = estimates(other, tmp_path / "other")
    np.testing.assert_allclose(g, expected[0], rtol=1e-4)
    np.testing.assert_allclose(res, expected[1], rtol=1e-4)
    assert loglik == pytest.approx(expected[2], abs=1e-4)


def test_absorbed_groups_have_the_estimates_of_the_regression(tmp_path: Path) -> None:
    kind = make_kind("fixed groups", 6)
    path = write_model(tmp_path, kind, animal_records(kind, 6), jobs='["reml"]')
    path.write_text(path.read_text().replace("solve = { rtol = 1e-12 }\n", ""))
    g, res, _ = estimates(path, tmp_path / "out")
    groups = set(kind.labels[:3])
    plain = [line.split(",") for line in kind.lines if line.split(",")[0] not in groups]
    lines = [",".join("0" if w in groups else w for w in line) for line in plain]
    (tmp_path / "plain.csv").write_text("\n".join(lines) + "\n")
    text = path.read_text().replace("[model]", '[pedigree.plain]\nfile = "plain.csv"\n[model]')
    text = text.replace('A = { pedigree = "ped" }', 'A = { pedigree = "plain" }')
    for t in (1, 2):
        text = text.replace(f"u{t}(v(g({t})))", f"u{t}(v(g({t}))) + id(t(gg(ped)))*q{t}")
    other = tmp_path / "other.toml"
    other.write_text(text)
    expected = estimates(other, tmp_path / "other")
    np.testing.assert_allclose(g, expected[0], rtol=1e-4)
    np.testing.assert_allclose(res, expected[1], rtol=1e-4)
