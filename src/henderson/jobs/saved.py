"""The results of a finished run, read where they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from henderson.jobs.tables import Key, SolutionTables
from henderson.results.lazy_columns import LazyColumn, Pieces, column_names, pieces_of
from henderson.results.solution_files import Effect, read_components, read_effects, read_record, solution_file


@dataclass(frozen=True)
class Saved(SolutionTables):
    """The results in a folder. `record` is the content of `run.json`.

    Of many solutions (``solutions.parquet``) only those that are asked for are read.
    """

    out: Path
    record: dict[str, Any]

    @property
    def subfactors(self) -> tuple[Key, ...]:
        """Return (factor, sub-factor) of all solutions, in their order."""
        return tuple(self._effects if self._pieces is None else self._pieces)

    @property
    def components(self) -> pd.Series:
        """Return the estimates of the variance components by name; empty if the run had no reml job."""
        return pd.Series(read_components(self.out), dtype=float, name="component")

    @cached_property
    def _pieces(self) -> Pieces | None:
        path = solution_file(self.out)
        return pieces_of(path) if path.suffix == ".parquet" else None

    @cached_property
    def _effects(self) -> dict[Key, Effect]:
        return read_effects(self.out)

    def _levels(self, key: Key) -> pa.Array:
        return self._effects[key].levels if self._pieces is None else LazyColumn(self._pieces[key], "level").text()

    def _same_levels(self, one: Key, other: Key) -> bool:
        if self._pieces is None:
            return super()._same_levels(one, other)
        return LazyColumn(self._pieces[one], "level").same_text(LazyColumn(self._pieces[other], "level"))

    def _columns(self, key: Key) -> dict[str, Any]:
        if self._pieces is None:
            return dict(self._effects[key].columns)
        pieces = self._pieces[key]
        return {name: LazyColumn(pieces, name) for name in column_names(pieces)}


def read(out: str | Path) -> Saved:
    """Return the results in the folder of a finished run (``--out``). Raises `InputFileError` if there are none."""
    folder = Path(out)
    solution_file(folder)
    return Saved(folder, read_record(folder / "run.json"))
