"""Levels of classes: their union over variables, their order, and interactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.store.model_data import ZERO, Labels, ModelData

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class ClassColumn:
    """A class variable: `codes` per record into `labels`, -1 where there is none; `has_zero`: ZERO is level ``0``."""

    codes: Codes
    labels: Labels
    has_zero: bool = False


def class_column(
    data: ModelData, variable: str, localise: Callable[[ClassColumn], ClassColumn] | None = None
) -> ClassColumn:
    """Return a class variable: a column, a related column, the literal ``1``, or an interaction ``a:b``.

    `localise` is what is done to each column of the data (see `shared_levels`).
    """
    records = data.records
    if variable == "1":
        return ClassColumn(np.zeros(len(records), np.int32), Labels(np.array([1], np.int64)))
    if variable in records.classes:
        return _local(ClassColumn(records.classes[variable], data.levels[variable]), localise)
    related = [key for key in records.related if key[0] == variable]
    if related:
        key = next((k for k in related if k[1] in data.pedigrees), related[0])
        owner = data.pedigrees[key[1]] if key[1] in data.pedigrees else data.matrices[key[1]]
        return _local(ClassColumn(records.related[key], owner.labels, has_zero=True), localise)
    if ":" in variable:
        return _interaction([class_column(data, part, localise) for part in variable.split(":")])
    raise KeyError(variable)


def _local(column: ClassColumn, localise: Callable[[ClassColumn], ClassColumn] | None) -> ClassColumn:
    return column if localise is None else localise(column)


def seen_levels(column: ClassColumn, counts: NDArray[np.bool_] | None = None) -> ClassColumn:
    """Return the column with only the levels seen on the records that `counts`, without `has_zero`; codes recoded.

    Levels keep their order; the level ``0`` of ZERO codes comes last (or joins a level already called 0).
    """
    n = len(column.labels)
    used = column.codes if counts is None else column.codes[counts]
    seen = np.zeros(n, np.bool_)
    seen[used[used >= 0]] = True
    kept = np.flatnonzero(seen)
    labels = column.labels.take(kept)
    zero = column.has_zero and bool(np.any(used == ZERO))
    table = np.full(n + 2, -1, np.int32)  # codes -2 and -1 are the last two entries
    table[kept] = np.arange(len(kept), dtype=np.int32)
    if zero:
        table[ZERO] = len(kept)
        labels = concatenate([labels, Labels(np.array([0], np.int64))])
    if len(kept) == n and not zero:
        return ClassColumn(column.codes, labels)
    return ClassColumn(table[column.codes], labels)


def union(columns: Sequence[ClassColumn]) -> tuple[Labels, list[Codes]]:
    """Return the sorted union of the columns' levels, and each column's codes into it.

    Integers ascend if all labels are integers, otherwise labels compare as text by code point.
    """
    labels = concatenate([c.labels for c in columns])
    keys = _keys(labels)
    if len(columns) == 1 and (len(keys) < 2 or bool(np.all(keys[1:] > keys[:-1]))):
        return labels, [columns[0].codes]
    _, first, position = np.unique(keys, return_index=True, return_inverse=True)
    codes = []
    start = 0
    for column in columns:
        stop = start + len(column.labels)
        table = np.append(position[start:stop], -1).astype(np.int32)  # code -1 is the last entry
        codes.append(table[np.maximum(column.codes, -1)])
        start = stop
    return labels.take(first), codes


def concatenate(parts: Sequence[Labels]) -> Labels:
    """Return the labels one after the other: integers if all are, else text."""
    filled = [p for p in parts if len(p)] or list(parts[:1])
    if len(filled) == 1:
        return filled[0]
    if all(p.is_integer for p in filled):
        return Labels(np.concatenate([p.values for p in filled]).astype(np.int64))
    return _pack(np.concatenate([bytes_of(p) for p in filled]))


def bytes_of(labels: Labels) -> NDArray[np.bytes_]:
    """Return the labels as UTF-8 byte strings; their order is that of the code points."""
    if labels.is_integer:
        return np.asarray(labels.values).astype(np.bytes_)
    width = max(1, labels.values.shape[1])
    if labels.values.shape[1] == 0:
        return np.zeros(len(labels), "S1")
    return np.ascontiguousarray(labels.values).view(f"S{width}").ravel()


def _keys(labels: Labels) -> NDArray[Any]:
    return np.asarray(labels.values) if labels.is_integer else bytes_of(labels)


def _pack(text: NDArray[np.bytes_]) -> Labels:
    return Labels(np.ascontiguousarray(text).view(np.uint8).reshape(len(text), text.dtype.itemsize))


def _interaction(parts: Sequence[ClassColumn]) -> ClassColumn:
    """Return the combinations that occur, labels joined by ``:``; a record without one of the parts has none."""
    parts = [_with_zero(p) for p in parts]
    codes = parts[0].codes.astype(np.int64)
    text = bytes_of(parts[0].labels)
    for part in parts[1:]:
        n = max(1, len(part.labels))
        joint = np.where((codes < 0) | (part.codes < 0), -1, codes * n + part.codes)
        pairs, inverse = np.unique(joint, return_inverse=True)
        missing = int(len(pairs) > 0 and pairs[0] < 0)
        codes = inverse.reshape(-1) - missing
        pairs = pairs[missing:]
        left = np.strings.add(text[pairs // n], b":")
        text = np.strings.add(left, bytes_of(part.labels)[pairs % n])
    return ClassColumn(codes.astype(np.int32), _pack(text) if len(text) else Labels(np.zeros((0, 1), np.uint8)))


def _with_zero(column: ClassColumn) -> ClassColumn:
    """Return the column with ZERO codes as the level ``0`` and every other negative code as -1."""
    return seen_levels(column) if column.has_zero else column
