"""Inbreeding of real pedigrees; the answers came from the algorithm of Meuwissen & Luo (1992)."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from henderson.language.spec import PedigreeSpec
from henderson.pedigree.build import check_pedigree
from henderson.store.model_data import Labels, Pedigree

CASES = ["shrimp_deep", "shrimp_big", "quebec_genea140", "minnbreast"]


def rows_of(path: Path) -> list[list[str]]:
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8", newline="") as file:
        return [row for row in csv.reader(file) if row][1:]


def read(path: Path) -> tuple[Pedigree, list[str]]:
    """Return the pedigree with missing parents added as founders, and its ids."""
    rows = rows_of(path)
    ids = [row[0] for row in rows]
    index = {name: i for i, name in enumerate(ids)}
    for name in (parent for row in rows for parent in row[1:3]):
        if name != "0" and name not in index:
            index[name] = len(ids)
            ids.append(name)
    n = len(ids)
    sire, dam = np.full((2, n), -1, dtype=np.int32)
    sire[: len(rows)] = [index.get(row[1], -1) for row in rows]
    dam[: len(rows)] = [index.get(row[2], -1) for row in rows]
    line = np.where(np.arange(n) < len(rows), np.arange(n) + 2, -1)
    integer = all(name.isdigit() for name in ids)
    labels = Labels(np.array(ids, dtype=np.int64)) if integer else Labels.from_text(ids)
    spec = PedigreeSpec("ped", path.name, add_missing_parents=True)
    return check_pedigree("ped", labels, sire, dam, spec=spec, file=path.name, line=line), ids


@pytest.mark.parametrize("case", CASES)
def test_inbreeding(shared_data: Path, case: str) -> None:
    folder = shared_data / "pedigrees"
    answer = json.loads((folder / "answers.json").read_text())[case]
    pedigree, ids = read(folder / answer["file"])
    F = pedigree.inbreeding
    assert len(pedigree) == answer["animals"]
    assert np.sum((pedigree.sire < 0) & (pedigree.dam < 0)) == answer["founders"]
    assert np.sum(F > 0) == answer["inbred"]
    np.testing.assert_allclose(F.sum(), answer["sum_F"], rtol=1e-12)
    np.testing.assert_allclose(F.mean(), answer["mean_F"], rtol=1e-12)
    np.testing.assert_allclose(F.max(), answer["max_F"], rtol=1e-12)

    index = {name: i for i, name in enumerate(ids)}
    published = rows_of(folder / answer["inbreeding"])
    assert len(published) == answer["inbred"]
    expected = np.zeros(len(ids))
    expected[[index[row[0]] for row in published]] = [float(row[1]) for row in published]
    np.testing.assert_allclose(F, expected, rtol=1e-9, atol=1e-12)  # to the printed digits
