"""Arrays of a store that are read where they are indexed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.store.shards import ShardedArray


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
