"""Files written block by block: CSV or Parquet, the same bytes whatever the blocks; ids without Python strings."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from numpy.typing import NDArray

ROW_GROUP = 1 << 18
GROUP_OF_DIGITS = 10_000
DIGITS_IN_GROUP = 4


class TableWriter:
    """One growing table in a CSV or Parquet file; Parquet row groups have `ROW_GROUP` rows, however blocks are cut."""

    def __init__(self, path: Path, format: Literal["csv", "parquet"]) -> None:
        self.path = path
        self.format = format
        self._waiting: list[Any] = []
        self._n_waiting = 0
        self._writer: Any = None
        self._file: Any = None

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush(everything=True)
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()

    def write(self, columns: dict[str, Any]) -> None:
        """Append rows: equally long arrays by column name, the same names every time."""
        table = pa.table(columns)
        if self._writer is None:
            self._open(table.schema)
        if self.format == "csv":
            self._writer.write_table(table)
            return
        self._waiting.append(table)
        self._n_waiting += len(table)
        self._flush(everything=False)

    def _open(self, schema: Any) -> None:
        if self.format == "parquet":
            self._writer = pa_parquet.ParquetWriter(self.path, schema)
            return
        # The header is written here since Arrow would quote the names.
        self._file = self.path.open("wb")
        self._file.write((",".join(schema.names) + "\n").encode())
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        self._writer = pa_csv.CSVWriter(self._file, schema, write_options=options)

    def _flush(self, everything: bool) -> None:
        """Write whole row groups, and at the end the rest."""
        if not self._waiting or (self._n_waiting < ROW_GROUP and not everything):
            return
        table = pa.concat_tables(self._waiting)
        done = 0
        while done + ROW_GROUP <= len(table) or (everything and done < len(table)):
            group = table.slice(done, ROW_GROUP).combine_chunks()
            self._writer.write_table(group, row_group_size=ROW_GROUP)
            done += len(group)
        rest = table.slice(done)
        self._waiting, self._n_waiting = ([rest] if len(rest) else []), len(rest)


def numbers(values: NDArray[Any]) -> Any:
    """Return a column of numbers in which NaN is empty."""
    return pa.array(values, mask=np.isnan(values) if values.dtype.kind == "f" else None)


class Names:
    """The ids of individuals 0, 1, ...: text such as DE0000000124, or integers from 1; -1 is unknown: empty, or 0."""

    def __init__(self, prefix: str, digits: int, kind: Literal["text", "integer"]) -> None:
        self.prefix = np.frombuffer(prefix.encode(), dtype=np.uint8)
        self.digits = digits
        self.kind = kind
        group = np.arange(GROUP_OF_DIGITS)
        powers = 10 ** np.arange(DIGITS_IN_GROUP - 1, -1, -1)
        self._text_of_group = (group[:, None] // powers % 10 + ord("0")).astype(np.uint8)

    def column(self, index: NDArray[np.integer[Any]]) -> Any:
        """Return the ids at `index` as a column. Cost: no Python object for any row."""
        number = index.astype(np.int64) + 1
        return pa.array(number) if self.kind == "integer" else self._text(number)

    def _text(self, number: NDArray[np.int64]) -> Any:
        """Return prefix and zero-padded number, from Arrow's buffers: validity bits, offsets, characters."""
        n, n_prefix = len(number), len(self.prefix)
        width = n_prefix + self.digits
        text = np.empty((n, width), dtype=np.uint8)
        text[:, :n_prefix] = self.prefix
        rest, stop = number, width
        while stop > n_prefix:
            rest, group = np.divmod(rest, GROUP_OF_DIGITS)
            start = max(n_prefix, stop - DIGITS_IN_GROUP)
            text[:, start:stop] = self._text_of_group[group][:, DIGITS_IN_GROUP - (stop - start) :]
            stop = start
        known = number > 0
        offsets = np.arange(n + 1, dtype=np.int32) * np.int32(width)
        bits = np.packbits(known, bitorder="little")
        return pa.StringArray.from_buffers(
            n, pa.py_buffer(offsets), pa.py_buffer(text), pa.py_buffer(bits), int(n - known.sum())
        )
