"""Columns of records that are held compactly and read like float64 arrays: ``column[rows]``, ``np.asarray(column)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = slice | NDArray[np.integer[Any]] | NDArray[np.bool_]


class Compact(ABC):
    """A column of `len(column)` float64 numbers that are made when they are asked for."""

    dtype = np.dtype(np.float64)
    ndim = 1

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (n_records,)."""
        return (self._n,)

    @abstractmethod
    def __getitem__(self, rows: Rows) -> Floats:
        """Return the numbers of some records."""

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the column as an array; `copy` is one in any case."""
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


class Coded(Compact):
    """A column of few different values: ``table[codes]``; codes are of an unsigned type."""

    def __init__(self, table: Floats, codes: NDArray[np.unsignedinteger[Any]]) -> None:
        super().__init__(len(codes))
        self.table, self.codes = table, codes

    def __getitem__(self, rows: Rows) -> Floats:
        return np.asarray(self.table[self.codes[rows]], np.float64)


class Observed(Compact):
    """A response, NaN where missing: value number ``place[pattern]`` of each record, missing where that is negative."""

    def __init__(
        self, pattern: NDArray[np.unsignedinteger[Any]], place: NDArray[np.int64], values: list[Floats]
    ) -> None:
        super().__init__(len(pattern))
        self.pattern, self.place, self.values = pattern, place, values

    def __getitem__(self, rows: Rows) -> Floats:
        place = self.place[self.pattern[rows]]
        out = np.full(len(place), np.nan)
        for k in np.unique(self.place[self.place >= 0]).tolist():
            np.copyto(out, self.values[k][rows], where=place == k)
        return out
