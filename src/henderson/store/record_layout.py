"""How the columns of the records are held: observed values without gaps, few different numbers as codes of a table.

A record has a *pattern*, the traits it has observations of, and ``value.0``, ``value.1``, ...: these observations in
the order of the traits. Where every record has one trait of many (a parity, say), that is one column, not many.
A covariate of few different values is ``code.<column>``, a place in ``table.<column>``, which is ascending, NaN last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.store.schema import ArraySchema, RecordColumns, records_path

MAX_CODES = 1 << 16  # patterns, or different values of a covariate: what 16 bits can tell apart


@dataclass(frozen=True)
class RecordLayout:
    """The arrays that hold the records of a store.

    patterns: of each a text with 1 for an observed trait, 0 for another, ascending; tables: the number of values of the
    table of each covariate that has one.
    """

    columns: RecordColumns
    patterns: tuple[str, ...]
    tables: Mapping[str, int]

    @property
    def n_values(self) -> int:
        """Return the largest number of observations of a record."""
        return max((p.count("1") for p in self.patterns), default=0)

    @property
    def dense(self) -> tuple[str, ...]:
        """Return the covariates without a table."""
        return tuple(c for c in self.columns.covariates if c not in self.tables)

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Return which traits each pattern has, (n_patterns, n_traits)."""
        text = [[c == "1" for c in p] for p in self.patterns]
        return np.array(text, np.bool_).reshape(len(text), len(self.columns.responses))

    def place(self, trait: str) -> NDArray[np.int64]:
        """Return which value of a record is that of a trait, -1 if none: (n_patterns,)."""
        observed, t = self.observed, self.columns.responses.index(trait)
        return np.where(observed[:, t], observed[:, :t].sum(axis=1), -1)

    def reals(self, n_records: int) -> list[ArraySchema]:
        """Return the float64 arrays: values, covariates without a table, weight."""
        found = [self._schema(n_records, "float64", "value", str(k)) for k in range(self.n_values)]
        found += [self._schema(n_records, "float64", "covariate", c) for c in self.dense]
        return found + ([self._schema(n_records, "float64", "weight")] if self.columns.weights is not None else [])

    def small(self, n_records: int) -> list[ArraySchema]:
        """Return the arrays of small codes: pattern, covariates with a table."""
        found = [self._schema(n_records, _code_type(len(self.patterns)), "pattern")]
        return found + [self._schema(n_records, _code_type(n), "code", c) for c, n in self.tables.items()]

    def codes(self, n_records: int) -> list[ArraySchema]:
        """Return the int32 arrays: related columns, classes."""
        found = [self._schema(n_records, "int32", "related", c, to) for c, to in self.columns.related]
        return found + [self._schema(n_records, "int32", "class", c) for c in self.columns.classes]

    def schemas(self, n_records: int) -> list[ArraySchema]:
        """Return all arrays over the records: row, `reals`, `small`, `codes`."""
        row = ArraySchema("records/row", ("record",), (n_records,), "int64", {"role": "row of the files, from 0"})
        return [row, *self.reals(n_records), *self.small(n_records), *self.codes(n_records)]

    def table_schema(self, covariate: str) -> ArraySchema:
        """Return the declaration of the table of a covariate."""
        attributes = {"role": "different values of a covariate", "column": covariate}
        return ArraySchema(
            records_path("table", covariate), (f"{covariate}_value",), (self.tables[covariate],), "float64", attributes
        )

    def _schema(self, n_records: int, dtype: str, role: str, *names: str) -> ArraySchema:
        attributes: dict[str, Any] = {"role": role}
        if names and role != "value":
            attributes["column"] = names[0]
        if role == "related":
            attributes["to"] = names[1]
        if role == "weight":
            attributes["column"] = self.columns.weights
        return ArraySchema(records_path(role, *names), ("record",), (n_records,), dtype, attributes)

    def as_json(self) -> dict[str, Any]:
        """Return the layout, but the columns, as attributes hold it."""
        return {"patterns": list(self.patterns), "tables": dict(self.tables)}

    @classmethod
    def from_json(cls, columns: RecordColumns, value: Mapping[str, Any]) -> RecordLayout:
        """Return the layout from `as_json`."""
        tables = value["tables"]  # in any order
        return cls(columns, tuple(value["patterns"]), {c: tables[c] for c in columns.covariates if c in tables})


def _code_type(n: int) -> str:
    return "uint8" if n <= 1 << 8 else "uint16"
