"""The coefficients of records as rows of a small table, where covariates have few different values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.store.columns import Coded

Floats = NDArray[np.float64]
Rows = NDArray[np.uint16] | NDArray[np.uint32]

MOST = 1 << 22  # combinations of values that are looked at
CHUNK = 1 << 20  # records at a time


def coefficient_rows(design: Design, start: int, stop: int) -> tuple[Rows | None, Floats]:
    """Return the row of each of the records start..stop, and the table (n_rows, n_coefficients).

    A row is a combination of values that occurs; None, and a row for each record, where a covariate has no codes or
    combinations are nearly as many as records. Memory: 2 or 4 bytes a record beside the table.
    """
    columns: list[Any] = list(design.coefficients)
    n, n_records = len(columns), stop - start
    if not n:
        return None, np.empty((n_records, 0))
    codes: list[NDArray[np.unsignedinteger[Any]]] = []
    sizes: list[int] = []
    family = []
    for column in columns:
        if not isinstance(column, Coded):
            return None, _dense(columns, start, stop)
        known = next((k for k, c in enumerate(codes) if c is column.codes), None)
        if known is None:
            known = len(codes)
            codes.append(column.codes)
            sizes.append(len(column.table))
        family.append(known)
    n_combinations = int(np.prod([float(s) for s in sizes]))
    if n_combinations > MOST:
        return None, _dense(columns, start, stop)
    occurs = np.zeros(n_combinations, np.bool_)
    for lo in range(start, stop, CHUNK):
        occurs[_joint(codes, sizes, lo, min(lo + CHUNK, stop))] = True
    present = np.flatnonzero(occurs)
    if 2 * len(present) > n_records:
        return None, _dense(columns, start, stop)
    number = np.zeros(n_combinations, np.uint16 if len(present) <= 1 << 16 else np.uint32)
    number[present] = np.arange(len(present))
    rows = np.empty(n_records, number.dtype)
    for lo in range(start, stop, CHUNK):
        hi = min(lo + CHUNK, stop)
        rows[lo - start : hi - start] = number[_joint(codes, sizes, lo, hi)]
    at = np.unravel_index(present, sizes)
    table = np.column_stack([column.table[at[k]] for column, k in zip(columns, family, strict=True)])
    return rows, np.ascontiguousarray(table)


def _joint(codes: list[NDArray[np.unsignedinteger[Any]]], sizes: list[int], lo: int, hi: int) -> NDArray[np.int64]:
    """Return the number of the combination of each of the records lo..hi."""
    joint = codes[0][lo:hi].astype(np.int64)
    for more, size in zip(codes[1:], sizes[1:], strict=True):
        joint *= size
        joint += more[lo:hi]
    return joint


def _dense(columns: list[Any], start: int, stop: int) -> Floats:
    out = np.empty((stop - start, len(columns)))
    for c, values in enumerate(columns):
        for lo in range(start, stop, CHUNK):
            hi = min(lo + CHUNK, stop)
            out[lo - start : hi - start, c] = values[lo:hi]
    return out
