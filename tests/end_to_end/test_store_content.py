"""The content of the store: what the files say, whatever the blocks, the workers, the format, and the interruptions."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from henderson.errors import InputFileError, StoreError
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.store import schema
from henderson.store.model_data import UNKNOWN, ZERO
from henderson.store.reader import open_store, verify_store

MODEL = """
[data]
records = "{records}"
missing = -99
weights = "w"
[pedigree.ped]
file = "ped.csv"
[model]
equations = '''
y1 = herd*b1 + age(t(co))*c1 + id*u1(v(g(1))) + dam*m1(v(g(2))) + id*p1(v(pe(1)))
y2 = herd*b2 + sex*s2 + id*u2(v(g(3))) + pen*q(v(pen(1)))
'''
[variance.g]
sigma = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.pe]
sigma = [[1.0]]
[variance.pen]
sigma = [[1.0]]
[variance.res]
sigma = [[1.0, 0.0], [0.0, 1.0]]
"""
N_ANIMALS, N_RECORDS = 300, 1500


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.Generator(np.random.Philox(7))
    animal = np.where(rng.random(N_RECORDS) < 0.3, 5, rng.integers(0, N_ANIMALS, N_RECORDS))  # one has very many
    dam = rng.integers(0, N_ANIMALS, N_RECORDS)
    frame = pd.DataFrame(
        {
            "id": [f"DE{a:05d}" for a in animal],
            "dam": [f"DE{a:05d}" for a in dam],
            "herd": rng.integers(8, 30, N_RECORDS).astype(str),
            "sex": rng.choice(["F", "M"], N_RECORDS),
            "pen": rng.choice(["a", "é", "", "NA", "0"], N_RECORDS),
            "age": rng.integers(20, 40, N_RECORDS),
            "y1": np.round(rng.normal(10, 2, N_RECORDS), 3).astype(str),
            "y2": np.round(rng.normal(10, 2, N_RECORDS), 3).astype(str),
            "w": rng.integers(1, 4, N_RECORDS),
        }
    )
    frame.loc[rng.random(N_RECORDS) < 0.3, "y1"] = "NA"
    frame.loc[rng.random(N_RECORDS) < 0.3, "y2"] = "-99"
    frame.loc[::17, "dam"] = "0"
    frame.loc[::19, "dam"] = "NA"
    frame.loc[::23, "id"] = ""
    frame.loc[::29, "id"] = "0"
    return frame


@pytest.fixture(scope="module")
def folder(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    frame.to_csv(folder / "records.csv", index=False)
    for k in range(3):
        frame[500 * k : 500 * k + 500].to_csv(folder / f"piece{k}.csv", index=False)
    table = pa.Table.from_pandas(frame.assign(y1=numbers(frame.y1), y2=numbers(frame.y2)), preserve_index=False)
    pq.write_table(table, folder / "records.parquet", row_group_size=400)
    with (folder / "ped.csv").open("w") as out:
        out.write("id,sire,dam\n")
        for a in reversed(range(N_ANIMALS)):
            sire = f"DE{a // 3 // 2 * 2:05d}" if a > 20 else "0"
            dam = f"DE{a // 3 // 2 * 2 + 1:05d}" if a > 20 else ""
            out.write(f"DE{a:05d},{sire},{dam}\n")
    for stem in ("records.csv", "piece?.csv", "records.parquet"):
        (folder / f"{Path(stem).stem.strip('?')}_{Path(stem).suffix[1:]}.toml").write_text(MODEL.format(records=stem))
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 128 records, so that a small file has many, and some animals have more records than one holds."""
    for name, value in (("CHUNK_ROWS", 32), ("SHARD_ROWS", 128), ("MIN_ROWS", 32)):
        monkeypatch.setattr(schema, name, value)


def numbers(column: pd.Series[str]) -> pd.Series[float]:
    return pd.to_numeric(column.replace({"NA": None}))


def make(folder: Path, store: Path, model: str = "records_csv", **options: int) -> Path:
    ingest(load_model(folder / f"{model}.toml", read_schema), store, **options)
    return store


def files(store: Path) -> dict[str, bytes]:
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def arrays(store: Path) -> dict[str, bytes]:
    """Return the data files alone: the attributes of the root name the inputs."""
    return {k: v for k, v in files(store).items() if k != "zarr.json"}


@pytest.mark.usefixtures("small_shards")
def test_records_say_what_the_file_says(frame: pd.DataFrame, folder: Path, tmp_path: Path) -> None:
    data = open_store(make(folder, tmp_path / "s", workers=2, block_bytes=3000), verify=True)
    records, pedigree = data.records, data.pedigrees["ped"]
    y1 = numbers(frame.y1)
    y2 = numbers(frame.y2).where(frame.y2 != "-99")
    kept = np.flatnonzero(y1.notna() | y2.notna())
    assert sorted(records.row) == kept.tolist()
    expected = frame.iloc[records.row]
    np.testing.assert_array_equal(records.responses["y1"], y1[records.row])
    np.testing.assert_array_equal(records.responses["y2"], y2[records.row])
    np.testing.assert_array_equal(records.covariates["age"], expected.age)
    np.testing.assert_array_equal(records.weights, expected.w)
    labels = np.array([*pedigree.labels.text(), "0", ""])  # ZERO and UNKNOWN count from the end
    for column in ("id", "dam"):
        np.testing.assert_array_equal(labels[records.related[column, "ped"]], expected[column].replace("NA", ""))
    assert (UNKNOWN, ZERO) == (-1, -2)
    for column in ("herd", "sex", "pen"):
        levels = data.levels[column].text()
        assert levels == sorted(levels, key=int if column == "herd" else None)
        shown = np.array([*levels, ""])[records.classes[column]]
        np.testing.assert_array_equal(shown, expected[column].replace("NA", ""))
    home = np.where(records.related["id", "ped"] < 0, N_ANIMALS, records.related["id", "ped"])
    np.testing.assert_array_equal(np.lexsort((records.row, home)), np.arange(len(records)))


def test_pedigree_is_that_of_the_file(folder: Path, tmp_path: Path) -> None:
    pedigree = open_store(make(folder, tmp_path / "s")).pedigrees["ped"]
    names = np.array([*pedigree.labels.text(), "0"])
    found = dict(zip(names, zip(names[pedigree.sire], names[pedigree.dam], strict=True), strict=False))
    file = pd.read_csv(folder / "ped.csv", dtype=str).fillna("0")
    assert found == {r.id: (r.sire, r.dam) for r in file.itertuples()}
    assert pedigree.row is not None
    np.testing.assert_array_equal(file.id.to_numpy()[pedigree.row], names[:-1])
    known = pedigree.sire >= 0
    assert np.all(pedigree.generation[known] > pedigree.generation[pedigree.sire[known]])


@pytest.mark.usefixtures("small_shards")
def test_same_store_for_any_workers_and_blocks(folder: Path, tmp_path: Path) -> None:
    first = files(make(folder, tmp_path / "a", workers=1, block_bytes=1 << 20))
    for k, (workers, block_bytes) in enumerate([(2, 5000), (4, 777), (3, 20_000)]):
        assert files(make(folder, tmp_path / f"b{k}", workers=workers, block_bytes=block_bytes)) == first


def test_same_records_from_pieces_and_from_parquet(folder: Path, tmp_path: Path) -> None:
    first = arrays(make(folder, tmp_path / "a"))
    assert arrays(make(folder, tmp_path / "b", "piece_csv")) == first
    assert arrays(make(folder, tmp_path / "c", "records_parquet")) == first


def test_a_complete_store_is_left_alone_until_its_inputs_change(folder: Path, tmp_path: Path) -> None:
    store = make(folder, tmp_path / "s")
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*")}
    make(folder, store)
    assert {p: p.stat().st_mtime_ns for p in store.rglob("*")} == before
    assert not (tmp_path / "s.wip").exists()
    make(folder, store, "piece_csv")
    assert files(store) == files(make(folder, tmp_path / "t", "piece_csv"))


def test_xarray_opens_every_group(folder: Path, tmp_path: Path) -> None:
    store = make(folder, tmp_path / "s.zarr")
    groups = ["records", "pedigree/ped", "levels/herd", "levels/sex", "levels/pen"]
    assert len(xr.open_zarr(store)) == 0
    dims = {g: set(xr.open_zarr(store, group=g).dims) for g in groups}
    assert dims["records"] == {"record", "age_value"}
    assert dims["pedigree/ped"] == {"animal", "id_byte"}
    records = xr.open_zarr(store, group="records")
    data = open_store(store).records
    age = records["table.age"].values[records["code.age"].values]
    np.testing.assert_array_equal(age, data.covariates["age"])
    patterns = xr.open_zarr(store).attrs["layout"]["patterns"]
    has_y1 = np.array([p[0] == "1" for p in patterns])[records["pattern"].values]
    y1 = np.where(has_y1, records["value.0"].values, np.nan)
    np.testing.assert_array_equal(y1, data.responses["y1"])
    assert records["code.age"].attrs == {"role": "code", "column": "age"}


INGEST = """
import os
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.store import schema
for name, value in shards.items():
    setattr(schema, name, value)
seen = open(log, "a", buffering=1)
def told(stage, done, total):
    seen.write(f"{stage} {done}\\n")
    if stage == last:
        os._exit(9)
ingest(load_model(model, read_schema), store, workers=2, block_bytes=4000, progress=told)
"""


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have the libraries already when they start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["henderson.ingest.stages", "henderson.language.load", "pyarrow.csv"])
    return context


def ingest_apart(processes: ForkServerContext, small: bool, **names: object) -> BaseProcess:
    """Start an ingest in a process of its own, which ends itself when it comes to the stage `last`."""
    shards = {"CHUNK_ROWS": 32, "SHARD_ROWS": 128, "MIN_ROWS": 32} if small else {}
    process = processes.Process(target=exec, args=(INGEST, {"shards": shards, "last": None, **names}))
    process.start()
    return process


@pytest.mark.usefixtures("small_shards")
def test_killed_at_random_moments_it_goes_on_to_the_same_store(
    folder: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    expected = files(make(folder, tmp_path / "whole", workers=1))
    store, log = tmp_path / "s", tmp_path / "log"
    names = {"store": store, "log": log, "model": folder / "records_csv.toml"}
    seed = time.time_ns() % 2**32
    rng = np.random.Generator(np.random.Philox(seed))
    kills = 0
    for _ in range(12):
        log.write_text("")
        process = ingest_apart(processes, True, **names)
        steps = int(rng.integers(1, 25))  # kill after so many steps of progress, and a little
        while process.is_alive() and log.read_text().count("\n") < steps:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.05)
        kills += process.is_alive()
        process.kill()
        process.join()
        if store.exists():  # never half a store; begin again
            verify_store(store)
            assert files(store) == expected, f"seed {seed}"
            shutil.rmtree(store)
            shutil.rmtree(tmp_path / "s.wip", ignore_errors=True)
        else:
            with pytest.raises(StoreError, match=r"finished|no store"):
                open_store(store)
    process = ingest_apart(processes, True, **names)
    process.join()
    assert process.exitcode == 0
    assert kills >= 3
    assert files(store) == expected, f"seed {seed}"
    assert not (tmp_path / "s.wip").exists()


def test_parts_that_lost_their_bytes_are_made_again(folder: Path, tmp_path: Path, processes: ForkServerContext) -> None:
    expected = files(make(folder, tmp_path / "whole"))
    store = tmp_path / "s"
    model = folder / "records_csv.toml"
    process = ingest_apart(processes, False, store=store, log=tmp_path / "log", model=model, last="order")
    process.join()
    assert process.exitcode == 9
    parts = sorted((tmp_path / "s.wip" / "records").iterdir())
    assert len(parts) > 3
    os.truncate(parts[0], 1000)
    raw = bytearray(parts[1].read_bytes())
    raw[-100] ^= 1
    parts[1].write_bytes(raw)
    parts[2].write_bytes(b"")
    assert files(make(folder, store)) == expected


def test_damage_is_found(folder: Path, tmp_path: Path) -> None:
    store = make(folder, tmp_path / "s")
    assert verify_store(store) == len(files(store))
    shard = store / "records" / "row" / "c" / "0"
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 0x55
    shard.write_bytes(raw)
    (store / "pedigree" / "ped" / "sire" / "c" / "0").unlink()
    (store / "stray").write_text("")
    with pytest.raises(StoreError) as caught:
        open_store(store, verify=True)
    text = str(caught.value)
    assert all(w in text for w in ("records/row/c/0: damaged", "sire/c/0: a file of the store is missing", "stray"))
    assert caught.value.exit_code == 4


def test_no_damage_of_an_array_is_read_as_data(folder: Path, tmp_path: Path) -> None:
    store = make(folder, tmp_path / "s")
    shard = store / "pedigree" / "ped" / "mendelian_variance" / "c" / "0"
    whole = shard.read_bytes()
    rng = np.random.default_rng(1)
    expected = open_store(store).pedigrees["ped"].mendelian_variance
    found = 0
    for at in rng.choice(len(whole), 40, replace=False):
        raw = bytearray(whole)
        raw[at] ^= 1 << int(rng.integers(8))
        shard.write_bytes(raw)
        try:
            np.testing.assert_array_equal(open_store(store).pedigrees["ped"].mendelian_variance, expected)
        except StoreError:
            found += 1
    assert found > 20
    shard.unlink()
    with pytest.raises(StoreError, match="c/0: a file of the store is missing"):
        open_store(store)


def test_what_is_no_store_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="not a readable store"):
        open_store(folder)
    store = make(folder, tmp_path / "s")
    root = store / "zarr.json"
    root.write_text(root.read_text().replace('"format_version": 2', '"format_version": 99'))
    with pytest.raises(StoreError, match="format version 99"):
        open_store(store)


def test_two_processes_do_not_make_one_store(folder: Path, tmp_path: Path) -> None:
    import fcntl

    wip = tmp_path / "s.wip"
    wip.mkdir()
    with (wip / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process"):
            make(folder, tmp_path / "s")
    make(folder, tmp_path / "s")


def test_values_below_the_missing_value_are_counted(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "r.csv").write_text("y,x\n1,a\n-99,b\n-100.5,b\n2,c\n")
    (tmp_path / "m.toml").write_text(
        '[data]\nrecords = "r.csv"\nmissing = -99\n[model]\nequations = "y = x*b"\n[variance.res]\nsigma = [[1.0]]\n'
    )
    data = open_store(make(tmp_path, tmp_path / "s", "m"))
    assert data.records.row.tolist() == [0, 3]
    assert data.levels["x"].text() == ["a", "c"]
    assert "1 values of y lie below the missing value -99" in caplog.text


def test_no_record_is_left_when_a_trait_is_missing(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("y,x\nNA,a\n,b\n")
    (tmp_path / "m.toml").write_text(
        '[data]\nrecords = "r.csv"\n[model]\nequations = "y = x*b"\n[variance.res]\nsigma = [[1.0]]\n'
    )
    with pytest.raises(InputFileError, match=r"r\.csv: trait 'y' has no observation"):
        make(tmp_path, tmp_path / "s", "m")
