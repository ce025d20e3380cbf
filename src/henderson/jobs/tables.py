"""Solutions as pandas and xarray objects, whether they are in memory or in the files of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from henderson.errors import Problem, UsageError, unknown
from henderson.results.arrays import dataset, require_xarray

if TYPE_CHECKING:
    import xarray

Key = tuple[str, str]  # factor, sub-factor


class SolutionTables(ABC):
    """Solutions by factor and sub-factor: what they are as tables and arrays."""

    record: dict[str, Any]

    @property
    @abstractmethod
    def subfactors(self) -> tuple[Key, ...]:
        """Return (factor, sub-factor) of all solutions, in their order."""

    @abstractmethod
    def _levels(self, key: Key) -> pa.Array:
        """Return the names of the levels."""

    @abstractmethod
    def _columns(self, key: Key) -> dict[str, Any]:
        """Return, by name, what is indexed like float64 of the levels: value and, when computed, se, reliability..."""

    @property
    def solutions(self) -> pd.DataFrame:
        """Return all solutions: see `to_pandas`."""
        return self.to_pandas()

    def effect(self, subfactor: str) -> pd.DataFrame:
        """Return the solutions of one sub-factor, indexed by level.

        Raises `KeyError` with the names that there are.
        """
        for key in self.subfactors:
            if key[1] == subfactor:
                return self._frame(key).drop(columns=["factor", "subfactor"]).set_index("level")
        raise KeyError(f"no sub-factor {subfactor!r}; there are {', '.join(k[1] for k in self.subfactors)}")

    def to_pandas(self, factor: str | None = None) -> pd.DataFrame:
        """Return one row per kept level: factor, subfactor, level, value and, when computed, se and reliability.

        factor: this one alone. Raises `UsageError` if there is no such factor. Memory: some 100 bytes a row.
        """
        return pd.concat([self._frame(key) for key in self._keys(factor)], ignore_index=True)

    def to_xarray(self, factor: str, *, levels: bool = True) -> xarray.Dataset:
        """Return the solutions of a factor with dimensions (animal, effect, trait); needs the extra `xarray`.

        The first dimension is ``level`` if no pedigree relates the levels. An effect is what a solution is a
        coefficient of: a class column, a covariate, ``covariate.k`` for its k-th polynomial; the coordinate
        ``subfactor`` names the sub-factor of each effect and trait. Of a run's ``solutions.parquet`` only what is
        indexed is read, blocks of rows at a time (`Dataset.chunk` hands that to Dask).

        levels: False leaves out the names of the levels, which take most of the memory: some 60 bytes each. Raises
        `UsageError` if xarray is not there, there is no such factor, or its sub-factors have different levels.
        """
        require_xarray()
        keys = self._keys(factor)
        columns = {key: self._columns(key) for key in keys}
        size = {key: len(of["value"]) for key, of in columns.items()}
        if len(set(size.values())) > 1 or (levels and any(not self._same_levels(keys[0], key) for key in keys[1:])):
            remedy = "take them one at a time, .effect(name), or as a table, .to_pandas(factor)"
            raise UsageError(Problem(f"the sub-factors of {factor!r} have different levels", remedy=remedy))
        names = list(columns[keys[0]])
        return dataset(
            self.record["config"]["model"],
            factor,
            {name: {key[1]: columns[key][name] for key in keys if name in columns[key]} for name in names},
            self._levels(keys[0]).to_pylist() if levels else None,
        )

    def _same_levels(self, one: Key, other: Key) -> bool:
        return bool(self._levels(one).equals(self._levels(other)))

    def _keys(self, factor: str | None) -> list[Key]:
        keys = [key for key in self.subfactors if factor is None or key[0] == factor]
        if not keys:
            raise UsageError(unknown("factor", str(factor), list(dict.fromkeys(k[0] for k in self.subfactors))))
        return keys

    def _frame(self, key: Key) -> pd.DataFrame:
        columns = {name: column[:] for name, column in self._columns(key).items()}
        levels = self._levels(key).to_pandas()
        return pd.DataFrame({"factor": key[0], "subfactor": key[1], "level": levels, **columns})
