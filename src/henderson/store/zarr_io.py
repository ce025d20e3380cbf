"""The one place that imports zarr: create and write the arrays of a store; they are read by `shards`."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from henderson.store.checksums import BLANK, OWN, sign
from henderson.store.schema import ArraySchema
from henderson.store.shards import ShardedArray

_CODEC_LEVEL = 1  # higher levels cost several times the time for a few percent


def create_groups(root: Path, paths: list[str]) -> None:
    """Create the groups `paths` (parents first) below a root group."""
    zarr.open_group(root, mode="a", zarr_format=3)
    for path in paths:
        zarr.open_group(root, path=path, mode="a", zarr_format=3)


def create_array(root: Path, schema: ArraySchema) -> None:
    """Create an array as declared, with no data; one that is there is replaced."""
    zarr.create_array(
        root,
        name=schema.path,
        shape=schema.shape,
        dtype=schema.dtype,
        chunks=schema.chunks,
        shards=schema.shards,
        compressors=_codecs(schema.dtype),
        fill_value=0,
        dimension_names=schema.dims,
        attributes=schema.attributes,
        zarr_format=3,
        overwrite=True,
        config={"write_empty_chunks": True},
    )


def _codecs(dtype: str) -> list[Any]:
    """Return how chunks are packed: codes, which are read in every round, for speed, numbers for size."""
    if np.dtype(dtype).kind == "f":
        return [ZstdCodec(level=_CODEC_LEVEL, checksum=True)]
    return [BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec()]


def write_rows(root: Path, path: str, start: int, values: NDArray[Any]) -> None:
    """Write `values` from row `start`, which begins a shard; the caller is the only writer of its shards."""
    array = zarr.open_array(root, path=path, mode="r+").with_config({"write_empty_chunks": True})
    shard_rows = array.shards[0]
    if start % shard_rows or (len(values) % shard_rows and start + len(values) != array.shape[0]):
        raise ValueError(f"rows {start}..{start + len(values)} of {path} are not whole shards of {shard_rows}")
    for lo in range(0, len(values), shard_rows):
        array[start + lo : start + min(lo + shard_rows, len(values))] = values[lo : lo + shard_rows]


def shard_file(root: Path, schema: ArraySchema, shard: int) -> Path:
    """Return the file of a shard (sharded along the first dimension)."""
    return root.joinpath(schema.path, "c", str(shard), *["0"] * (len(schema.shape) - 1))


def write_whole(root: Path, schema: ArraySchema, values: NDArray[Any]) -> None:
    """Create an array and write all of it."""
    create_array(root, schema)
    if len(values):
        write_rows(root, schema.path, 0, np.asarray(values))


def read_array(root: Path, path: str, pool: ThreadPoolExecutor) -> NDArray[Any]:
    """Return a whole array, its shards decoded by the threads of `pool` straight into it."""
    array = ShardedArray(root, path)
    out: NDArray[Any] = np.empty(array.shape, dtype=array.dtype)
    rows = array.shard_rows

    def read(lo: int) -> None:
        array.read_into(lo, min(lo + rows, len(array)), out[lo : lo + rows])

    list(pool.map(read, range(0, len(array), rows)))
    return out


class StoredArray:
    """An array of a store that is read where it is indexed, and only there: a slice or indices of rows.

    Only the chunks that are asked for are read; the last one used is kept. Stands for a NumPy array where that is
    indexed, asked for its shape, or converted (which reads all of it). Not for several threads at once. Raises
    `StoreError` where a chunk or what is said about the array cannot be decoded.
    """

    def __init__(self, root: Path, path: str) -> None:
        self._array = ShardedArray(root, path)
        self.shape = self._array.shape
        self.dtype = self._array.dtype
        self._last: tuple[int, NDArray[Any]] | None = None

    @property
    def ndim(self) -> int:
        """Return the number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> NDArray[Any]:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            return (
                self._slice(start, max(start, stop))[::step] if step > 0 else self[np.arange(*rows.indices(len(self)))]
            )
        at = np.asarray(rows, np.int64)
        out: NDArray[Any] = np.empty((len(at), *self.shape[1:]), self.dtype)
        chunk = at // self._array.chunk_rows
        order = np.argsort(chunk, kind="stable")
        numbers, first = np.unique(chunk[order], return_index=True)
        for number, part in zip(numbers.tolist(), np.split(order, first[1:]), strict=False):
            out[part] = self._chunk(number)[at[part] - number * self._array.chunk_rows]
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._slice(0, len(self)), dtype)

    def first_not_below(self, value: int, low: int, high: int) -> int:
        """Return the first row of low..high whose value is not below `value`, `high` if none: the rows are sorted.

        Cost: log2 of the number of chunks between, in chunks read.
        """
        size = self._array.chunk_rows
        while low < high:
            middle = (low + high) // 2
            number = middle // size
            begin, end = max(low, number * size), min(high, (number + 1) * size)
            block = self._chunk(number)[begin - number * size : end - number * size]
            at = int(np.searchsorted(block, value))
            if at == 0:
                high = begin
            elif at == len(block):
                low = end
            else:
                return begin + at
        return low

    def _slice(self, start: int, stop: int) -> NDArray[Any]:
        out: NDArray[Any] = np.empty((stop - start, *self.shape[1:]), self.dtype)
        self._array.read_into(start, stop, out)
        return out

    def _chunk(self, number: int) -> NDArray[Any]:
        if self._last is None or self._last[0] != number:
            size = self._array.chunk_rows
            self._last = (number, self._slice(number * size, min((number + 1) * size, len(self))))
        return self._last[1]


def read_attributes(root: Path) -> dict[str, Any]:
    """Return the attributes of the root group."""
    return dict(zarr.open_group(root, mode="r").attrs)


def seal(root: Path, groups: list[str], attributes: dict[str, Any]) -> None:
    """Gather the metadata below each group, so that it opens at once, and last write the attributes of the root.

    The root's metadata get their own checksum.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        for path in groups:
            zarr.consolidate_metadata(root, path=path, zarr_format=3)
        zarr.open_group(root, mode="r+", use_consolidated=False).attrs.put({**attributes, OWN: BLANK})
        zarr.consolidate_metadata(root, zarr_format=3)
    sign(root / "zarr.json")
