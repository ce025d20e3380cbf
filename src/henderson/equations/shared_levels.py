"""Levels of classes over several processes: each knows those of its own records, all agree on their numbers.

A class column of a process is *local*: its codes number the labels that its own records use, and only these labels are
here. `unite` gives the levels of a group the numbers that one process would give them: their place among the distinct
labels of all processes, sorted. All functions are **Collective**.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from henderson.equations.levels import ClassColumn, Codes, bytes_of, class_column, concatenate, union
from henderson.partitions.communicator import Communicator
from henderson.partitions.directory import fetch_rows, number_keys
from henderson.store.model_data import KnownRows, Labels, ModelData


def shared_class_column(data: ModelData, variable: str, communicator: Communicator) -> ClassColumn:
    """Return the class variable of the records at hand, local if there are several processes."""
    if communicator.size == 1:
        return class_column(data, variable)
    return class_column(data, variable, lambda column: localised(column, communicator))


def localised(column: ClassColumn, communicator: Communicator) -> ClassColumn:
    """Return the column with the labels that its codes use, fetched from the processes that read them."""
    levels, codes = distinct(column.codes, len(column.labels))
    rows = fetch_rows(levels, len(column.labels), lambda at: np.asarray(column.labels.values[at]), communicator)
    return ClassColumn(codes, Labels(rows), column.has_zero)


def distinct(codes: Codes, n_levels: int) -> tuple[NDArray[np.int64], Codes]:
    """Return the levels that `codes` use, ascending, and the codes into these; negative codes stay as they are.

    Cost: five bytes a level where levels are few, else a sort of the codes.
    """
    known = codes >= 0
    out = codes.copy()
    if n_levels <= 4 * len(codes) + 1024:
        seen = np.zeros(n_levels, np.bool_)
        seen[codes[known]] = True
        levels = np.flatnonzero(seen)
        out[known] = (np.cumsum(seen, dtype=np.int32) - 1)[codes[known]]
        return levels, out
    levels, position = np.unique(codes[known], return_inverse=True)
    out[known] = position.reshape(-1)
    return levels.astype(np.int64), out


def unite(columns: Sequence[ClassColumn], communicator: Communicator, everywhere: bool) -> tuple[Labels, list[Codes]]:
    """Return the sorted union of the levels of local columns, and each column's codes into it: `levels.union` of all.

    With `everywhere` all labels are given to every process; otherwise a process can look up those of its own columns
    alone, and `Labels` is as long as all.
    """
    if communicator.size == 1:
        return union(columns)
    text = bool(communicator.logical_or(np.array([any(len(c.labels) and not c.labels.is_integer for c in columns)]))[0])
    labels = concatenate([c.labels for c in columns])
    keys = _keys(labels, text, communicator)
    mine, position = np.unique(keys, return_inverse=True)
    numbering = number_keys(mine, communicator)
    codes = []
    start = 0
    for column in columns:
        stop = start + len(column.labels)
        table = np.append(numbering.numbers[position.reshape(-1)[start:stop]], -1).astype(np.int32)
        codes.append(table[np.maximum(column.codes, -1)])  # code -1 is the last entry
        start = stop
    if everywhere:
        return Labels(_rows(communicator.gather_rows(numbering.held))), codes
    known = KnownRows(numbering.total, numbering.numbers, _rows(mine))
    return Labels(cast("NDArray[Any]", known)), codes


def _keys(labels: Labels, text: bool, communicator: Communicator) -> NDArray[Any]:
    """Return the labels as keys of one type on all processes: integers, or bytes of the greatest width."""
    if not text:
        return np.asarray(labels.values, np.int64) if labels.is_integer else np.zeros(len(labels), np.int64)
    packed = bytes_of(labels)
    return packed.astype(f"S{max(communicator.gather_all(packed.dtype.itemsize))}")


def _rows(keys: NDArray[Any]) -> NDArray[Any]:
    """Return keys as `Labels` hold them."""
    if keys.dtype.kind != "S":
        return keys
    return np.ascontiguousarray(keys).view(np.uint8).reshape(len(keys), keys.dtype.itemsize)
