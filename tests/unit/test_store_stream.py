"""Records streamed from a store are those that are read whole, whatever the chunks, in bounded memory."""

from __future__ import annotations

import collections
import shutil
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from henderson.errors import StoreError
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.store import schema
from henderson.store.reader import open_store
from henderson.store.stream import Column, RecordReader
from oracles.random_files import Written


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("testday")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CHUNK_ROWS", 64), ("SHARD_ROWS", 512), ("MIN_ROWS", 32)):
            patch.setattr(schema, name, value)
        simulate_testday(TestDayConfig(scale=0.0001), folder / "data")
        ingest(load_model(folder / "data" / "model.toml", read_schema), folder / "s.zarr")
    return folder / "s.zarr"


def joined(
    reader: RecordReader, columns: tuple[Column, ...], **options: object
) -> tuple[dict[Column, np.ndarray], list[int]]:
    """Return the columns put together again, and the edges of the chunks."""
    parts: dict[Column, list[np.ndarray]] = {c: [] for c in columns}
    edges: list[int] = []
    for chunk in reader.stream(columns, **options):  # type: ignore[arg-type]
        assert not edges or edges[-1] == chunk.start
        edges += [chunk.start, chunk.stop] if not edges else [chunk.stop]
        for c in columns:
            assert len(chunk[c]) == len(chunk) > 0
            parts[c].append(chunk[c].copy())
    return {c: np.concatenate(p) for c, p in parts.items()}, edges


def assert_whole(store: Path, found: dict[Column, np.ndarray], rows: slice) -> None:
    records = open_store(store).records
    expected: dict[Column, np.ndarray] = {("row",): records.row}
    expected |= {("response", t): v for t, v in records.responses.items()}
    expected |= {("covariate", c): v for c, v in records.covariates.items()}
    expected |= {("class", c): v for c, v in records.classes.items()}
    expected |= {("related", *pair): v for pair, v in records.related.items()}
    assert expected.keys() <= found.keys()
    for column, values in expected.items():
        assert found[column].dtype == values.dtype
        np.testing.assert_array_equal(found[column], values[rows])


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, slice(None)),
        ({"chunk": 64, "threads": 3, "ahead": 0}, slice(None)),
        ({"chunk": 100, "whole": True}, slice(None)),
        ({"chunk": 64, "whole": True, "start": 130, "stop": 1234, "ahead": 5}, slice(130, 1234)),
        ({"start": 64, "stop": 65}, slice(64, 65)),
    ],
)
def test_chunks_together_are_the_columns(store: Path, options: dict[str, int], rows: slice) -> None:
    reader = RecordReader(store)
    found, edges = joined(reader, reader.available(), **options)
    assert_whole(store, found, rows)
    if options.get("chunk"):
        assert max(np.diff(edges)) <= 128 + 33 * options.get("whole", 0)  # an animal has 33 test days at most


@pytest.mark.parametrize("rows", [100, 700])
def test_blocks_leave_no_trace(store: Path, rows: int, tmp_path: Path) -> None:
    data = store.parent / "data"
    for name in ("model.toml", "pedigree.parquet"):
        shutil.copy(data / name, tmp_path)
    pq.write_table(pq.read_table(data / "records.parquet"), tmp_path / "records.parquet", row_group_size=rows)
    ingest(load_model(tmp_path / "model.toml", read_schema), tmp_path / "s.zarr", workers=1 + rows // 300)
    first, second = RecordReader(store), RecordReader(tmp_path / "s.zarr")
    assert first.available() == second.available()
    assert first.layout == second.layout
    for column in first.available():
        np.testing.assert_array_equal(first.read(column), second.read(column))


def test_whole_individuals_are_not_cut(store: Path) -> None:
    reader = RecordReader(store)
    assert reader.home == ("related", "id", "ped")
    home = reader.read(reader.home)
    for individual in (0, 1, int(home[900]), int(home[-1]), int(home[-1]) + 1, 1 << 30):
        assert reader.first_record(individual) == np.searchsorted(home, individual)
    _, edges = joined(reader, (reader.home,), chunk=64, whole=True)
    inner = np.array(edges[1:-1])
    assert len(inner) > 10
    assert (home[inner] != home[inner - 1]).all()
    _, cut = joined(reader, (reader.home,), chunk=64)
    assert (home[np.array(cut[1:-1])] == home[np.array(cut[1:-1]) - 1]).any()


def test_individuals_larger_than_chunks_and_records_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("CHUNK_ROWS", 32), ("SHARD_ROWS", 64), ("MIN_ROWS", 32)):
        monkeypatch.setattr(schema, name, value)
    ids = ["a"] * 150 + ["b"] * 3 + ["c"] * 70 + [""] * 90
    (tmp_path / "r.csv").write_text("id,y\n" + "".join(f"{i},{k}\n" for k, i in enumerate(ids)))
    (tmp_path / "p.csv").write_text("id,sire,dam\na,0,0\nb,0,0\nc,0,0\n")
    (tmp_path / "m.toml").write_text(
        '[data]\nrecords = "r.csv"\n[pedigree.ped]\nfile = "p.csv"\n[model]\nequations = "y = 1*m + id*u(v(g(1)))"\n'
        '[variance.g]\nsigma = [[1.0]]\ngamma = { A = { pedigree = "ped" } }\n[variance.res]\nsigma = [[1.0]]\n'
    )
    ingest(load_model(tmp_path / "m.toml", read_schema), tmp_path / "s.zarr")
    reader = RecordReader(tmp_path / "s.zarr")
    found, edges = joined(reader, reader.available(), chunk=32, whole=True)
    assert_whole(tmp_path / "s.zarr", found, slice(None))
    assert edges == [0, 153, 224, 256, 288, 313]  # records of nobody, from 223, are cut anywhere
    assert [reader.first_record(k) for k in (0, 1, 2, 3, 9)] == [0, 150, 153, 223, 223]


@pytest.mark.parametrize("seed", [1, 6, 9])
def test_any_model_can_be_streamed(seed: int, tmp_path: Path) -> None:
    ingest(load_model(Written(seed, tmp_path).toml, read_schema), tmp_path / "s.zarr")
    reader = RecordReader(tmp_path / "s.zarr")
    found, _ = joined(reader, reader.available(), whole=True)
    assert_whole(tmp_path / "s.zarr", found, slice(None))


def test_a_stream_that_is_closed_stops_its_threads(store: Path) -> None:
    before = threading.active_count()
    stream = RecordReader(store).stream([("row",)], chunk=64, threads=2)
    next(stream)
    assert threading.active_count() > before
    stream.close()
    assert threading.active_count() == before


def test_memory_is_that_of_a_few_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "CHUNK_ROWS", 1 << 12)
    monkeypatch.setattr(schema, "SHARD_ROWS", 1 << 14)
    simulate_testday(TestDayConfig(scale=0.001), tmp_path / "data")
    ingest(load_model(tmp_path / "data" / "model.toml", read_schema), tmp_path / "s.zarr")
    reader = RecordReader(tmp_path / "s.zarr")
    columns = reader.available()
    row = sum(reader.dtype(c).itemsize for c in columns)
    for ahead in (0, 2):
        collections.deque(reader.stream(columns, chunk=1 << 12, whole=True, ahead=ahead), 0)
        tracemalloc.start()
        collections.deque(reader.stream(columns, chunk=1 << 12, whole=True, ahead=ahead), 0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        buffers = (ahead + 2) * (2 << 12) * row  # half of each is the margin before a chunk of so few rows
        assert buffers / 2 < peak < 1.25 * buffers + (1 << 18)
        assert peak < reader.n_records * row / 2


def test_damage_is_met_where_it_is(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "s.zarr"
    shutil.copytree(store, copy)
    reader = RecordReader(copy)
    file = copy / "records" / "row" / "c" / "1"
    data = bytearray(file.read_bytes())
    data[20] ^= 0xFF
    file.write_bytes(bytes(data))
    chunks = reader.stream([("row",)], chunk=64, ahead=1)
    assert [next(chunks).stop for _ in range(8)][-1] == 512
    with pytest.raises(StoreError, match=r"cannot be read.*checksum"):
        next(chunks)
    data[-1] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="index of shard 1"):
        RecordReader(copy).read(("row",))
    file.unlink()
    with pytest.raises(StoreError, match="missing"):
        RecordReader(copy)
