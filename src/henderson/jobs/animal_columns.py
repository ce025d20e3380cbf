"""Columns that tell something of animals beside the model, such as sex and year of birth, from the files of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from henderson.errors import InputFileError
from henderson.ingest.header import source_of
from henderson.results.solution_files import places

SEX = ("sex", "gender")
BORN = (
    *("birth_year", "birthyear", "year_of_birth", "yob", "byear"),
    *("born", "birth_date", "birthdate", "date_of_birth", "birth"),
)

log = logging.getLogger(__name__)


def find_column(files: Iterable[tuple[Path, str | int]], names: Sequence[str]) -> tuple[Path, str, str] | None:
    """Return the first file with one of the columns `names` (any case), its column of ids, and that column.

    files: each with the name, or place, of its column of ids.
    """
    for path, ids in files:
        try:
            columns = source_of(path, str(path)).names
        except InputFileError:
            continue
        by_lower = {c.lower(): c for c in columns}
        hit = next((by_lower[n.lower()] for n in names if n.lower() in by_lower), None)
        key = columns[ids] if isinstance(ids, int) else ids
        if hit is not None and key in columns and key != hit:
            return path, key, hit
    return None


def column_of(
    path: Path, key: str, column: str, ids: pa.Array, *, year: bool = False
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different values of a column, sorted, and the place in them of each of `ids`, -1 if it has none.

    The first row of an animal counts. year: of a date the four digits of its year, wherever they are.
    """
    import pyarrow.compute as pc  # slow to import

    try:
        table = read_columns(path, [key, column])
    except (OSError, pa.ArrowInvalid) as error:
        log.warning("%s: column %r cannot be read (%s); it is left out", path, column, error)
        return [], np.full(len(ids), -1)
    values = table[column].combine_chunks().cast(pa.string())
    if year:
        values = pc.struct_field(pc.extract_regex(values, r"(?P<year>(?:1[89]|20)\d\d)"), [0])
    known = pc.and_(pc.is_valid(values), pc.not_equal(pc.fill_null(values, ""), ""))
    keys = table[key].combine_chunks().cast(pa.string()).filter(known)
    rows = places(keys, ids)
    if len(rows) and (rows < 0).all():  # 007 of a file is 7 where all ids are integers
        keys = _as_integers(keys)
        rows = places(keys, ids)
    encoded = pc.dictionary_encode(values.filter(known))
    labels = encoded.dictionary.to_pylist()
    order = np.argsort(np.array(labels, dtype=np.str_), kind="stable")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels))
    codes = rank[np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)]
    found = np.where(rows >= 0, codes[np.maximum(rows, 0)], -1) if len(codes) else np.full(len(ids), -1)
    return [labels[k] for k in order.tolist()], found


def _as_integers(keys: pa.Array) -> pa.Array:
    try:
        return keys.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:
        return keys


def read_columns(path: Path, columns: list[str]) -> pa.Table:
    """Return columns of a file, of CSV as text. Raises `OSError` or `pa.ArrowInvalid` if they cannot be read."""
    source = source_of(path, str(path))
    if source.format == "parquet":
        return pq.read_table(path, columns=columns)
    read = pa_csv.ReadOptions(column_names=list(source.names), skip_rows=source.lines)
    types = pa_csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True
    )
    return pa_csv.read_csv(path, read_options=read, convert_options=types)
