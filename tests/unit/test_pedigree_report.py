"""Summary of a pedigree and the files of its report."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from henderson.language.spec import PedigreeSpec
from henderson.pedigree.build import check_pedigree
from henderson.pedigree.report import PedigreeSummary, print_summary, summarise, write_report
from henderson.store.model_data import Labels, Pedigree

#                        e  a   b   c  d  f   g
SIRE = np.array([1, -1, -1, 1, 1, 3, 3], dtype=np.int32)
DAM = np.array([4, -1, -1, 2, 2, 4, -1], dtype=np.int32)
NAMES = ["e", "a", "b", "Übung", "d", "x,y", "g"]


def pedigree_of(labels: Labels) -> Pedigree:
    spec = PedigreeSpec("herdbook", "p.csv")
    n = len(labels)
    return check_pedigree("herdbook", labels, SIRE[:n], DAM[:n], spec=spec, file="p.csv", line=np.arange(n))


@pytest.fixture
def summary() -> PedigreeSummary:
    return summarise(pedigree_of(Labels.from_text(NAMES)))


def test_summary(summary: PedigreeSummary) -> None:
    assert (summary.animals, summary.founders, summary.one_parent_unknown) == (7, 2, 1)
    assert (summary.sires, summary.dams, summary.without_progeny) == (2, 2, 3)
    assert (summary.generations, summary.longest_path) == (3, 2)
    assert (summary.inbred, summary.max_inbreeding, summary.mean_inbreeding_of_inbred) == (2, 0.25, 0.25)
    assert summary.mean_inbreeding == pytest.approx(0.5 / 7)
    assert summary.most_inbred == "e"
    by_generation = [(g.animals, g.inbred, g.maximum) for g in summary.inbreeding_by_generation]
    assert by_generation == [(2, 0, 0), (2, 0, 0), (3, 2, 0.25)]
    assert summary.progeny_per_sire.classes == ((1, 1, 0), (2, 2, 1), (3, 4, 1))
    assert summary.progeny_per_dam.mean == 2
    assert (summary.full_sibs.families, summary.full_sibs.maximum, summary.full_sibs.median) == (3, 2, 1)


def test_files(tmp_path: Path) -> None:
    pedigree = pedigree_of(Labels.from_text(NAMES))
    summary = write_report(pedigree, tmp_path / "out")
    out = tmp_path / "out"
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(asdict(summary)))
    assert (out / "inbreeding.png").read_bytes().startswith(b"\x89PNG")

    sorted_rows = pd.read_csv(out / "pedigree_sorted.csv", dtype=str)
    assert sorted_rows.columns.tolist() == ["id", "sire", "dam"]
    known = {"0"}
    for animal, sire, dam in sorted_rows.itertuples(index=False):
        assert {sire, dam} <= known
        known.add(animal)
    assert {tuple(r) for r in sorted_rows.itertuples(index=False)} == {
        (NAMES[i], *(NAMES[p] if p >= 0 else "0" for p in (SIRE[i], DAM[i]))) for i in range(7)
    }

    cross = pd.read_csv(out / "pedigree_crossref.csv")
    assert cross["index"].tolist() == list(range(1, 8))
    assert cross["id"].tolist() == sorted_rows["id"].tolist()
    ids = np.append(cross["id"].to_numpy(), "0")
    assert ids[cross["sire_index"] - 1].tolist() == sorted_rows["sire"].tolist()
    assert ids[cross["dam_index"] - 1].tolist() == sorted_rows["dam"].tolist()
    row = cross["id"].map(NAMES.index)
    assert cross["mendelian_variance"].tolist() == pedigree.mendelian_variance[row].tolist()

    F = pd.read_csv(out / "inbreeding.csv")
    assert F["id"].tolist() == NAMES
    assert F["inbreeding"].tolist() == pedigree.inbreeding.tolist()


def test_integer_ids_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("henderson.pedigree.tables.BLOCK", 3)
    write_report(pedigree_of(Labels(np.array([50, 10, 20, 30, 40, 60, 70]))), tmp_path)
    lines = (tmp_path / "pedigree_sorted.csv").read_text().splitlines()
    assert lines == ["id,sire,dam", "10,0,0", "20,0,0", "30,10,20", "40,10,20", "50,10,40", "60,30,40", "70,30,0"]


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_tell(tmp_path: Path, n: int) -> None:
    labels = Labels(np.arange(1, n + 1))
    none = np.full(n, -1, dtype=np.int32)
    spec = PedigreeSpec("p", "p.csv")
    pedigree = check_pedigree("p", labels, none, none, spec=spec, file="p.csv", line=np.arange(n))
    summary = write_report(pedigree, tmp_path)
    assert (summary.animals, summary.founders, summary.generations, summary.inbred) == (n, n, n, 0)
    assert len((tmp_path / "inbreeding.csv").read_text().splitlines()) == n + 1


def test_printed_tables(summary: PedigreeSummary) -> None:
    text = StringIO()
    print_summary(summary, Console(file=text, width=100))
    for expected in ("herdbook", "founders", "0.250000 (e)", "Inbreeding by generation", "progeny per sire", "3-4"):
        assert expected in text.getvalue()
