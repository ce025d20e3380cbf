"""The matrix Q of genetic groups as files: lmt's ``qfile`` in its three suffixes.

lmt's layouts are not published; these are ours. Animals are in the order of the pedigree file, groups are its first
rows, and the groups themselves are among the animals.

.coocsv
    Text: ``i,j,value``, then a line for each fraction that is not zero: ids of animal and group, fraction.
.blkcsv
    Text, three blocks, each begun by ``#name,rows,columns``: ``id`` (an id a line), ``group`` (ids of the groups, one
    a line), ``q`` (the fractions of an animal a line).
.bin
    Little-endian: two int64 (animals, groups), then the fractions as float64, animal by animal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from henderson.language.spec import ModelSpec
from henderson.results.files import replacing
from henderson.results.solution_tables import csv_options, labels_to_arrow, needs_quotes
from henderson.store.model_data import Labels
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

if TYPE_CHECKING:
    from henderson.store.stored_array import StoredArray

ROWS = 1 << 17  # animals at a time


@dataclass(frozen=True)
class _Fractions:
    """Q of a store: labels and fractions are read where they are asked for; `order`: rows in the order of the file."""

    labels: Labels
    groups: Labels
    order: NDArray[np.int64]
    Q: StoredArray


def write_group_files(spec: ModelSpec, store: Path, out: Path) -> tuple[Path, ...]:
    """Return the files of Q that the pedigrees of `spec` ask for, written into the folder `out`.

    Memory: a block of `ROWS` animals, and an index of all.
    """
    files = []
    for declared in spec.pedigrees:
        if declared.qfile is None:
            continue
        path = out / Path(declared.qfile).name
        write = {".coocsv": _write_triplets, ".blkcsv": _write_blocks, ".bin": _write_binary}[path.suffix]
        with replacing(path) as part:
            write(_open(store, declared.name), part)
        files.append(path)
    return tuple(files)


def _open(store: Path, name: str) -> _Fractions:
    parts, group = StoreParts(store), group_path("pedigree", name)
    labels = parts.labels(group)
    groups = labels.take(parts.array(f"{group}/groups")[:])
    order = np.argsort(parts.array(f"{group}/row")[:], kind="stable")
    return _Fractions(labels, groups, order, parts.array(f"{group}/group_fraction"))


def _blocks(fractions: _Fractions) -> Iterator[tuple[Labels, NDArray[np.float64]]]:
    """Yield labels and fractions of some animals at a time, in the order of the file."""
    for start in range(0, len(fractions.order), ROWS):
        rows = fractions.order[start : start + ROWS]
        yield fractions.labels.take(rows), fractions.Q[rows]


def _write_triplets(fractions: _Fractions, path: Path) -> None:
    quotes = any(needs_quotes(labels) for labels, _ in _blocks(fractions))
    options = csv_options(quotes, header=True)
    schema = pa.schema([("i", pa.string()), ("j", pa.string()), ("value", pa.float64())])
    groups = labels_to_arrow(fractions.groups)
    with pa_csv.CSVWriter(path, schema, write_options=options) as csv:
        for labels, Q in _blocks(fractions):
            i, j = np.nonzero(Q)
            columns = [labels_to_arrow(labels).take(pa.array(i)), groups.take(pa.array(j)), pa.array(Q[i, j])]
            csv.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _write_blocks(fractions: _Fractions, path: Path) -> None:
    n, groups = len(fractions.order), fractions.groups.text()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"#id,{n},1\n")
        for labels, _ in _blocks(fractions):
            file.writelines(f"{label}\n" for label in labels.text())
        file.write(f"#group,{len(groups)},1\n")
        file.writelines(f"{label}\n" for label in groups)
        file.write(f"#q,{n},{len(groups)}\n")
        for _, Q in _blocks(fractions):
            file.writelines(",".join(map(repr, row)) + "\n" for row in Q.tolist())


def _write_binary(fractions: _Fractions, path: Path) -> None:
    with path.open("wb") as file:
        file.write(np.array([len(fractions.order), len(fractions.groups)], "<i8").tobytes())
        for _, Q in _blocks(fractions):
            file.write(np.ascontiguousarray(Q, "<f8").tobytes())
