"""The one place that imports zarr: create and write the arrays of a store (`shards` reads them)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from henderson.store.checksums import BLANK, OWN, sign
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
