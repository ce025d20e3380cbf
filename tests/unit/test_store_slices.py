"""Slices of a store are what the whole store has there, and only their chunks are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.equations.store_share import share_of_store
from henderson.errors import StoreError
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.partitions.communicator import Alone
from henderson.partitions.cut import cut_at, cut_with_home
from henderson.store import schema, zarr_io
from henderson.store.model_data import KnownRows, Labels, ModelData
from henderson.store.reader import open_store
from henderson.store.schema import ArraySchema
from henderson.store.slices import StoreParts
from henderson.store.stored_array import StoredArray
from oracles.random_files import Written

N = 1_000


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("CHUNK_ROWS", 32), ("SHARD_ROWS", 128), ("MIN_ROWS", 32)):
        monkeypatch.setattr(schema, name, value)


@pytest.fixture
def sorted_array(tmp_path: Path, small_chunks: None) -> tuple[StoredArray, np.ndarray]:
    values = np.sort(np.random.default_rng(3).integers(-2, 300, N)).astype(np.int32)
    zarr_io.create_groups(tmp_path / "s", ["records"])
    zarr_io.write_whole(tmp_path / "s", ArraySchema("records/x", ("record",), (N,), "int32"), values)
    return StoredArray(tmp_path / "s", "records/x"), values


def test_it_is_indexed_like_an_array(sorted_array: tuple[StoredArray, np.ndarray]) -> None:
    stored, values = sorted_array
    assert (len(stored), stored.ndim, stored.shape, stored.dtype) == (N, 1, (N,), np.int32)
    for rows in (slice(0, 0), slice(5, 700), slice(None), slice(-40, None), slice(300, 100), slice(900, 20, -7)):
        np.testing.assert_array_equal(stored[rows], values[rows])
    for at in (np.array([999, 0, 31, 32, 31, 640]), np.empty(0, np.int64), np.arange(N)[::-1]):
        np.testing.assert_array_equal(stored[at], values[at])
    np.testing.assert_array_equal(np.asarray(stored), values)


@pytest.mark.parametrize("bounds", [(0, N), (17, 613), (500, 500)])
def test_a_sorted_array_is_searched_where_it_is(
    sorted_array: tuple[StoredArray, np.ndarray], bounds: tuple[int, int]
) -> None:
    stored, values = sorted_array
    low, high = bounds
    for value in (-5, -2, 0, 1, 50, 299, 300, 1000):
        expected = low + int(np.searchsorted(values[low:high], value))
        assert stored.first_not_below(value, low, high) == expected


def test_cuts_found_in_the_store_are_those_of_one_process(sorted_array: tuple[StoredArray, np.ndarray]) -> None:
    stored, values = sorted_array
    for n_parts in (1, 2, 3, 7, 400):
        levels, records = cut_with_home(300, values, n_parts)
        found = [cut_at(k, n_parts, 300, N, stored.first_not_below) for k in range(1, n_parts)]
        assert found == list(zip(levels, records, strict=True))[1:-1]
        assert levels == sorted(levels)
        assert [int(np.searchsorted(values, level)) for level in levels[1:-1]] == records[1:-1]


def test_other_chunks_are_not_read(sorted_array: tuple[StoredArray, np.ndarray], tmp_path: Path) -> None:
    stored, values = sorted_array
    file = tmp_path / "s" / "records" / "x" / "c" / "1"  # rows 128 to 255; the first chunk stands first
    data = bytearray(file.read_bytes())
    data[20] ^= 0xFF
    file.write_bytes(bytes(data))
    np.testing.assert_array_equal(stored[160:256], values[160:256])
    np.testing.assert_array_equal(stored[np.array([3, 255, 161])], values[[3, 255, 161]])
    with pytest.raises(StoreError, match="cannot be read"):
        stored[100:140]
    with pytest.raises(StoreError, match="cannot be read"):
        StoredArray(tmp_path / "s", "records/y")


def same(part: ModelData, whole: ModelData, records: slice, individuals: dict[str, slice]) -> None:
    for name in ("responses", "covariates", "classes", "related"):
        mine, theirs = getattr(part.records, name), getattr(whole.records, name)
        assert mine.keys() == theirs.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key][records])
    np.testing.assert_array_equal(part.records.row, whole.records.row[records])
    for column in whole.levels:
        assert part.levels[column].text() == whole.levels[column].text()
    for name, pedigree in whole.pedigrees.items():
        for array in ("sire", "dam", "generation", "inbreeding", "mendelian_variance", "row"):
            np.testing.assert_array_equal(
                getattr(part.pedigrees[name], array), getattr(pedigree, array)[individuals[name]]
            )
        assert part.pedigrees[name].labels.text() == pedigree.labels.text()
        assert part.pedigrees[name].start == individuals[name].start
    for name, matrix in whole.matrices.items():
        rows = individuals[name]
        np.testing.assert_array_equal(part.matrices[name].inverse.toarray(), matrix.inverse.toarray()[rows])
        np.testing.assert_array_equal(part.matrices[name].diagonal, matrix.diagonal[rows])


@pytest.mark.parametrize("seed", [1, 6])
def test_slices_are_what_the_store_has_there(seed: int, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest(load_model(Written(seed, tmp_path).toml, read_schema), store)
    whole, parts = open_store(store), StoreParts(store)
    n = parts.n_records
    for lo, hi in ((0.0, 1.0), (0.3, 0.8), (0.5, 0.5), (1.0, 1.0)):
        ranges = {name: (int(lo * size), int(hi * size)) for name, size in parts.sizes().items()}
        part = parts.read((int(lo * n), int(hi * n)), ranges)
        same(part, whole, slice(int(lo * n), int(hi * n)), {name: slice(*r) for name, r in ranges.items()})
    data, bounds = share_of_store(store, Alone())
    same(data, whole, slice(0, n), {name: slice(*b) for name, b in bounds.items()})


def test_labels_of_which_some_are_known() -> None:
    known = Labels(KnownRows(50, np.array([3, 8, 49]), np.array([30, 80, 490])))  # type: ignore[arg-type]
    assert len(known) == 50
    assert known.is_integer
    assert known.take(np.array([49, 3])).text() == ["490", "30"]
    assert known.text(8, 9) == ["80"]
    with pytest.raises(IndexError, match="row 9 of 50"):
        known.text(8, 10)
    with pytest.raises(IndexError, match="row 4 of 50"):
        known.take(np.array([3, 4]))
