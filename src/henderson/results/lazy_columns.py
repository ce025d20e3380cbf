"""Columns of `solutions.parquet`, a sub-factor at a time, read where they are indexed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from henderson.results.solution_files import KEYS


@dataclass(frozen=True)
class Piece:
    """A row group with rows of one sub-factor: its file, its number, its rows."""

    file: Path
    number: int
    rows: int


Pieces = dict[tuple[str, str], list[Piece]]


def pieces_of(path: Path) -> Pieces | None:
    """Return the row groups of each (factor, sub-factor) of a table, a file or a folder of them, in their order.

    None if a row group has rows of several, as other programs may write it. Reads the ends of the files only.
    """
    found: Pieces = {}
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        metadata = pq.read_metadata(file)
        for k in range(metadata.num_row_groups):
            group = metadata.row_group(k)
            columns = {group.column(c).path_in_schema: group.column(c).statistics for c in range(group.num_columns)}
            about = [s for key in KEYS[:2] if (s := columns.get(key)) is not None and s.has_min_max and s.min == s.max]
            if len(about) < 2:
                return None
            factor, subfactor = (s.min for s in about)
            found.setdefault((factor, subfactor), []).append(Piece(file, k, group.num_rows))
    return found


class LazyColumn:
    """A numeric column of one sub-factor: ``column[rows]`` reads the row groups that have these rows."""

    def __init__(self, pieces: list[Piece], name: str) -> None:
        self._pieces, self._name = pieces, name
        self._first = np.concatenate([[0], np.cumsum([p.rows for p in pieces])])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step < 0:
                return self[np.arange(start, stop, step)]
            return self._span(start, max(start, stop))[::step]
        at = np.asarray(rows, np.int64)
        out = np.empty(len(at))
        which = np.searchsorted(self._first, at, side="right") - 1
        for k in np.unique(which).tolist():
            mine = which == k
            out[mine] = self._read(k)[at[mine] - self._first[k]]
        return out

    def text(self) -> pa.Array:
        """Return the whole column as texts."""
        return pa.concat_arrays([self._table(k).combine_chunks().cast(pa.string()) for k in range(len(self._pieces))])

    def same_text(self, other: LazyColumn) -> bool:
        """Return whether another column has the same texts; a row group at a time, if they are cut alike."""
        if [p.rows for p in self._pieces] != [p.rows for p in other._pieces]:
            return bool(self.text().equals(other.text()))
        return all(self._table(k).equals(other._table(k)) for k in range(len(self._pieces)))

    def _span(self, start: int, stop: int) -> NDArray[np.float64]:
        out = np.empty(stop - start)
        for k in range(len(self._pieces)):
            lo, hi = max(start, int(self._first[k])), min(stop, int(self._first[k + 1]))
            if lo < hi:
                out[lo - start : hi - start] = self._read(k)[lo - self._first[k] : hi - self._first[k]]
        return out

    def _read(self, k: int) -> NDArray[np.float64]:
        return np.asarray(self._table(k).to_numpy(), np.float64)

    def _table(self, k: int) -> pa.ChunkedArray:
        piece = self._pieces[k]
        return pq.ParquetFile(piece.file).read_row_group(piece.number, columns=[self._name]).column(0)


def column_names(pieces: list[Piece]) -> list[str]:
    """Return the names of the numeric columns of a table."""
    return [name for name in pq.read_schema(pieces[0].file).names if name not in KEYS]
