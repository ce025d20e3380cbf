"""Parquet files: their columns, and row groups as blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import InputFileError, Problem
from henderson.ingest.files import Source

_BATCH_ROWS = 1 << 17


def column_names(path: Path, shown: str) -> list[str]:
    """Return the names of the columns. Raises `InputFileError` if the file is not whole, or has no rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows == 0:
                raise InputFileError(Problem("holds no rows", file=shown))
            return [str(n) for n in file.schema_arrow.names]
    except pa.ArrowException as error:
        raise InputFileError(Problem(f"not a readable Parquet file ({error})", file=shown)) from error


def column_kinds(source: Source) -> dict[str, str]:
    """Return the kinds of the columns by their types."""
    import pyarrow.parquet as pq
    import pyarrow.types as types

    def kind(of: Any) -> str:
        if types.is_integer(of):
            return "integer"
        return "real" if types.is_floating(of) or types.is_decimal(of) or types.is_null(of) else "text"

    with pq.ParquetFile(source.path) as file:
        return {f.name: kind(f.type) for f in file.schema_arrow}


def n_row_groups(source: Source) -> int:
    """Return the number of row groups."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        return int(file.metadata.num_row_groups)


def largest_row_group(source: Source) -> int:
    """Return the number of rows of the largest row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        return int(max(file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)))


def n_rows(source: Source) -> int:
    """Return the number of rows, from the metadata."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        return int(file.metadata.num_rows)


def batches(source: Source, group: int, columns: list[str]) -> Iterator[Any]:
    """Yield the record batches of a row group with `columns` only, one after the other."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        yield from file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False)


def as_integer(array: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None] | None:
    """Return a column of integers as (values, where they are missing or None if nowhere), None if it is no such."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    if not types.is_integer(array.type) or types.is_uint64(array.type):
        return None
    values = pc.fill_null(pc.cast(array, pa.int64()), 0)
    missing = np.asarray(array.is_null()) if array.null_count else None
    return np.asarray(np.from_dlpack(values), np.int64), missing


def as_text(array: Any) -> Any:
    """Return a column as text; whole numbers among reals lose their ``.0``, so that a key with gaps stays a key."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_floating(array.type):
        whole = pc.equal(pc.floor(array), array)
        small = pc.less(pc.abs(array), 2.0**63)
        integer = pc.fill_null(pc.and_(whole, small), False)
        safe = pc.if_else(integer, array, 0.0)
        array = pc.if_else(integer, pc.cast(pc.cast(safe, pa.int64()), pa.string()), pc.cast(array, pa.string()))
    return pc.fill_null(pc.cast(array, pa.string()), "")


def as_real(array: Any) -> Any:
    """Return a column as float64; raises `pyarrow.ArrowInvalid` for text that is not a number."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_string(array.type) or types.is_large_string(array.type):
        return real_from_text(array)
    return pc.cast(array, pa.float64(), safe=False)


def real_from_text(array: Any) -> Any:
    """Return trimmed numbers as float64, null where missing; raises `pyarrow.ArrowInvalid` for other text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from henderson.ingest.lines import MISSING

    trimmed = pc.ascii_trim(array, characters=" \t\r")
    missing = pc.is_in(trimmed, value_set=pa.array(sorted(MISSING), trimmed.type))
    return pc.cast(pc.if_else(missing, None, trimmed), pa.float64())


def rows_of_group(source: Source, group: int) -> int:
    """Return the number of rows of a row group."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(source.path) as file:
        return int(file.metadata.row_group(group).num_rows)
