"""Blocks of records as `store.record_layout` holds them: patterns and observations, tables of different values.

Each block is made compact by itself; what the codes mean is agreed over all blocks; dealing translates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import Words, stack_words
from henderson.ingest.parts import is_whole, map_part, read_meta, write_part
from henderson.kernels.record_pack import TRAITS_PER_WORD, keys_of_reals, pack_observed, reals_of_keys, unpack_observed
from henderson.store.record_layout import MAX_CODES, RecordLayout
from henderson.store.schema import RecordColumns

MISSING_CODE = MAX_CODES - 1  # in a block
_WORTH = 2  # a table has at most one value for so many records

Arrays = dict[str, NDArray[Any]]


def compact_block(responses: NDArray[np.float64], covariates: list[NDArray[np.float64]]) -> Arrays:
    """Return the arrays of a part: of responses (n_traits, n) the observations, of covariates (n,) the codes.

    ``values`` (k, n) with ``pattern`` uint16 into ``patterns``, words; or, with too many patterns, all responses.
    For each covariate ``code<i>`` uint16 into ``table<i>``, in the order of appearance; or ``covariate<i>``.
    """
    n_traits, n = responses.shape
    words = np.empty((n, max(1, -(-n_traits // TRAITS_PER_WORD))), np.uint64)
    values = np.empty_like(responses)
    most = pack_observed(responses, words, values)
    codes, entries = number_labels(words)
    out: Arrays = {"values": responses}
    if len(entries) < MAX_CODES:
        out = {"values": values[:most], "pattern": codes.astype(np.uint16), "patterns": entries}
    for i, column in enumerate(covariates):
        keys = np.empty((n, 1), np.uint64)
        keys_of_reals(column, keys)
        codes, entries = number_labels(keys)
        if len(entries) < MAX_CODES:
            out[f"code{i}"] = np.where(codes < 0, MISSING_CODE, codes).astype(np.uint16)
            out[f"table{i}"] = reals_of_keys(entries)
        else:
            out[f"covariate{i}"] = column
    return out


@dataclass(frozen=True)
class Agreed:
    """What the codes of all blocks mean; `path` is the part that `agree` wrote."""

    path: Path
    columns: RecordColumns

    @cached_property
    def layout(self) -> RecordLayout:
        """Return the layout of the records in the store."""
        return RecordLayout.from_json(self.columns, read_meta(self.path))

    def table(self, covariate: str) -> NDArray[np.float64]:
        """Return the values of a covariate, ascending, NaN last."""
        return map_part(self.path)[f"table{self.columns.covariates.index(covariate)}"]

    def translated(self, part: Path) -> tuple[list[NDArray[np.float64]], list[NDArray[np.uint16]]]:
        """Return the columns of a block as the store's `layout.reals` (but the weight), and `layout.small`."""
        block = map_part(part)
        reals, small = self._observations(block)
        for i, covariate in enumerate(self.columns.covariates):
            if covariate not in self.layout.tables:
                reals.append(_column(block, i))
                continue
            table = self.table(covariate)
            place = np.full(MAX_CODES, len(table) - 1, np.uint16)  # NaN is last
            place[: len(block[f"table{i}"])] = np.searchsorted(table, block[f"table{i}"])
            small.append(place[block[f"code{i}"]])
        return reals, small

    def _observations(self, block: Arrays) -> tuple[list[NDArray[np.float64]], list[NDArray[np.uint16]]]:
        values, n = block["values"], block["values"].shape[1]
        if self._gaps:
            if "pattern" in block:
                whole = np.empty((len(self.columns.responses), n))
                unpack_observed(block["patterns"][block["pattern"]], values, whole)
                values = whole
            return list(values), [np.zeros(n, np.uint16)]
        n_more = self.layout.n_values - len(values)
        number = {text: k for k, text in enumerate(self.layout.patterns)}
        texts = _texts(block["patterns"], len(self.columns.responses))
        code = np.array([number[text] for text in texts], np.uint16)[block["pattern"]]
        return [*values, *[np.full(n, np.nan)] * n_more], [code]

    @cached_property
    def _gaps(self) -> bool:
        """Whether the patterns were too many, so that the values are all responses, missing ones too."""
        return bool(read_meta(self.path)["gaps"])


def agree(parts: list[Path], columns: RecordColumns, n_records: int, path: Path) -> Agreed:
    """Return what the codes of all blocks mean, which is then on disk.

    It depends on the records alone, not on how they are cut. Cost: a sort of the different values.
    """
    if is_whole(path):
        return Agreed(path, columns)
    patterns: Words | None = np.zeros((0, 1), np.uint64)
    tables: dict[int, NDArray[np.float64] | None] = {i: np.zeros(0) for i in range(len(columns.covariates))}
    gaps = dict.fromkeys(tables, False)
    for part in parts:
        block = map_part(part)
        patterns = _more_patterns(patterns, block.get("patterns"))
        for i, table in tables.items():
            more = block.get(f"table{i}")
            tables[i] = None if table is None or more is None else np.union1d(table, more)
            if (both := tables[i]) is not None and len(both) > min(MISSING_CODE, n_records // _WORTH):
                tables[i] = None
            if f"code{i}" in block and tables[i] is not None and not gaps[i]:
                gaps[i] = bool((block[f"code{i}"] == MISSING_CODE).any())
    texts = _texts(patterns, len(columns.responses)) if patterns is not None else ["1" * len(columns.responses)]
    kept = {i: np.append(t, np.nan) if gaps[i] else t for i, t in tables.items() if t is not None}
    names = {columns.covariates[i]: len(t) for i, t in kept.items()}
    meta = RecordLayout(columns, tuple(sorted(texts)), names).as_json() | {"gaps": patterns is None}
    write_part(path, {f"table{i}": t for i, t in kept.items()}, meta)
    return Agreed(path, columns)


def _more_patterns(known: Words | None, more: Words | None) -> Words | None:
    """Return the different patterns of both, None if there are too many."""
    if known is None or more is None:
        return None
    known = number_labels(stack_words([known, more]))[1]
    return known if len(known) < MAX_CODES else None


def _texts(words: Words, n_traits: int) -> list[str]:
    """Return patterns as texts of 0 and 1, a place a trait."""
    t = np.arange(n_traits)
    bits = words[:, t // TRAITS_PER_WORD] >> (t % TRAITS_PER_WORD).astype(np.uint64) & np.uint64(1)
    return ["".join(map(str, row)) for row in bits.tolist()]


def _column(block: Arrays, i: int) -> NDArray[np.float64]:
    """Return covariate i of a block as numbers."""
    if f"covariate{i}" in block:
        return block[f"covariate{i}"]
    table = np.full(MAX_CODES, np.nan)
    table[: len(block[f"table{i}"])] = block[f"table{i}"]
    values: NDArray[np.float64] = table[block[f"code{i}"]]
    return values
