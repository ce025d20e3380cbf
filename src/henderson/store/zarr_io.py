"""The one place that imports zarr: create, write and read the arrays of a store."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from henderson.store.schema import ArraySchema

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
        compressors=[ZstdCodec(level=_CODEC_LEVEL, checksum=True)],
        fill_value=0,
        dimension_names=schema.dims,
        attributes=schema.attributes,
        zarr_format=3,
        overwrite=True,
        config={"write_empty_chunks": True},
    )


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
    array = zarr.open_array(root, path=path, mode="r")
    out: NDArray[Any] = np.empty(array.shape, dtype=array.dtype)
    rows = (array.shards or array.chunks)[0]

    def read(lo: int) -> None:
        out[lo : lo + rows] = array[lo : lo + rows]

    list(pool.map(read, range(0, array.shape[0], rows)))
    return out


def read_attributes(root: Path) -> dict[str, Any]:
    """Return the attributes of the root group."""
    return dict(zarr.open_group(root, mode="r").attrs)


def seal(root: Path, groups: list[str], attributes: dict[str, Any]) -> None:
    """Gather the metadata below each group, so that it opens at once, and last write the attributes of the root."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        for path in groups:
            zarr.consolidate_metadata(root, path=path, zarr_format=3)
        zarr.open_group(root, mode="r+", use_consolidated=False).attrs.put(attributes)
        zarr.consolidate_metadata(root, zarr_format=3)
