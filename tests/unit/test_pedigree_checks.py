"""Mistakes in the parents: which are found, and what their messages say."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.errors import InputFileError
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.build import check_pedigree
from henderson.store.model_data import Labels, Pedigree

Rows = list[tuple[str, str, str]]


def build(rows: Rows, **options: object) -> Pedigree:
    """Return the pedigree of (id, sire, dam) rows, "0" unknown; ids start on line 2."""
    ids = [r[0] for r in rows]
    row = {name: i for i, name in enumerate(ids)} | {"0": -1}
    sire, dam = (np.array([row[r[k]] for r in rows], dtype=np.int32) for k in (1, 2))
    spec = PedigreeSpec(name="ped", file="ped.csv", **options)  # type: ignore[arg-type]
    line = np.arange(2, len(rows) + 2)
    return check_pedigree("ped", Labels.from_text(ids), sire, dam, spec=spec, file="ped.csv", line=line)


def mistakes(rows: Rows, **options: object) -> list[str]:
    with pytest.raises(InputFileError) as caught:
        build(rows, **options)
    assert all(p.file == "ped.csv" for p in caught.value.problems)
    return [str(p) for p in caught.value.problems]


def test_a_sound_pedigree() -> None:
    pedigree = build([("d", "a", "b"), ("a", "0", "0"), ("b", "0", "0"), ("e", "a", "d")])
    assert pedigree.generation.tolist() == [1, 0, 0, 2]
    assert pedigree.inbreeding.tolist() == [0, 0, 0, 0.25]
    assert pedigree.mendelian_variance.tolist() == [0.5, 1, 1, 0.5]


def test_without_inbreeding_henderson_s_first_rules() -> None:
    rows = [("a", "0", "0"), ("b", "0", "0"), ("d", "a", "b"), ("e", "a", "d"), ("f", "e", "d"), ("g", "f", "0")]
    assert build(rows).mendelian_variance.tolist() == [1, 1, 0.5, 0.5, 0.4375, 0.75 - 0.375 / 4]
    pedigree = build(rows, inbreeding=False)
    assert pedigree.inbreeding.tolist() == [0] * 6
    assert pedigree.mendelian_variance.tolist() == [1, 1, 0.5, 0.5, 0.5, 0.75]


def test_empty() -> None:
    assert len(build([])) == 0


def test_own_parent() -> None:
    (text,) = mistakes([("a", "0", "0"), ("b", "a", "b")])
    assert "line 3" in text
    assert "b is its own dam" in text


def test_sire_and_dam_the_same_animal() -> None:
    rows = [("a", "0", "0"), ("b", "a", "a"), ("c", "b", "b")]
    first, second = mistakes(rows)
    assert "line 3: animal b has a as both sire and dam" in first
    assert "line 4" in second
    assert "selfing = true" in second
    assert build(rows, selfing=True).inbreeding.tolist() == [0, 0.5, 0.75]


def test_an_animal_of_both_sexes_is_named_with_a_line_of_each_use() -> None:
    rows = [("a", "0", "0"), ("b", "0", "0"), ("c", "a", "b"), ("d", "b", "0"), ("e", "b", "a")]
    first, second = mistakes(rows)
    assert "sex conflict: a is the sire of c (line 4) and the dam of e (line 6)" in first
    assert "sex conflict: b is the sire of d (line 5) and the dam of c (line 4)" in second
    assert len(build(rows, selfing=True)) == 5


def test_phantom_parents_have_no_sex() -> None:
    rows = [("g1", "0", "0"), ("g2", "0", "0"), ("a", "g1", "g1"), ("b", "g2", "g1"), ("c", "a", "b"), ("d", "b", "a")]
    texts = mistakes(rows, phantomparents=2)
    assert [t.split(": ")[2].split()[0] for t in texts] == ["a", "b"]


def test_the_cycle_of_a_loop_is_printed() -> None:
    (text,) = mistakes([("x", "0", "0"), ("Bruno", "x", "Dora"), ("Dora", "Bruno", "0"), ("y", "Bruno", "Dora")])
    assert "ped.csv, line 3: loop in the pedigree: Bruno -> Dora -> Bruno," in text


def test_one_cycle_for_each_knot() -> None:
    # a -> b -> c -> a and a -> b -> c -> f -> a are one knot, d -> e -> d another below it
    rows = [("a", "b", "0"), ("b", "c", "0"), ("c", "a", "f"), ("f", "a", "0"), ("d", "e", "f"), ("e", "d", "0")]
    first, second = mistakes(rows)
    assert "loop in the pedigree: a -> b -> c -> a," in first
    assert "loop in the pedigree: d -> e -> d," in second


def test_a_long_cycle_is_cut() -> None:
    names = [f"a{i}" for i in range(50)]
    (text,) = mistakes([(name, names[(i + 1) % 50], "0") for i, name in enumerate(names)])
    assert "a0 -> a1 -> " in text
    assert "-> a19 -> (30 more) -> a0," in text


def test_every_kind_at_once_and_the_rest_counted() -> None:
    rows = [("a", "0", "0"), ("b", "c", "0"), ("c", "b", "0"), *((f"x{i}", f"x{i}", "0") for i in range(15))]
    texts = mistakes([*rows, ("y", "a", "a")])
    assert sum("is its own sire" in t for t in texts) == 10
    assert "ped.csv: 5 more animals are their own parents" in texts
    assert sum("as both sire and dam" in t for t in texts) == 1
    assert sum("loop in the pedigree: b -> c -> b," in t for t in texts) == 1
