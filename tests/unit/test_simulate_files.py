"""The files of a simulation: the same bytes for any block size, whole or not at all, ids and columns as promised."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from henderson.errors import UsageError
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate

SMALL = SimulationConfig(animals=1500, traits=("milk", "fat"), cohorts=6, seed=7)
CASES = {
    "dairy": SMALL,
    "random": dataclasses.replace(SMALL, pedigree="random", ids="integer"),
    "everything": dataclasses.replace(SMALL, maternal=True, repeats=3, recorded="all", unknown=0.1),
    "in order": dataclasses.replace(SMALL, shuffle=False, format="parquet"),
    "parquet": dataclasses.replace(SMALL, format="parquet", ids="integer", records=200),
}
TABLES = ("pedigree", "records", "truth_animals", "truth_herds")


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("name", CASES)
def test_files_have_the_same_bytes_for_any_block_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("henderson.simulate.tables.ROW_GROUP", 400)
    found = []
    for block in (1, 37, 400, 1 << 18):
        if block == 1 and name != "everything":
            continue
        out = tmp_path / str(block)
        simulate(dataclasses.replace(CASES[name], block=block), out)
        files = contents(out)
        files.pop("truth.json")  # it tells the block size
        found.append(files)
    assert all(files == found[-1] for files in found)
    suffix = CASES[name].format
    assert set(found[-1]) == {"model.toml", *(f"{name}.{suffix}" for name in TABLES)}


def test_another_seed_gives_other_files(tmp_path: Path) -> None:
    for seed in (1, 2):
        simulate(dataclasses.replace(SMALL, seed=seed), tmp_path / str(seed))
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert [n for n in one if one[n] == two[n]] == []


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        simulate(dataclasses.replace(SMALL, format=suffix), tmp_path / suffix)
    for table in TABLES:
        a = pd.read_csv(tmp_path / "csv" / f"{table}.csv")
        b = pd.read_parquet(tmp_path / "parquet" / f"{table}.parquet")
        assert a.columns.tolist() == b.columns.tolist()
        for column in a:
            if b[column].dtype.kind in "if":
                np.testing.assert_allclose(a[column].to_numpy(float), b[column].to_numpy(float), rtol=1e-15)
            else:
                assert a[column].fillna("").tolist() == b[column].fillna("").tolist()


def test_ids_are_what_a_herd_book_writes(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "text")
    simulate(dataclasses.replace(SMALL, ids="integer"), tmp_path / "integer")
    text = pd.read_csv(tmp_path / "text" / "pedigree.csv", dtype=str, keep_default_na=False)
    integer = pd.read_csv(tmp_path / "integer" / "pedigree.csv")
    assert sorted(text["id"]) == [f"DE{i:010d}" for i in range(1, 1501)]
    for column in ("id", "sire", "dam"):
        assert text[column].tolist() == [f"DE{i:010d}" if i else "" for i in integer[column]]
    herds = pd.read_csv(tmp_path / "text" / "records.csv")["herd"]
    assert all(re.fullmatch(r"H00000[0-3]\d", h) for h in herds)


def test_ids_of_ten_digits_are_not_cut() -> None:
    from henderson.simulate.tables import Names

    index = np.array([-1, 0, 9_998, 9_999, 123_456_789, 2**31 - 3])
    expected = [None, "DE0000000001", "DE0000009999", "DE0000010000", "DE0123456790", "DE2147483646"]
    assert Names("DE", 10, "text").column(index).to_pylist() == expected


def test_shuffling_changes_the_order_of_the_pedigree_alone(tmp_path: Path) -> None:
    for shuffle in (True, False):
        simulate(dataclasses.replace(SMALL, shuffle=shuffle), tmp_path / str(shuffle))
    mixed, ordered = ((tmp_path / s / "pedigree.csv").read_text().splitlines() for s in ("True", "False"))
    assert mixed != ordered
    assert sorted(mixed) == sorted(ordered)
    assert ordered[1:] == sorted(ordered[1:])


def test_number_of_records_is_exact_and_females_alone_are_recorded(tmp_path: Path) -> None:
    simulate(dataclasses.replace(SMALL, records=777, repeats=2), tmp_path / "out")
    records = pd.read_csv(tmp_path / "out" / "records.csv")
    pedigree = pd.read_csv(tmp_path / "out" / "pedigree.csv")
    assert len(records) == 777
    assert records["id"].nunique() == 389
    assert records["id"].value_counts().max() == 2
    assert not set(records["id"]) & set(pedigree["sire"].dropna())
    assert "sex" not in records


def test_model_file_says_what_was_simulated(tmp_path: Path) -> None:
    config = CASES["everything"]
    simulate(config, tmp_path / "out")
    model = tomllib.loads((tmp_path / "out" / "model.toml").read_text())
    truth = json.loads((tmp_path / "out" / "truth.json").read_text())
    assert model["variance"]["g"]["sigma"] == truth["sigma_g"] == config.genetic().tolist()
    assert model["variance"]["pe"]["sigma"] == truth["sigma_p"] == config.permanent().tolist()
    assert model["variance"]["res"]["sigma"] == truth["sigma_e"] == config.residual().tolist()
    assert model["variance"]["g"]["gamma"] == {"A": {"pedigree": "ped"}}
    assert (tmp_path / "out" / model["data"]["records"]).is_file()
    assert (tmp_path / "out" / model["pedigree"]["ped"]["file"]).is_file()
    assert model["model"]["equations"].strip().splitlines() == [
        "milk = herd*h1 + sex*s1 + age(t(co))*a1 + id*u1(v(g(1))) + dam*m1(v(g(3))) + id*p1(v(pe(1)))",
        "fat = herd*h2 + sex*s2 + age(t(co))*a2 + id*u2(v(g(2))) + dam*m2(v(g(4))) + id*p2(v(pe(2)))",
    ]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(stage: str, done: int, total: int) -> None:
        if stage == "records":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SMALL, tmp_path / "out", fail)
    assert list(tmp_path.iterdir()) == []


def test_the_current_folder_is_filled_if_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    simulate(SimulationConfig(animals=50), Path("."))
    assert {path.name for path in tmp_path.iterdir()} >= {"model.toml", "pedigree.csv", "records.csv"}
    assert not (tmp_path / ".wip").exists()
    with pytest.raises(UsageError, match="not an empty folder"):
        simulate(SimulationConfig(animals=50), Path("."))


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".out.wip").mkdir()
    (tmp_path / ".out.wip" / "records.csv").write_text("half a li")
    simulate(SMALL, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert len((tmp_path / "out" / "records.csv").read_text().splitlines()) == 901


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not an empty folder"):
        simulate(SMALL, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_progress_reaches_the_end_of_every_stage(tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    simulate(SMALL, tmp_path / "out", lambda stage, done, total: last.update({stage: (done, total)}))
    assert list(last) == ["mating", "breeding values", "pedigree", "records", "truth_animals", "truth_herds"]
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize("animals", [1, 2, 5, 40])
@pytest.mark.parametrize("pedigree", ["dairy", "random"])
def test_tiny_pedigrees_work(animals: int, pedigree: str, tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=animals, pedigree=pedigree, records=1.0, recorded="all"), tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "pedigree.csv")) == animals


def test_more_records_than_animals_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1400 records need 1400 recorded animals, but the pedigree has 11"):
        simulate(dataclasses.replace(SMALL, records=1400), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_all_mistakes_of_a_configuration_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        SimulationConfig(
            animals=0,
            pedigree="circular",  # type: ignore[arg-type]
            herds=0,
            traits=("y", "herd", "2fast"),
            missing=(0.1, 0.2),
            sigma_g=((1.0, 2.0, 0.0), (2.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
            sigma_e=((1.0,),),
            seed=-1,
        )
    text = "\n".join(str(p) for p in caught.value.problems)
    for words in (
        "animals is 0",
        "'circular'; it must be one of dairy, random",
        "herds is 0",
        "trait 'herd'",
        "trait '2fast'",
        "missing has 2 values for 3 traits",
        "sigma_g is not positive definite (smallest eigenvalue -1)",
        "sigma_e must have 3 rows",
        "seed is -1",
    ):
        assert words in text
    assert len(caught.value.problems) == 9
