"""What is wrong in the files is named: file, line, column, animal, and what would mend it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.errors import InputFileError
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.store.model_data import ModelData
from henderson.store.reader import open_store

MODEL = """
[data]
records = "r.csv"
{data}
[pedigree.ped]
file = "p.csv"
{switches}
[model]
equations = "y = {fixed} + id*u(v(g(1)))"
[variance.g]
sigma = [[1.0]]
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.res]
sigma = [[1.0]]
"""
PEDIGREE = "id,sire,dam\nA,0,0\nB,NA,\nC,A,B\n"


def made(folder: Path, records: str, pedigree: str = PEDIGREE, fixed: str = "s*b", **more: str) -> ModelData:
    (folder / "r.csv").write_text(records)
    (folder / "p.csv").write_text(pedigree)
    (folder / "m.toml").write_text(MODEL.format(fixed=fixed, **{"data": "", "switches": "", **more}))
    ingest(load_model(folder / "m.toml", read_schema), folder / "s", workers=1)
    return open_store(folder / "s")


def refused(folder: Path, *arguments: str, **more: str) -> list[str]:
    with pytest.raises(InputFileError) as caught:
        made(folder, *arguments, **more)
    assert sorted(p.name for p in folder.iterdir()) == ["m.toml", "p.csv", "r.csv"]
    return [str(p) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("records_header_only", ["records_header.csv"]),
        ("records_missing_file", ["nowhere.csv"]),
        ("records_ragged", ["records_ragged.csv", "line 5"]),
        ("records_same_name", ["records_twocolumns.csv", "sex"]),
        ("records_text", ["records_text.csv", "line 4", "milk", "n.d."]),
        ("records_trait_missing", ["records_nofat.csv", "fat"]),
        ("records_unknown_animal", ["records_unknown.csv", "line 5", "Zora"]),
        ("records_weight", ["records_weight.csv", "line 3", "w"]),
        ("records_zero_bytes", ["records_zero.csv"]),
        ("matrix_short", ["Jonas", "K_short.csv", "records.csv"]),
        ("pedigree_loop", ["ped_loop.csv", "loop", "Bruno", "Dora"]),
        ("pedigree_own_parent", ["ped_own.csv", "Hugo"]),
        ("pedigree_selfed", ["ped_selfed.csv", "Ida", "Dora"]),
        ("pedigree_twice", ["ped_twice.csv", "Greta", "line 8", "line 12"]),
        ("pedigree_two_columns", ["ped_columns.csv"]),
    ],
)
def test_published_mistakes(shared_data: Path, tmp_path: Path, case: str, words: list[str]) -> None:
    with pytest.raises(InputFileError) as caught:
        ingest(load_model(shared_data / "bad_input" / f"{case}.toml", read_schema), tmp_path / "s", workers=1)
    assert all(w in str(caught.value) for w in words), str(caught.value)


def test_lines_count_header_comments_and_blanks(tmp_path: Path) -> None:
    assert refused(tmp_path, "# made\nid,s,y\nA,1,1\n\n# more\nZ,1,1\nB,1,2\n")[0].startswith("r.csv, line 6: 'Z'")


def test_all_mistakes_of_all_columns_at_once(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        "id,s,x,y,w\nA,1,1,1,0\nB,,1,2,1\nC,1,,3,NA\nC,,,NA,-1\n",
        fixed="s*b + x(t(co))*c",
        data='weights = "w"',
    )
    assert [f.split(":")[0] for f in found] == ["r.csv, line 2", "r.csv, line 3", "r.csv, line 4", "r.csv, line 4"]
    for message, word in zip(
        found, ["weight 0", "'s', a class of 'y'", "'x', a covariate of 'y'", "weight missing"], strict=True
    ):
        assert word in message


def test_an_animal_is_named_once(tmp_path: Path) -> None:
    assert len(refused(tmp_path, "id,s,y\n" + "Z,1,1\n" * 50)) == 1


def test_records_without_responses_may_hold_anything(tmp_path: Path) -> None:
    records = made(tmp_path, "id,s,y\nA,1,1\nZ,,NA\nB,1,2\n").records
    assert records.row.tolist() == [0, 2]


def test_parents_that_are_not_listed(tmp_path: Path) -> None:
    pedigree = "id,sire,dam\nA,0,0\nC,A,X\nD,Y,X\n"
    found = refused(tmp_path, "id,s,y\nA,1,1\n", pedigree)
    places = [f.split(" is not")[0] for f in found]
    assert places == ["p.csv, line 3: dam 'X'", "p.csv, line 4: sire 'Y'", "p.csv: 3 parents of this kind in all"]
    assert "add_missing_parents" in found[0]


@pytest.mark.parametrize(
    ("pedigree", "expected"),
    [
        ("id,sire,dam\nA,0,0\nC,A,X\nD,Y,X\n", {"A": "0 0", "C": "A X", "D": "Y X", "X": "0 0", "Y": "0 0"}),
        ("1,0,0\n3,1,10\n4,08,10\n", {"1": "0 0", "3": "1 10", "4": "8 10", "10": "0 0", "8": "0 0"}),
    ],
)
def test_parents_are_added_in_the_order_of_the_file(tmp_path: Path, pedigree: str, expected: dict[str, str]) -> None:
    records = f"id,s,y\n{next(iter(expected))},1,1\n"
    ped = made(tmp_path, records, pedigree, switches="add_missing_parents = true").pedigrees["ped"]
    names = [*ped.labels.text(), "0"]
    assert ped.row is not None
    found = {names[k]: f"{names[ped.sire[k]]} {names[ped.dam[k]]}" for k in np.argsort(ped.row)}
    assert list(found.items()) == list(expected.items())


def test_integer_ids_compare_as_numbers(tmp_path: Path) -> None:
    data = made(tmp_path, "id,s,y\n007,01,1\n7,1,2\n0,10,3\n", "id,sire,dam\n7,0,\n8,07,0\n")
    ped = data.pedigrees["ped"]
    assert ped.labels.is_integer
    assert data.levels["s"].text() == ["1", "10"]
    index = data.records.related["id", "ped"]
    assert [ped.labels.text()[i] if i >= 0 else int(i) for i in index] == ["7", "7", -2]


def test_text_ids_compare_as_text(tmp_path: Path) -> None:
    data = made(tmp_path, "id,s,y\n007,01,1\n7,1,2\n7.0,x,3\n", "id,sire,dam\n7,0,\n007,7,0\n7.0,0,0\nA,0,0\n")
    assert data.levels["s"].text() == ["01", "1", "x"]
    assert sorted(data.pedigrees["ped"].labels.take(data.records.related["id", "ped"]).text()) == ["007", "7", "7.0"]


def test_padded_integers_are_other_animals_in_a_text_pedigree(tmp_path: Path) -> None:
    assert "'007'" in refused(tmp_path, "id,s,y\n007,1,1\n", "id,sire,dam\n7,0,0\nA,7,0\n")[0]


def test_text_among_records_is_not_in_an_integer_pedigree(tmp_path: Path) -> None:
    assert "'A7' in column 'id'" in refused(tmp_path, "id,s,y\n7,1,1\nA7,1,1\n", "id,sire,dam\n7,0,0\n")[0]


def test_animals_need_ids(tmp_path: Path) -> None:
    found = refused(tmp_path, "id,s,y\nA,1,1\n", "id,sire,dam\nA,0,0\n,0,0\n0,A,0\n")
    assert [f[:13] for f in found] == ["p.csv, line 3", "p.csv, line 4"]
