"""Levels and records with a Sigma of their own: which file or class column says so, and their numbers in the store.

::

    sigma/<variance>/     table: different Sigmas of a file, (n, width**2); level.<column>: of each level of a column or
                          individual its Sigma (of a class column: its class), last that of the level 0, -1 where there
                          is none; record: the same for the records
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, Problem
from henderson.ingest.id_table import as_integers, words_of_labels
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import Words, stack_words, text_of, words_of_integers
from henderson.ingest.parts import is_whole, map_part, write_part
from henderson.ingest.sigma_blocks import read_blocks, record_numbers
from henderson.ingest.tasks import raise_problems
from henderson.language.spec import RESIDUAL
from henderson.store import zarr_io
from henderson.store.model_data import UNKNOWN, ZERO, Labels
from henderson.store.schema import CHUNK_ROWS, ArraySchema, group_path, level_path, records_path, safe
from henderson.store.stored_array import StoredArray

if TYPE_CHECKING:
    from henderson.ingest.roles import OwnSigmas
    from henderson.ingest.stages import Ingest

log = logging.getLogger(__name__)

Codes = NDArray[np.int32]


def read_sigma_files(ingest: Ingest) -> None:
    """Read the files of Sigmas into parts, whatever they hold is checked. Raises `InputFileError`."""
    for own, source in ingest.plan.sigmas:
        part = _part(ingest, own.variance)
        if is_whole(part):
            continue
        assert own.blocks is not None
        blocks = ingest.plan.blocks(source) if source.format == "csv" else []
        found = read_blocks(source, blocks, own.blocks, own.width)
        keys: NDArray[Any] = found.keys
        if own.variance == RESIDUAL:
            keys = record_numbers(found.keys, source.shown)
        write_part(part, {"keys": keys, "number": found.number, "table": found.table})


def write_sigmas(ingest: Ingest) -> None:
    """Write the groups ``sigma/<variance>``; records, levels, pedigrees and matrices must be in the store.

    Raises `InputFileError`: a level has records of several classes.
    """
    for own in ingest.plan.roles.own_sigmas:
        group = group_path("sigma", own.variance)
        done = ingest.wip / "written" / f"sigma-{safe(own.variance)}"
        if is_whole(done):
            continue
        if own.variance == RESIDUAL:
            _write_records(ingest, own, group)
        elif own.by is not None:
            for column in own.columns:
                _write_classes(ingest, own, group, column)
        else:
            _write_levels(ingest, own, group)
        write_part(done, {})


def sigma_attributes(ingest: Ingest) -> dict[str, Any]:
    """Return what the store says of the groups ``sigma/<variance>``."""
    return {
        own.variance: {"columns": list(own.columns), "table": own.blocks is not None}
        for own in ingest.plan.roles.own_sigmas
    }


def _part(ingest: Ingest, variance: str) -> Path:
    return ingest.wip / f"sigma-{safe(variance)}"


def _write(ingest: Ingest, path: str, dim: str, values: NDArray[Any], meaning: str) -> None:
    dims = (dim, "element")[: values.ndim]
    zarr_io.write_whole(
        ingest.store, ArraySchema(path, dims, values.shape, str(values.dtype), {"role": meaning}), values
    )


def _array(ingest: Ingest, path: str) -> StoredArray:
    return StoredArray(ingest.store, path)


def _home(ingest: Ingest, relation_of: str | None, column: str) -> tuple[str, str]:
    """Return the paths of the levels of a column, and of what the records have of it."""
    roles = ingest.plan.roles
    related = [r for r in roles.relations if r.column == column and relation_of in (None, r.name)]
    if not related:
        return group_path("levels", column) + "/id", records_path("class", column)
    relation = next((r for r in related if r.kind == "pedigree"), related[0])
    return group_path(relation.kind, relation.name) + "/id", records_path("related", column, relation.name)


def _write_records(ingest: Ingest, own: OwnSigmas, group: str) -> None:
    part = map_part(_part(ingest, own.variance))
    rows = _array(ingest, "records/row")
    numbers = np.full(len(rows), -1, np.int32)
    of_row = np.full(int(part["keys"].max(initial=-1)) + 1, -1, np.int32)
    of_row[part["keys"]] = part["number"]
    for start in range(0, len(rows), CHUNK_ROWS):
        mine = rows[start : start + CHUNK_ROWS]
        named = mine < len(of_row)
        numbers[start : start + CHUNK_ROWS][named] = of_row[mine[named]]
    # the table in the order of the records: what a process reads of it lies together
    used, first = np.unique(numbers, return_index=True)
    used, first = used[used >= 0], first[used >= 0]
    used = used[np.argsort(first)]
    place = np.full(len(part["table"]) + 1, -1, np.int32)  # -1 is the last entry
    place[used] = np.arange(len(used), dtype=np.int32)
    _write(ingest, f"{group}/record", "record", place[numbers], "number of its Sigma, -1: none of its own")
    _write_table(ingest, group, np.asarray(part["table"])[used])


def _write_table(ingest: Ingest, group: str, table: NDArray[np.float64]) -> None:
    _write(ingest, f"{group}/table", "sigma", table.reshape(len(table), -1), "Sigma, row by row; NaN: no such position")


def _write_levels(ingest: Ingest, own: OwnSigmas, group: str) -> None:
    part = map_part(_part(ingest, own.variance))
    keys = np.asarray(part["keys"])
    known = np.zeros(len(keys), np.bool_)
    for column in own.columns:
        labels = Labels(np.asarray(_array(ingest, _home(ingest, own.relation, column)[0])))
        numbers = np.full(len(labels) + 1, -1, np.int32)
        at = _find(labels, keys)
        numbers[at[at >= 0]] = part["number"][at >= 0]
        known |= at >= 0
        zero = np.flatnonzero(keys[:, 0] == ord("0")) if keys.shape[1] else np.empty(0, np.int64)
        numbers[-1] = part["number"][zero[0]] if len(zero) else -1
        known[zero] = True
        _write_numbers(ingest, group, column, numbers)
    if not known.all():
        names = ", ".join(text_of(keys[np.flatnonzero(~known)[:MAX_PRINTED]]))
        log.warning(
            "variance %s: %d levels of %s are not in the data: %s",
            own.variance, int((~known).sum()), own.blocks.file if own.blocks else "", names,
        )  # fmt: skip
    _write_table(ingest, group, np.asarray(part["table"]))


def _write_numbers(ingest: Ingest, group: str, column: str, numbers: Codes) -> None:
    _write(ingest, level_path(group, column), "level", numbers, "number of its Sigma, -1: none of its own; last: of 0")


def _find(labels: Labels, keys: Words) -> Codes:
    """Return the row of each key among the labels, -1 where it is not; integers compare as numbers."""
    if labels.is_integer:
        numbers = as_integers(keys)
        if numbers is None:  # some are not: only the others can be levels
            return np.array([_find(labels, keys[k : k + 1])[0] if _integer(keys, k) else -1 for k in range(len(keys))])
        keys = words_of_integers(numbers)
        ids = words_of_integers(np.asarray(labels.values, np.int64))
    else:
        ids = words_of_labels(labels)
    codes, _ = number_labels(stack_words([ids, keys]))
    found = codes[len(ids) :]
    return np.where(found < len(ids), found, -1).astype(np.int32)


def _integer(keys: Words, k: int) -> bool:
    return as_integers(keys[k : k + 1]) is not None


def _write_classes(ingest: Ingest, own: OwnSigmas, group: str, column: str) -> None:
    """Write the class of every level: that of its records, which must agree."""
    assert own.by is not None
    labels, records = _home(ingest, own.relation, column)
    names_of, classes_of = (_array(ingest, path) for path in _home(ingest, None, own.by))
    levels, names = _array(ingest, records), _array(ingest, labels)
    n = len(names)
    low, high = np.full(n + 1, np.iinfo(np.int32).max, np.int32), np.full(n + 1, -1, np.int32)
    for start in range(0, len(levels), CHUNK_ROWS):
        level, of = (a[start : start + CHUNK_ROWS] for a in (levels, classes_of))
        here = (level != UNKNOWN) & (of >= 0)
        level = np.where(level == ZERO, n, level)
        np.minimum.at(low, level[here], of[here])
        np.maximum.at(high, level[here], of[here])
    mixed = np.flatnonzero((high >= 0) & (low != high))
    if len(mixed):
        file = ", ".join(s.shown for s in ingest.plan.records)
        some = mixed[:MAX_PRINTED]
        texts = [Labels(names[some[k : k + 1]]).text()[0] if some[k] < n else "0" for k in range(len(some))]
        ends = [Labels(names_of[at[some]]).text() for at in (low, high)]
        remedy = "a level with a Sigma by class has one class on all its records"
        what = "level {!r} of {!r} has records of the classes {!r} and {!r} of {!r}"
        raise_problems(
            Problem(what.format(t, column, a, b, own.by), file, remedy=remedy)
            for t, a, b in zip(texts, *ends, strict=True)
        )
    _write_numbers(ingest, group, column, high)
