"""Reading the results of a run back: its record, its solutions, its variance components."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from henderson.errors import InputFileError, Problem

KEYS = ("factor", "subfactor", "level")
REMEDY = "name the --out folder of a finished run"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """The solutions of one sub-factor: its levels, and float64 of the same length by column (``value``, ...)."""

    factor: str
    subfactor: str
    levels: pa.StringArray
    columns: Mapping[str, Floats]

    @property
    def value(self) -> Floats:
        """Return the solutions."""
        return self.columns["value"]


def read_record(path: Path) -> dict[str, Any]:
    """Return the content of a `run.json`. Raises `InputFileError` if it is none."""
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict) or "inputs" not in record or "jobs" not in record:
            raise ValueError("it has no inputs and jobs")
    except FileNotFoundError:
        raise InputFileError(Problem("there is no such file", file=str(path), remedy=REMEDY)) from None
    except (OSError, ValueError) as error:
        raise InputFileError(Problem(f"not a record of a run ({error})", file=str(path), remedy=REMEDY)) from None
    return record


def read_effects(out: Path) -> dict[tuple[str, str], Effect]:
    """Return the solutions in a folder of results by factor and sub-factor, in the order of the file.

    Raises `InputFileError` if there are none, or they cannot be read. Memory: about twice the text of the levels and
    16 bytes for each solution.
    """
    return _effects_of(_read_table(out))


class EffectReader:
    """Reads the sub-factors in a folder of results one by one: of Parquet what is asked for, of CSV all at first."""

    def __init__(self, out: Path) -> None:
        self._out = out
        whole = solution_file(out).suffix != ".parquet"
        self._effects = read_effects(out) if whole else None

    def read(self, factor: str, subfactor: str) -> Effect | None:
        """Return the solutions of a sub-factor, None if there are none. Raises `InputFileError` as `read_effects`."""
        key = (factor, subfactor)
        if self._effects is not None:
            return self._effects.get(key)
        filters = [(name, "=", value) for name, value in zip(KEYS, key, strict=False)]
        return _effects_of(_read_table(self._out, filters)).get(key)


def _effects_of(table: pa.Table) -> dict[tuple[str, str], Effect]:
    effects: dict[tuple[str, str], Effect] = {}
    bounds = _runs(table)
    names = [n for n in table.column_names if n not in KEYS]
    for lo, hi in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part = table.slice(lo, hi - lo)
        factor, subfactor = (part[k][0].as_py() for k in KEYS[:2])
        columns = {n: np.asarray(part[n].cast(pa.float64()).to_numpy(), np.float64) for n in names}
        levels = _one_array(part["level"]).fill_null("")
        before = effects.get((factor, subfactor))
        if before is not None:  # of several processes, each with its part
            levels = pa.concat_arrays([before.levels, levels])
            columns = {n: np.concatenate([before.columns[n], columns[n]]) for n in names}
        effects[factor, subfactor] = Effect(factor, subfactor, levels, columns)
    return effects


def read_components(out: Path) -> dict[str, float]:
    """Return the estimates in `variances.json` by the name of the component; none if there is no such file."""
    path = variances_file(out)
    if not path.exists():
        return {}
    try:
        return {p["name"]: float(p["value"]) for p in json.loads(path.read_bytes())["parameters"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(Problem(f"cannot be read ({error!r})", file=str(path), remedy=REMEDY)) from None


def places(old: pa.Array, new: pa.Array) -> NDArray[np.int64]:
    """Return the row of `old` that has the label of each row of `new`, -1 if none."""
    from pyarrow.compute import index_in  # slow to import

    found = index_in(new, value_set=old)
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def solution_file(out: Path) -> Path:
    """Return the table of solutions in a folder of results. Raises `InputFileError` if there is none."""
    for name in ("solutions.csv", "solutions.parquet"):
        if (out / name).exists():
            return out / name
    raise InputFileError(Problem("there are no solutions (.csv or .parquet)", file=str(out), remedy=REMEDY))


def variances_file(out: Path) -> Path:
    """Return the file of variances in a folder of results."""
    return out / "variances.json"


def _read_table(out: Path, filters: list[tuple[str, str, str]] | None = None) -> pa.Table:
    path = solution_file(out)
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, filters=filters)
        types = {k: pa.string() for k in KEYS} | {"value": pa.float64()}
        options = pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=["", "NA"])
        return pa_csv.read_csv(path, convert_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFileError(Problem(f"cannot be read ({error})", file=str(path), remedy=REMEDY)) from None


def _runs(table: pa.Table) -> NDArray[np.int64]:
    """Return where each run of rows of one sub-factor begins, and the number of rows."""
    if not len(table):
        return np.zeros(1, np.int64)
    codes = []
    for key in KEYS[:2]:
        encoded = _one_array(table[key]).dictionary_encode()
        codes.append(np.asarray(encoded.indices.to_numpy(), np.int64))
    change = (np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)
    return np.concatenate([[0], np.flatnonzero(change) + 1, [len(table)]])


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    return whole.cast(pa.string())
