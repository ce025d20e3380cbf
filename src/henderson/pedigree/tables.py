"""The tables of a pedigree as CSV files, written in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from henderson.pedigree.order import permute, topological_order
from henderson.store.model_data import Labels, Pedigree

BLOCK = 1_000_000
_NEEDS_QUOTES = np.frombuffer(b',"\n\r', dtype=np.uint8)

Columns = Callable[[slice], Mapping[str, pa.Array]]


def write_tables(pedigree: Pedigree, out: Path) -> None:
    """Write ``pedigree_sorted.csv``, ``pedigree_crossref.csv`` and ``inbreeding.csv`` into `out`.

    The sorted pedigree (id, sire, dam; 0 unknown) has parents before progeny; the cross-reference numbers its rows from
    1 and gives parents by these numbers, 0 unknown. Inbreeding keeps the order of `pedigree`.
    Cost: a sorted copy of the pedigree, and some 100 bytes for each animal of a block.
    """
    labels = pedigree.labels
    quoted = not labels.is_integer and bool(np.isin(labels.values, _NEEDS_QUOTES).any())
    _write(
        out / "inbreeding.csv",
        len(pedigree),
        lambda rows: {
            "id": id_column(labels, np.arange(rows.start, rows.stop)),
            "inbreeding": pedigree.inbreeding[rows],
        },
        quoted=quoted,
    )
    ordered = permute(pedigree, topological_order(pedigree.generation))
    _write(
        out / "pedigree_sorted.csv",
        len(ordered),
        lambda rows: {
            "id": id_column(ordered.labels, np.arange(rows.start, rows.stop)),
            "sire": id_column(ordered.labels, ordered.sire[rows]),
            "dam": id_column(ordered.labels, ordered.dam[rows]),
        },
        quoted=quoted,
    )
    _write(
        out / "pedigree_crossref.csv",
        len(ordered),
        lambda rows: {
            "index": np.arange(rows.start, rows.stop) + 1,
            "id": id_column(ordered.labels, np.arange(rows.start, rows.stop)),
            "sire_index": ordered.sire[rows] + 1,
            "dam_index": ordered.dam[rows] + 1,
            "generation": ordered.generation[rows],
            "inbreeding": ordered.inbreeding[rows],
            "mendelian_variance": ordered.mendelian_variance[rows],
        },
        quoted=quoted,
    )


def id_column(labels: Labels, rows: NDArray[np.integer]) -> pa.Array:
    """Return the ids of `rows` as an Arrow column, 0 where the row is -1."""
    unknown = rows < 0
    values = labels.values[np.where(unknown, 0, rows)]
    if labels.is_integer:
        values[unknown] = 0
        return pa.array(values)
    values[unknown] = 0
    values[unknown, 0] = ord("0")
    used = values != 0  # UTF-8 has no zero bytes, so padding is all that is left out
    offsets = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(used.sum(axis=1), out=offsets[1:])
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(values[used]))


def _write(path: Path, n: int, columns: Columns, *, quoted: bool) -> None:
    """Write `n` rows in blocks; text is quoted only if some id needs it."""
    options = pa_csv.WriteOptions(quoting_style="needed" if quoted else "none", quoting_header="none")
    schema = pa.table(dict(columns(slice(0, 0)))).schema
    with pa_csv.CSVWriter(path, schema, write_options=options) as writer:
        for start in range(0, n, BLOCK):
            writer.write_table(pa.table(dict(columns(slice(start, min(start + BLOCK, n))))))
