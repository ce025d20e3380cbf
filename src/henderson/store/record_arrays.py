"""Any columns of any records of a store, as the store holds them or as the model names them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from henderson.errors import Problem, StoreError
from henderson.store.columns import Coded, Observed
from henderson.store.model_data import Records
from henderson.store.record_layout import RecordLayout
from henderson.store.schema import REMEDY, RecordColumns, records_path
from henderson.store.shards import ShardedArray
from henderson.store.stored_array import StoredArray

Column = tuple[str, ...]
DOUBLE = np.dtype(np.float64)


def record_columns(model: Mapping[str, Any]) -> RecordColumns:
    """Return the columns of the records from the attribute ``model``."""
    return RecordColumns(
        responses=tuple(model["responses"]),
        covariates=tuple(model["covariates"]),
        weights=model["weights"],
        classes=tuple(model["classes"]),
        related=tuple((c, n) for c, n in model["related"]),
    )


class RecordArrays:
    """The columns of the records of a store with these attributes; may be read by many threads at once.

    As the store holds them: ``("row",)`` int64, row of the files; ``("pattern",)`` uint8 or uint16, see `patterns`;
    ``("value", k)``, k = "0", "1", ... to `n_values`: float64, the k-th observation of a record, NaN where it has
    fewer; ``("code", covariate)`` uint8 or uint16, a place in its `table`; ``("class", column)`` int32, a level;
    ``("related", column, name)`` int32, an individual of a pedigree or matrix.

    As the model names them, float64, NaN where missing: ``("response", trait)``, ``("covariate", column)``, and
    ``("weight",)``.
    """

    def __init__(self, path: Path, attributes: Mapping[str, Any]) -> None:
        self.path = path
        self.columns = record_columns(attributes["model"])
        self.layout = RecordLayout.from_json(self.columns, attributes["layout"])
        self.n_records = int(attributes["n_records"])
        self._arrays: dict[Column, ShardedArray] = {}

    @cached_property
    def patterns(self) -> NDArray[np.bool_]:
        """Return which traits the records of each pattern have observations of, (n_patterns, n_traits)."""
        return self.layout.observed

    @property
    def n_values(self) -> int:
        """Return the number of columns of observations."""
        return self.layout.n_values

    @property
    def home(self) -> Column | None:
        """Return the column along which the records are sorted, those without an individual last; None: none."""
        return ("related", *self.columns.related[0]) if self.columns.related else None

    def table(self, covariate: str) -> NDArray[np.float64] | None:
        """Return the different values of a covariate, ascending, NaN last; None if it is held as a column."""
        if covariate not in self.layout.tables:
            return None
        array = self.array(("table", covariate))
        out = np.empty(array.shape, array.dtype)
        array.read_into(0, len(out), out)
        return out

    def available(self) -> tuple[Column, ...]:
        """Return all columns that can be read."""
        c = self.columns
        found: list[Column] = [("row",), ("pattern",)]
        found += [("value", str(k)) for k in range(self.n_values)]
        found += [("response", t) for t in c.responses]
        found += [("covariate", x) for x in c.covariates]
        found += [("code", x) for x in self.layout.tables]
        found += [("weight",)] if c.weights is not None else []
        found += [("class", x) for x in c.classes]
        found += [("related", *pair) for pair in c.related]
        return tuple(found)

    def array(self, column: Column) -> ShardedArray:
        """Return the array of a column that is held as such."""
        if column not in self._arrays:
            self._arrays[column] = ShardedArray(self.path, records_path(*column))
        return self._arrays[column]

    def dtype(self, column: Column) -> np.dtype[Any]:
        """Return the type of a column."""
        return DOUBLE if column[0] in ("response", "covariate") else self.array(column).dtype

    def read(self, column: Column, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return the records start..stop of a column."""
        out = np.empty((self.n_records if stop is None else stop) - start, self.dtype(column))
        self.fill({column: out}, start)
        return out

    def fill(self, columns: Mapping[Column, NDArray[Any]], start: int) -> None:
        """Set all arrays, equally long, to the records from `start`; each array of the store is decoded once.

        Raises `StoreError` if the store is damaged.
        """
        read: dict[Column, NDArray[Any]] = {}

        def held(column: Column) -> NDArray[Any]:
            if column not in read:
                out = columns.get(column)
                out = np.empty(n, self.dtype(column)) if out is None else out
                self.array(column).read_into(start, start + n, out)
                read[column] = out
            return read[column]

        n = len(next(iter(columns.values()), ()))
        for column, out in columns.items():
            role, name = column[0], column[-1]
            if role == "response":
                self._response(name, held, out)
            elif role == "covariate" and name in self._tables:
                self._look_up(self._tables[name], held(("code", name)), out)
            elif held(column) is not out:
                out[...] = held(column)

    def first_record(self, individual: int) -> int:
        """Return the first record of the individuals from `individual` on: where they may be cut into shares.

        Cost: log2 of the number of chunks, in chunks read. Raises ValueError if the records have no `home`.
        """
        if self.home is None:
            raise ValueError("records without individuals are in the order of their files")
        return self._homes.first_not_below(individual, 0, self._n_known)

    @cached_property
    def _homes(self) -> StoredArray:
        assert self.home is not None
        return StoredArray(self.path, records_path(*self.home))

    @cached_property
    def _n_known(self) -> int:
        """The number of records that have an individual: the others, negative, are last."""
        low, high = 0, self.n_records
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._homes[middle : middle + 1][0] >= 0 else (low, middle)
        return low

    def records(self, start: int, stop: int, pool: Executor) -> Records:
        """Return the records start..stop with all columns, decoded by the threads of `pool`.

        Responses with gaps, and covariates of few different values, are `store.columns`: as compact as in the store.
        """
        c = self.columns
        rows = self.array(("row",)).shard_rows
        cuts = [start, *range(start - start % rows + rows, stop, rows), stop]
        spans = [(lo, hi) for lo, hi in pairwise(cuts) if hi > lo]

        def read(*column: str) -> NDArray[Any]:
            out = np.empty(stop - start, self.dtype(column))
            list(pool.map(lambda span: self.fill({column: out[span[0] - start : span[1] - start]}, span[0]), spans))
            return out

        def within(codes: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
            self._check_codes(codes, len(table))
            return codes

        def responses() -> dict[str, NDArray[np.float64]]:
            if self.n_values == len(c.responses):
                return {t: read("response", t) for t in c.responses}
            pattern, values = (
                within(read("pattern"), self.layout.observed),
                [read("value", str(k)) for k in range(self.n_values)],
            )
            return {t: cast(Any, Observed(pattern, self._places[t], values)) for t in c.responses}

        return Records(
            row=read("row"),
            responses=responses(),
            covariates={
                x: cast(Any, Coded(self._tables[x], within(read("code", x), self._tables[x])))
                if x in self._tables
                else read("covariate", x)
                for x in c.covariates
            },
            classes={x: read("class", x) for x in c.classes},
            related={(x, to): read("related", x, to) for x, to in c.related},
            weights=read("weight") if c.weights is not None else None,
        )

    @cached_property
    def _tables(self) -> dict[str, NDArray[np.float64]]:
        return {c: t for c in self.layout.tables if (t := self.table(c)) is not None}

    @cached_property
    def _places(self) -> dict[str, NDArray[np.int64]]:
        return {t: self.layout.place(t) for t in self.columns.responses}

    def _response(self, trait: str, held: Any, out: NDArray[np.float64]) -> None:
        place = self._places[trait]
        if (place == 0).all():
            out[...] = held(("value", "0"))
            return
        pattern = held(("pattern",))
        out[...] = np.nan
        for k in np.unique(place[place >= 0]).tolist():
            here = place == k
            where = self._look_up(here, pattern, np.empty(len(pattern), np.bool_))
            np.copyto(out, held(("value", str(k))), where=where)

    def _look_up(self, table: NDArray[Any], code: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
        """Return `out`, set to ``table[code]``."""
        self._check_codes(code, len(table))
        return np.take(table, code, out=out, mode="clip")

    def _check_codes(self, code: NDArray[Any], n: int) -> None:
        """Raise `StoreError` if a code is beyond its table of `n` rows."""
        if len(code) and int(code.max()) >= n:
            what = f"a code beyond its table of {n}"
            raise StoreError(Problem(f"the store cannot be read ({what})", file=str(self.path), remedy=REMEDY))
