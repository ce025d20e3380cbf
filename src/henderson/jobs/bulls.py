"""Bulls and their daughters before and after a cut-off: what method III of `results.trend_validation` compares."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from henderson.jobs.animal_columns import read_columns
from henderson.results.solution_files import places
from henderson.results.trend_validation import years_added
from henderson.store.model_data import Pedigree

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

LEAST_DAUGHTERS = 10  # with records before the cut-off
_DATE = r"^(?P<y>\d{4})(?:-(?P<m>\d\d)(?:-(?P<d>\d\d))?)?"

log = logging.getLogger(__name__)


def daughters_of_bulls(
    pedigree: Pedigree, early: Mask, ever: Mask, year: Floats, least: int = LEAST_DAUGHTERS
) -> tuple[Indices, Floats]:
    """Return bulls with `least` daughters or more in the earlier data, and their t: see `results.trend_validation`.

    early, ever: individuals with records in the earlier data, in all; year: of the first record, counted from 1 after
    the cut-off. A daughter is progeny with a record, of either sex. Cost: a few passes over the individuals.
    """
    n = len(pedigree)
    with_sire = pedigree.sire >= 0
    sire = pedigree.sire.astype(np.int64)
    before = np.bincount(sire[early & with_sire], minlength=n)
    total = np.bincount(sire[ever & with_sire], minlength=n)
    new = np.flatnonzero(ever & ~early & with_sire)
    t = years_added(sire[new], year[new], total.astype(np.float64), n)
    bulls = np.flatnonzero(before >= least)
    return bulls, t[bulls]


def years_after(cutoff: dict[str, Any], files: Iterable[tuple[Path, str]], ids: pa.Array) -> Floats:
    """Return the year after the cut-off, from 1, of the first record of each individual; 1 where it is not known.

    cutoff: column, value and whether it is numeric, as in `run.json`; files: of the records, each with its column of
    individuals. Years are units of a column of numbers, but for such as 20150701, which are dates. Memory: two columns.
    """
    first = np.full(len(ids), np.inf)
    start = float(_years(pa.array([cutoff["value"]]), cutoff["numeric"])[0])
    for path, key in files:
        try:
            table = read_columns(path, [key, cutoff["column"]])
        except (OSError, KeyError, pa.ArrowInvalid) as error:
            log.warning("%s: dates cannot be read (%s); daughters count as those of the first year", path, error)
            continue
        when = _years(table[cutoff["column"]].combine_chunks(), cutoff["numeric"])
        rows = places(ids, table[key].combine_chunks().cast(pa.string()))
        known = (rows >= 0) & np.isfinite(when) & (when >= start)
        np.minimum.at(first, rows[known], when[known])
    return np.where(np.isfinite(first), np.floor(first - start) + 1.0, 1.0)


def _years(values: pa.Array, numeric: bool) -> Floats:
    """Return dates as years, NaN where there is none."""
    if not numeric:
        parts = pc.extract_regex(values.cast(pa.string()), _DATE)
        year, month, day = (_numbers(pc.struct_field(parts, [k])) for k in range(3))
    else:
        number = _numbers(values)
        as_date = (number >= 1e7) & (number < 1e8)
        digits = np.where(as_date, number, 0.0)
        year = np.where(as_date, digits // 10_000, number)
        month, day = (np.where(as_date, d, np.nan) for d in (digits // 100 % 100, digits % 100))
    month, day = np.where(np.isnan(month), 1.0, month), np.where(np.isnan(day), 1.0, day)
    return np.asarray(year + (month - 1.0) / 12.0 + (day - 1.0) / 365.25)


def _numbers(values: pa.Array) -> Floats:
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.if_else(pc.match_substring_regex(values, r"^\s*-?[\d.]+\s*$"), values, None)
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
