"""Decode the shards of a store straight into arrays: Zarr's sharded layout, read by as many threads as wanted.

Only what `zarr_io` writes is read: shards along the first dimension, chunks of whole rows, packed by zstd with its own
checksum or by blosc with a CRC-32C, an index with its CRC-32C at the end of a shard. Without Zarr's event loop a chunk
costs its decompression and little more.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.blosc import Blosc
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from henderson.errors import Problem, StoreError
from henderson.store.schema import REMEDY

_ABSENT = np.uint64(2**64 - 1)  # offset of a chunk of nothing but zeros
_INDEX_ENTRY = 16  # bytes: offset and length
_CRC = 4
_INDICES = 1 << 12  # indices of shards that are kept
_ZSTD, _BLOSC = Zstd(), Blosc()


class ShardedArray:
    """An array of a store: shape, dtype, rows of a chunk and of a shard; `read_into` may be called by many threads.

    Raises `StoreError` for an array that is not there, or not as this program writes them.
    """

    def __init__(self, root: Path, path: str) -> None:
        self.folder = root / path
        try:
            about = json.loads((self.folder / "zarr.json").read_bytes())
            sharding = about["codecs"][0]
            inner = sharding["configuration"]
            packing = [c["name"] for c in inner["codecs"]]
            names = [c["name"] for c in (*about["codecs"], *inner["index_codecs"])]
            self.shape: tuple[int, ...] = tuple(about["shape"])
            self.dtype: np.dtype[Any] = np.dtype(about["data_type"]).newbyteorder("<")
            self.shard_rows = int(about["chunk_grid"]["configuration"]["chunk_shape"][0])
            self.chunk_rows = int(inner["chunk_shape"][0])
            self._decode = {"bytes zstd": _unpack_zstd, "bytes blosc crc32c": _unpack_blosc}.get(" ".join(packing))
            known = names == ["sharding_indexed", "bytes", "crc32c"] and self._decode is not None
            known &= list(self.shape[1:]) == inner["chunk_shape"][1:] and not self.shard_rows % self.chunk_rows
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise self._unreadable(error) from error
        if not known:
            raise self._unreadable("an encoding of another program")
        self._index = lru_cache(_INDICES)(self._read_index)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, pool: Executor) -> NDArray[Any]:
        """Return the whole array, its shards decoded by the threads of `pool` straight into it."""
        out: NDArray[Any] = np.empty(self.shape, self.dtype)
        rows = self.shard_rows

        def part(lo: int) -> None:
            self.read_into(lo, min(lo + rows, len(self)), out[lo : lo + rows])

        list(pool.map(part, range(0, len(self), rows)))
        return out

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Set `out` (stop - start, ...), contiguous, to the rows start..stop. Memory: a chunk where it is cut."""
        for lo in range(start - start % self.shard_rows, stop, self.shard_rows):
            first, last = max(lo, start), min(lo + self.shard_rows, stop)
            try:
                self._read_shard(lo, first, last, out[first - start : last - start])
            except (OSError, ValueError, RuntimeError) as error:
                raise self._unreadable(error) from error

    def _read_shard(self, lo: int, first: int, last: int, out: NDArray[Any]) -> None:
        number = lo // self.shard_rows
        index = self._index(number)
        size = self.chunk_rows
        handle = os.open(self._file(number), os.O_RDONLY)
        try:
            for begin in range(first - first % size, last, size):
                offset, n_bytes = index[(begin - lo) // size]
                a, b = max(first, begin), min(last, begin + size)
                place = out[a - first : b - first]
                if offset == _ABSENT:
                    place[...] = 0
                    continue
                packed = os.pread(handle, int(n_bytes), int(offset))
                if b - a == size:
                    self._unpack(packed, place)
                else:  # a chunk is stored whole, also where the array ends
                    whole = np.empty((size, *self.shape[1:]), self.dtype)
                    self._unpack(packed, whole)
                    place[...] = whole[a - begin : b - begin]
        finally:
            os.close(handle)

    def _read_index(self, number: int) -> NDArray[np.uint64]:
        n_bytes = _INDEX_ENTRY * (self.shard_rows // self.chunk_rows) + _CRC
        with self._file(number).open("rb") as handle:
            handle.seek(-n_bytes, os.SEEK_END)
            raw = handle.read(n_bytes)
        return np.frombuffer(_checked(raw, f"the index of shard {number}"), "<u8").reshape(-1, 2)

    def _unpack(self, packed: bytes, out: NDArray[Any]) -> None:
        if out.size and self._decode is not None:
            self._decode(packed, out)

    def _file(self, number: int) -> Path:
        return self.folder.joinpath("c", str(number), *["0"] * (len(self.shape) - 1))

    def _unreadable(self, reason: object) -> StoreError:
        return StoreError(Problem(f"the store cannot be read ({reason})", file=str(self.folder), remedy=REMEDY))


def _unpack_zstd(packed: bytes, out: NDArray[Any]) -> None:
    """Set the contiguous `out` to what was packed; releases the GIL. Raises RuntimeError if the checksum differs."""
    _ZSTD.decode(packed, out)


def _unpack_blosc(packed: bytes, out: NDArray[Any]) -> None:
    """Set the contiguous `out` to what was packed; releases the GIL. Raises ValueError if the checksum differs."""
    _BLOSC.decode(_checked(packed, "a chunk"), out)


def _checked(raw: bytes, what: str) -> memoryview:
    """Return the bytes before their CRC-32C, which ends `raw`."""
    content = memoryview(raw)[:-_CRC]
    if google_crc32c.value(raw[:-_CRC]) != int.from_bytes(raw[-_CRC:], "little"):
        raise ValueError(f"{what} does not agree with its checksum")
    return content
