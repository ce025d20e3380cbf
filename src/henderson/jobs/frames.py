"""Data frames as files of a temporary folder, so that they are read, checked and recoded like any other file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from henderson.errors import InputFileError, Problem, UsageError
from henderson.ingest.parquet import as_text

Frame = pd.DataFrame
File = Frame | str | Path
Tables = dict[str, dict[str, Any]]


def records_table(data: File, folder: Path) -> dict[str, Any]:
    """Return the table ``[data]`` of records; a frame is written to `folder` first."""
    return {"records": str(_file(data, folder / "data.parquet", "data"))}


def numbered_classes(data: File, text: str) -> list[str]:
    """Return the categorical columns of a frame whose categories are numbers, and whose name occurs in `text`."""
    if not isinstance(data, Frame):
        return []
    return [
        str(name)
        for name, dtype in data.dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype)
        and pd.api.types.is_numeric_dtype(dtype.categories.dtype)
        and re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", text)
    ]


def as_levels(values: pd.Series) -> list[str]:
    """Return values as the levels that a column of a frame gets when it is a class."""
    import pyarrow as pa

    found: list[str] = as_text(_column(values, pa)).to_pylist()
    return found


def pedigree_tables(pedigree: Any, folder: Path) -> Tables:
    """Return the tables ``[pedigree.NAME]`` of one pedigree, named ``ped``, or of several by name.

    A pedigree is a frame or file (id, sire, dam first), or a mapping with that as ``file`` and the switches of the
    parameter file.
    """
    return {
        name: table | {"file": str(_file(table["file"], folder / f"pedigree_{number}.parquet", f"pedigree {name!r}"))}
        for number, (name, table) in enumerate(_named(pedigree, "ped", "pedigree").items())
    }


def matrix_tables(matrix: Any, folder: Path) -> Tables:
    """Return the tables ``[matrix.NAME]`` of user matrices by name; a frame has the ids as index and columns."""
    return {
        name: table | {"file": str(_matrix(table["file"], folder / f"matrix_{number}.csv"))}
        for number, (name, table) in enumerate(_named(matrix, "K", "matrix").items())
    }


def _named(given: Any, default: str, what: str) -> Tables:
    """Return what is given as tables with a ``file`` each, by name."""
    if given is None:
        return {}
    if isinstance(given, (Frame, str, Path)) or (isinstance(given, Mapping) and "file" in given):
        given = {default: given}
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} must be a DataFrame, a file, or several by name, not {type(given).__name__}")
    tables = {}
    for name, value in given.items():
        table = dict(value) if isinstance(value, Mapping) else {"file": value}
        if not isinstance(table.get("file"), (Frame, str, Path)):
            raise UsageError(f"{what} {name!r} must be a DataFrame or a file, or have one as 'file'")
        tables[str(name)] = table
    return tables


def _file(given: File, path: Path, what: str) -> Path:
    if not isinstance(given, Frame):
        if not isinstance(given, (str, Path)):
            raise UsageError(f"{what} must be a DataFrame or a file, not {type(given).__name__}")
        return Path(given).absolute()
    import pyarrow as pa
    import pyarrow.parquet as pq

    if len(given) == 0:
        raise InputFileError(Problem(f"{what}: the DataFrame has no rows"))
    if twice := sorted({str(c) for c in given.columns[given.columns.duplicated()]}):
        raise InputFileError(Problem(f"{what}: several columns of the DataFrame are called {', '.join(twice)}"))
    columns = [_column(given[name], pa) for name in given.columns]
    pq.write_table(pa.Table.from_arrays(columns, names=[str(c) for c in given.columns]), path)
    return path


def _column(values: pd.Series, pa: Any) -> Any:
    """Return a column for Arrow: values of mixed types as text, whole numbers as integers though some are missing."""
    if pd.api.types.is_float_dtype(values.dtype):
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        known = np.isfinite(numbers)
        filled = np.where(known, numbers, 0.0)
        if known.any() and not known.all() and np.all((filled == np.floor(filled)) & (np.abs(filled) < 2**53)):
            return pa.array(filled.astype(np.int64), mask=~known)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        values = values.dt.as_unit("us")  # times are written alike in whatever unit a frame has them
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.Array.from_pandas(values.map(str, na_action="ignore"))


def _matrix(given: File, path: Path) -> Path:
    if not isinstance(given, Frame):
        return Path(given).absolute()
    if list(given.columns) == ["i", "j", "value"]:
        given.to_csv(path, index=False)
    else:
        given.to_csv(path, index_label="id")
    return path


def plain(value: Any) -> Any:
    """Return arrays, frames, tuples and NumPy numbers as what a TOML file holds."""
    if isinstance(value, Frame):
        return plain(value.to_numpy())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
