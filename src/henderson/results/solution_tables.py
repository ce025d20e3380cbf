"""Solutions as tables: `solutions.csv` (Parquet above a million rows) and lmt's `results.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from henderson.results.files import remove, replacing
from henderson.solvers.solutions import ACCURACIES, SubfactorSolutions
from henderson.store.model_data import Labels

PARQUET_ABOVE = 1_000_000
BLOCK = 1 << 18

SCHEMA = pa.schema([(n, pa.string()) for n in ("factor", "subfactor", "level")] + [("value", pa.float64())])

Orders = Mapping[str, NDArray[np.int64]]


def labels_to_arrow(labels: Labels) -> pa.Array:
    """Return labels as an Arrow string array, made from the packed bytes without a Python string per level."""
    if labels.is_integer:
        return number_array(labels.values, pa.int64()).cast(pa.string())
    packed = np.ascontiguousarray(labels.values)
    used = packed != 0
    offsets = np.zeros(len(packed) + 1, np.int32)
    np.cumsum(used.sum(axis=1), out=offsets[1:])
    return pa.StringArray.from_buffers(len(packed), pa.py_buffer(offsets), pa.py_buffer(packed[used]))


def write_solutions(
    parts: Sequence[SubfactorSolutions], out: Path, *, orders: Orders | None = None, parquet_above: int = PARQUET_ABOVE
) -> Path:
    """Return the path of the written table of all solutions: ``factor,subfactor,level,value[,se,reliability]``.

    With sampled accuracies their Monte Carlo errors follow, ``se_mc_se,reliability_mc_se``. Dropped fixed levels have
    no row. `orders` has the order of the levels by factor, where that is not their own: animals are written as in their
    file. More than `parquet_above` rows go to ``solutions.parquet``; the file of the other format, if an earlier run
    left one, is removed. Blocks of `BLOCK` levels are in memory at a time.
    """
    rows = sum(p.n_rows for p in parts)
    schema = schema_of(parts)
    csv_path, parquet_path = out / "solutions.csv", out / "solutions.parquet"
    path, other = (parquet_path, csv_path) if rows > parquet_above else (csv_path, parquet_path)
    with replacing(path) as part:
        if path is parquet_path:
            with pq.ParquetWriter(part, schema, compression="zstd", use_dictionary=["factor", "subfactor"]) as parquet:
                for batch in _batches(parts, schema, orders or {}):
                    parquet.write_batch(batch)
        else:
            with pa_csv.CSVWriter(part, schema, write_options=_csv_options(parts, header=True)) as csv:
                for batch in _batches(parts, schema, orders or {}):
                    csv.write_batch(batch)
    remove(other)
    return path


def schema_of(parts: Sequence[SubfactorSolutions]) -> pa.Schema:
    """Return the columns of the table of all solutions: with accuracies, and their errors, if there are any."""
    schema = SCHEMA
    for present, names in (("se", ACCURACIES[:2]), ("se_mc_se", ACCURACIES[2:])):
        if any(getattr(p, present) is not None for p in parts):
            for name in names:
                schema = schema.append(pa.field(name, pa.float64()))
    return schema


def write_lmt_results(parts: Sequence[SubfactorSolutions], out: Path, *, orders: Orders | None = None) -> Path:
    """Return the path of lmt's ``results.csv``: factor, sub-factor, original level, solution; no header."""
    path = out / "results.csv"
    options = _csv_options(parts, header=False)
    with replacing(path) as part, pa_csv.CSVWriter(part, SCHEMA, write_options=options) as csv:
        for batch in _batches(parts, SCHEMA, orders or {}):
            csv.write_batch(batch)
    return path


def _csv_options(parts: Sequence[SubfactorSolutions], *, header: bool) -> pa_csv.WriteOptions:
    return csv_options(any(needs_quotes(p.labels) for p in parts), header=header)


def needs_quotes(labels: Labels) -> bool:
    """Return whether a label has a comma, a quote or a line break in it."""
    return not labels.is_integer and bool(np.isin(labels.values, np.frombuffer(b',"\r\n', np.uint8)).any())


def csv_options(quotes: bool, *, header: bool) -> pa_csv.WriteOptions:
    """Return options that quote texts only if there are `quotes`."""
    style = "needed" if quotes else "none"
    return pa_csv.WriteOptions(include_header=header, quoting_style=style, quoting_header="none")


def _batches(parts: Sequence[SubfactorSolutions], schema: pa.Schema, orders: Orders) -> Iterator[pa.RecordBatch]:
    for part in parts:
        order = orders.get(part.factor)
        for start in range(0, len(part.labels), BLOCK):
            stop = min(start + BLOCK, len(part.labels))
            rows: NDArray[np.int64] = np.arange(start, stop) if order is None else order[start:stop]
            if part.kept is not None:
                rows = rows[part.kept[rows]]
            if len(rows):
                yield batch(part, rows, schema)


def batch(part: SubfactorSolutions, rows: NDArray[np.int64], schema: pa.Schema) -> pa.RecordBatch:
    """Return the levels `rows` of a sub-factor as rows of the table."""
    n = len(rows)
    columns = [
        pa.repeat(part.factor, n),
        pa.repeat(part.subfactor, n),
        labels_to_arrow(part.labels.take(rows)),
        number_array(part.values[rows], pa.float64()),
    ]
    for name in schema.names[4:]:
        values = getattr(part, name)
        columns.append(pa.nulls(n, pa.float64()) if values is None else number_array(values[rows], pa.float64()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def number_array(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return an Arrow array of int64 or float64, NaN as null, without a copy; `pa.array` would import pandas."""
    known = ~np.isnan(values)
    valid = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])
