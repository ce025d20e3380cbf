"""The tables of `solution_tables`, written by all ranks at once: no rank holds more than its share of the rows.

The rows of the whole table are cut into one contiguous range per rank. Owners send each row (where it stands, its
label, its value) to the rank of its range, which sorts and formats it; so the files are those of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from henderson.partitions.communicator import Communicator
from henderson.results.files import remove
from henderson.results.parallel_files import SharedFile, replacing_together
from henderson.results.solution_tables import (
    BLOCK,
    PARQUET_ABOVE,
    SCHEMA,
    batch,
    csv_options,
    needs_quotes,
    schema_of,
)
from henderson.solvers.solutions import ACCURACIES, SubfactorSolutions
from henderson.store.model_data import Labels


@dataclass(frozen=True)
class OwnedRows:
    """The rows of one sub-factor that this rank owns.

    part: with the levels owned here alone (accuracies on all ranks or on none); keys: int64 (n_levels,), where each
    level stands among those of all ranks, 0 <= key < `stop`, evenly spread (equal keys stand in the order of the
    ranks); n_rows: printed rows of all ranks.
    """

    part: SubfactorSolutions
    keys: NDArray[np.int64]
    stop: int
    n_rows: int


def write_tables_together(
    rows: Sequence[OwnedRows], out: Path, communicator: Communicator, *, lmt: bool, parquet_above: int = PARQUET_ABOVE
) -> tuple[Path, ...]:
    """Return the paths of ``solutions.csv``, or of the folder ``solutions.parquet``, and with `lmt` of ``results.csv``.

    **Collective**. More than `parquet_above` rows go to a folder of one Parquet file per rank, which readers take for
    one table. What an earlier run left of the other format is removed. Memory: the rows of one sub-factor in the
    range of this rank, about three times as text.
    """
    csv_path, parquet_path = out / "solutions.csv", out / "solutions.parquet"
    schema = schema_of([each.part for each in rows])
    if sum(each.n_rows for each in rows) > parquet_above:
        path, other = parquet_path, csv_path
        _write_parquet(rows, path, communicator, schema)
    else:
        path, other = csv_path, parquet_path
        _write_csv(rows, path, communicator, schema, header=True)
    if communicator.rank == 0:
        remove(other)
    if not lmt:
        return (path,)
    _write_csv(rows, out / "results.csv", communicator, SCHEMA, header=False)
    return path, out / "results.csv"


def _write_csv(
    rows: Sequence[OwnedRows], path: Path, communicator: Communicator, schema: pa.Schema, *, header: bool
) -> None:
    quotes = any(communicator.gather_all(any(needs_quotes(each.part.labels) for each in rows)))
    with replacing_together(path, communicator) as temporary:
        file = SharedFile(temporary, communicator)
        first = communicator.rank == 0 and header
        file.append(_text([], csv_options(quotes, header=first), schema))
        for batches in _routed(rows, communicator, schema):
            file.append(_text(batches, csv_options(quotes, header=False), schema))
        file.close()


def _write_parquet(rows: Sequence[OwnedRows], path: Path, communicator: Communicator, schema: pa.Schema) -> None:
    with replacing_together(path, communicator, folder=True) as temporary:
        file = temporary / f"part-{communicator.rank:05d}.parquet"
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=["factor", "subfactor"]) as parquet:
            for batches in _routed(rows, communicator, schema):
                for each in batches:
                    parquet.write_batch(each)


def _text(batches: Sequence[pa.RecordBatch], options: pa_csv.WriteOptions, schema: pa.Schema) -> memoryview:
    """Return the rows as CSV."""
    sink = pa.BufferOutputStream()
    with pa_csv.CSVWriter(sink, schema, write_options=options) as csv:
        for each in batches:
            csv.write_batch(each)
    return memoryview(sink.getvalue()).cast("B")


def _routed(rows: Sequence[OwnedRows], communicator: Communicator, schema: pa.Schema) -> Iterator[list[pa.RecordBatch]]:
    """Yield, sub-factor by sub-factor, the rows in the range of this rank, in order. **Collective**."""
    total = sum(each.n_rows for each in rows)
    first = 0
    for each in rows:
        mine = _exchange(each, first, total, communicator)
        counts = communicator.gather_all(len(mine.labels))
        if sum(counts) != each.n_rows:
            raise AssertionError(f"{sum(counts)} of {each.n_rows} rows of {each.part.subfactor!r} are there")
        first += each.n_rows
        cuts = range(0, len(mine.labels), BLOCK)
        yield [batch(mine, np.arange(k, min(k + BLOCK, len(mine.labels))), schema) for k in cuts]


def _exchange(rows: OwnedRows, first: int, total: int, communicator: Communicator) -> SubfactorSolutions:
    """Return the rows of the sub-factor in the range of this rank, sorted; its rows begin at `first` of `total`."""
    part, keys = rows.part, rows.keys
    labels: NDArray[Any] = part.labels.values
    if not part.labels.is_integer:
        width = max(communicator.gather_all(labels.shape[1]))
        labels = np.pad(labels, ((0, 0), (0, width - labels.shape[1])))
    columns = {n: v for n in ("values", *ACCURACIES) if (v := getattr(part, n)) is not None}
    if part.kept is not None:
        keys, labels = keys[part.kept], labels[part.kept]
        columns = {n: v[part.kept] for n, v in columns.items()}
    # grows with the key, so that the ranges are contiguous; about even, so that no rank has much more than others
    at = first + np.minimum(keys * (rows.n_rows / max(1, rows.stop)), rows.n_rows)
    to = np.minimum((at * (communicator.size / max(1, total))).astype(np.int64), communicator.size - 1)
    numbers = [(n, np.float64) for n in columns]
    packed = np.empty(len(keys), [("key", np.int64), *numbers, ("label", labels.dtype, labels.shape[1:])])
    packed["key"], packed["label"] = keys, labels
    for name, values in columns.items():
        packed[name] = values
    del labels
    received = send_rows(packed, to, communicator)
    received = received[np.argsort(received["key"], kind="stable")]
    names = Labels(np.ascontiguousarray(received["label"]))
    found = {n: np.ascontiguousarray(received[n]) for n in columns}
    return SubfactorSolutions(part.factor, part.subfactor, names, **found)


def send_rows(rows: NDArray[Any], to: NDArray[np.int64], communicator: Communicator) -> NDArray[Any]:
    """Return the rows (of one structured type) that all ranks send here; row k goes to rank to[k]. **Collective**."""
    order = np.argsort(to, kind="stable")
    ends = np.cumsum(np.bincount(to, minlength=communicator.size))
    raw = rows[order].view(np.uint8).reshape(len(rows), rows.dtype.itemsize)
    received: NDArray[Any] = np.concatenate(communicator.all_to_all(np.split(raw, ends[:-1]))).view(rows.dtype).ravel()
    return received
