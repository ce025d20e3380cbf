"""Fitted values and residuals of all records as files, one part by each rank: ``yhat`` and ``residuals``.

``yhat`` has a row for each record and trait, in the order of the files: the number of the record (from 1, over all
files), the trait, what was observed (empty if missing), what the model fits, and the difference. ``residuals`` has the
same columns, and only the rows where something was observed. A trait that is missing is predicted by the effects of the
record; there is no fitted value if a fixed effect of it has no observation at all.
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

from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.partitions.communicator import Communicator
from henderson.partitions.exchange import Vectors
from henderson.results.files import remove, replacing
from henderson.results.parallel_files import SharedFile, replacing_together
from henderson.results.parallel_tables import send_rows
from henderson.results.solution_tables import BLOCK, PARQUET_ABOVE, csv_options, number_array

Floats = NDArray[np.float64]

SCHEMA = pa.schema(
    [("record", pa.int64()), ("trait", pa.string())] + [(n, pa.float64()) for n in ("observed", "fitted", "residual")]
)


@dataclass(frozen=True)
class RecordValues:
    """Some records: row int64 (n,) of the files from 0; observed, fitted float64 (n, n_traits), NaN where unknown."""

    row: NDArray[np.int64]
    observed: Floats
    fitted: Floats


def fitted_records(operator: Operator, x: Vectors, row: NDArray[np.int64]) -> RecordValues:
    """Return W x of the records of this process, whose rows in the files are `row`. **Collective**.

    `x` has the owned elements of the solutions. Memory: 16 bytes a record and trait besides the result.
    """
    design = operator.design
    observed = np.column_stack(design.responses)
    columns = ColumnOperator(operator, 2)
    both = columns.zeros()
    unknown = _never_observed(operator)
    for p, (values, mine) in enumerate(zip(both, x, strict=True)):
        n = operator.n_owned[p]
        values[:n] = mine[:n, None]
        values[unknown[p], 1] = np.nan
    predicted = np.concatenate(columns.predict(both))  # partitions hold the records in order
    return RecordValues(row, observed, np.where(np.isnan(observed), predicted[:, :, 1], predicted[:, :, 0]))


def _never_observed(operator: Operator) -> list[NDArray[np.int64]]:
    """Return the owned elements of fixed effects that no observation has, by partition."""
    design = operator.design
    dependent = {g: [(level, k) for h, level, k in design.dropped if h == g] for g in range(len(design.groups))}
    found = []
    for partition in operator.partitions:
        elements = [np.empty(0, np.int64)]
        for g, local in enumerate(partition.layout.groups):
            if (kept := design.kept[g]) is None:
                continue
            gone = ~kept
            for at in dependent[g]:
                gone[at] = False  # what depends on others is zero beside them
            elements.append(local.first_owned + np.flatnonzero(gone[local.owned_levels()].ravel()))
        found.append(np.concatenate(elements))
    return found


def write_records(
    name: str,
    values: RecordValues,
    traits: Sequence[str],
    out: Path,
    communicator: Communicator,
    *,
    observed_only: bool,
    parquet_above: int = PARQUET_ABOVE,
) -> Path:
    """Return the path of ``name.csv``, or above `parquet_above` rows of ``name.parquet``. **Collective**.

    The Parquet file of several ranks is a folder with one file of each, which readers take for one table. What an
    earlier run left of the other format is removed. Memory: the records of this rank once more, and a block of rows;
    of CSV the text of its rows.
    """
    mine = _in_file_order(values, communicator)
    of_mine = int((~np.isnan(mine.observed)).sum()) if observed_only else mine.observed.size
    rows = int(communicator.sum(np.array([of_mine]))[0])
    csv_path, parquet_path = out / f"{name}.csv", out / f"{name}.parquet"
    path, other = (parquet_path, csv_path) if rows > parquet_above else (csv_path, parquet_path)
    batches = _batches(mine, traits, observed_only=observed_only)
    if path is csv_path:
        _write_csv(batches, traits, path, communicator)
    elif communicator.size == 1:
        with replacing(path) as part:
            _write_parquet(batches, part)
    else:
        with replacing_together(path, communicator, folder=True) as folder:
            _write_parquet(batches, folder / f"part-{communicator.rank:05d}.parquet")
    if communicator.rank == 0:
        remove(other)
    return path


def _in_file_order(values: RecordValues, communicator: Communicator) -> RecordValues:
    """Return the records of a contiguous range of the files, those of rank 0 first. **Collective**."""
    if communicator.size == 1:
        order = np.argsort(values.row, kind="stable")
        return RecordValues(values.row[order], values.observed[order], values.fitted[order])
    n_traits = values.observed.shape[1]
    stop = 1 - int(communicator.minimum(np.array([-values.row.max(initial=0)]))[0])
    shape = (n_traits,)
    packed = np.empty(
        len(values.row), [("row", np.int64), ("observed", np.float64, shape), ("fitted", np.float64, shape)]
    )
    packed["row"], packed["observed"], packed["fitted"] = values.row, values.observed, values.fitted
    received = send_rows(packed, values.row * communicator.size // stop, communicator)
    received = received[np.argsort(received["row"], kind="stable")]
    return RecordValues(*(np.ascontiguousarray(received[field]) for field in ("row", "observed", "fitted")))


def _batches(values: RecordValues, traits: Sequence[str], *, observed_only: bool) -> Iterator[pa.RecordBatch]:
    n = len(traits)
    names = pa.array(traits, pa.string())
    step = max(1, BLOCK // n)
    for start in range(0, len(values.row), step):
        block = slice(start, start + step)
        record = np.repeat(values.row[block] + 1, n)
        observed, fitted = values.observed[block].ravel(), values.fitted[block].ravel()
        trait = np.tile(np.arange(n, dtype=np.int32), len(record) // n)
        if observed_only:
            seen = ~np.isnan(observed)
            record, observed, fitted, trait = record[seen], observed[seen], fitted[seen], trait[seen]
        columns: list[Any] = [
            number_array(record, pa.int64()),
            names.take(pa.array(trait)),
            *(number_array(v, pa.float64()) for v in (observed, fitted, observed - fitted)),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _write_parquet(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=["trait"]) as parquet:
        for batch in batches:
            parquet.write_batch(batch)


def _write_csv(
    batches: Iterator[pa.RecordBatch], traits: Sequence[str], path: Path, communicator: Communicator
) -> None:
    quotes = any(set(trait) & set(',"\r\n') for trait in traits)
    sink = pa.BufferOutputStream()
    with pa_csv.CSVWriter(sink, SCHEMA, write_options=csv_options(quotes, header=communicator.rank == 0)) as csv:
        for batch in batches:
            csv.write_batch(batch)
    with replacing_together(path, communicator) as temporary:
        file = SharedFile(temporary, communicator)
        file.append(memoryview(sink.getvalue()).cast("B"))
        file.close()
