"""An xarray variable over columns that are read where it is indexed; needs xarray, so import it late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from xarray import Variable
from xarray.backends import BackendArray
from xarray.core import indexing


class Column(Protocol):
    """What has a length and gives float64 where it is indexed, by a slice or by rows."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        """Return some rows."""


Grid = Sequence[Sequence[Column | None]]


def grid_variable(dims: tuple[str, ...], grid: Grid) -> Variable:
    """Return a variable (n, effects, traits) of columns, NaN where there is none; nothing is read yet."""
    array = ColumnGrid(grid)
    if all(isinstance(c, np.ndarray) for row in grid for c in row if c is not None):
        return Variable(dims, array.read((slice(None), slice(None), slice(None))))
    return Variable(dims, indexing.LazilyIndexedArray(array))


class ColumnGrid(BackendArray):
    """Columns side by side, as xarray reads files."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        n = next(len(c) for row in grid for c in row if c is not None)
        self.shape = (n, len(grid), len(grid[0]))
        self.dtype = np.dtype(np.float64)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.read)

    def read(self, key: tuple[Any, ...]) -> NDArray[np.float64]:
        """Return what integers, slices and arrays of the three dimensions ask for, each by itself."""
        rows, *others = key
        wanted = slice(rows, rows + 1) if isinstance(rows, (int, np.integer)) else rows
        effects, traits = (np.atleast_1d(np.arange(size)[of]) for size, of in zip(self.shape[1:], others, strict=True))
        n = len(range(*wanted.indices(self.shape[0]))) if isinstance(wanted, slice) else len(wanted)
        out = np.full((n, len(effects), len(traits)), np.nan)
        for i, e in enumerate(effects.tolist()):
            for j, t in enumerate(traits.tolist()):
                column = self._grid[e][t]
                if column is not None:
                    out[:, i, j] = column[wanted]
        single = tuple(0 if isinstance(k, (int, np.integer)) else slice(None) for k in key)
        return out[single]
