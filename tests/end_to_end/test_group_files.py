"""lmt's qfile in its three suffixes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import henderson
from oracles.pedigree_files import Kind, make_kind, make_records, write_model


def read(path: Path, kind: Kind) -> np.ndarray:
    place = {label: k for k, label in enumerate(kind.labels)}
    n = len(kind.labels)
    if path.suffix == ".coocsv":
        Q = np.zeros((n, 3))
        with path.open(newline="") as handle:
            for row in csv.DictReader(handle):
                Q[place[row["i"]], place[row["j"]]] = float(row["value"])
        return Q
    if path.suffix == ".bin":
        data = path.read_bytes()
        assert np.frombuffer(data[:16], "<i8").tolist() == [n, 3]
        return np.frombuffer(data[16:], "<f8").reshape(n, 3)
    lines = path.read_text().splitlines()
    assert lines[0] == f"#id,{n},1"
    assert lines[1 : n + 1] == kind.labels
    assert lines[n + 1 : n + 5] == ["#group,3,1", *kind.labels[:3]]
    assert lines[n + 5] == f"#q,{n},3"
    return np.array([[float(v) for v in line.split(",")] for line in lines[n + 6 :]])


@pytest.mark.parametrize("suffix", [".coocsv", ".blkcsv", ".bin"])
def test_fractions_of_groups_are_written_in_the_order_of_the_file(suffix: str, tmp_path: Path) -> None:
    kind = make_kind("fixed groups", 1)
    path = write_model(tmp_path, kind, make_records(kind, 1))
    path.write_text(path.read_text().replace("phantomparents = 3", f'phantomparents = 3\nqfile = "q{suffix}"'))
    result = henderson.solve(path, out=tmp_path / "out")
    assert kind.Q is not None
    np.testing.assert_array_equal(read(tmp_path / "out" / f"q{suffix}", kind), kind.Q)
    assert result.record["jobs"][0]["dropped"]


def test_a_pedigree_that_no_term_uses_has_its_fractions_written(tmp_path: Path) -> None:
    kind = make_kind("fixed groups", 2)
    path = write_model(tmp_path, kind, make_records(kind, 2))
    other = '[pedigree.other]\nfile = "ped.csv"\nphantomparents = 3\nqfile = "other.coocsv"\n[model]'
    path.write_text(path.read_text().replace("[model]", other))
    henderson.solve(path, out=tmp_path / "out")
    np.testing.assert_array_equal(read(tmp_path / "out" / "other.coocsv", kind), kind.Q)
