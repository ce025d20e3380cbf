"""First pass over the records.

A block of a file to a part of kept rows, checked, ids looked up, classes numbered locally.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, Problem
from henderson.ingest.compact import compact_block
from henderson.ingest.cutoff import is_late
from henderson.ingest.files import Block
from henderson.ingest.id_table import as_integers, map_table
from henderson.ingest.missing_file import flags_of
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import Parsed, Words, line_numbers, parse_block, text_of
from henderson.ingest.parts import is_whole, map_part, read_meta, write_part
from henderson.ingest.roles import Relation, Required, Roles
from henderson.kernels.hashing import LITERAL_ZERO, NOT_FOUND

_NAMES_OF_ABSENT = 1000  # records looked through for different animals to name


@dataclass(frozen=True)
class RecordsTask:
    """What every block of the records needs: the roles of the columns, and the table and file of each relation."""

    roles: Roles
    tables: tuple[Path, ...]
    files: tuple[str, ...]
    missing: Path | None = None  # part with a flag for each record and trait


@dataclass(frozen=True)
class BlockReport:
    """What a block was found to hold; `observed` and `below` (under the missing value) count responses by trait.

    `integer` says for each class column whether the block has integers only.
    """

    n_rows: int
    n_lines: int
    n_kept: int = 0
    observed: tuple[int, ...] = ()
    below: tuple[int, ...] = ()
    integer: tuple[bool, ...] = ()
    problems: tuple[Problem, ...] = field(default=())


def read_records(task: RecordsTask, block: Block, path: Path, first: int = 0) -> BlockReport:
    """Write the part of a block and return its report; with problems, no part is written. `first`: its first record.

    The part holds of the rows that are kept: row (n,) int32, from 0 in the block; what `compact_block` makes of
    responses and covariates; weight (n,) float64; codes (n_codes, n) int32 in the order of `RecordColumns`: rows of
    pedigrees and matrices in the order of their files, then classes as rows of ``entries<k>``; ``used<k>`` marks the
    entries that kept rows have.
    """
    if is_whole(path):
        meta = read_meta(path)
        counts = (meta["n_rows"], meta["n_lines"], meta["n_kept"])
        return BlockReport(*counts, tuple(meta["observed"]), tuple(meta["below"]), tuple(meta["integer"]))
    parsed = parse_block(block, task.roles.text, task.roles.reals)
    if parsed.problems:
        return BlockReport(parsed.n_rows, parsed.n_lines, problems=tuple(parsed.problems))
    columns = task.roles.columns
    found: list[tuple[int, Problem]] = []
    responses, below = observed_responses(parsed, task.roles, task.missing, first, found)
    kept = np.zeros(parsed.n_rows, bool)
    for trait in columns.responses:
        kept |= ~np.isnan(responses[trait])
    related = [_look_up(parsed.text[r.column], i, r, task, kept, found) for i, r in enumerate(task.roles.relations)]
    for rule in task.roles.required:
        _require(rule, parsed, responses[rule.trait], task.roles, found)
    if columns.weights is not None:
        _check_weights(parsed.reals[columns.weights], columns.weights, kept, found)
    if found:
        return BlockReport(parsed.n_rows, parsed.n_lines, problems=placed(found, block, parsed.n_rows))
    arrays: dict[str, NDArray[Any]] = {}
    codes = list(related)
    integer = []
    for k, column in enumerate(columns.classes):
        code, entries = number_labels(parsed.text[column])
        codes.append(code)
        used = np.zeros(len(entries), bool)
        used[code[kept & (code >= 0)]] = True
        arrays |= {f"entries{k}": entries, f"used{k}": used}
        integer.append(as_integers(entries) is not None)
    rows = np.flatnonzero(kept).astype(np.int32)
    whole = len(rows) == parsed.n_rows
    arrays["row"] = rows
    arrays["codes"] = _kept(codes, rows, whole, np.int32)
    arrays |= compact_block(
        _kept([responses[c] for c in columns.responses], rows, whole, np.float64),
        [parsed.reals[c] if whole else parsed.reals[c][rows] for c in columns.covariates],
    )
    if columns.weights is not None:
        arrays["weight"] = parsed.reals[columns.weights][rows]
    report = BlockReport(
        parsed.n_rows,
        parsed.n_lines,
        len(rows),
        tuple(int(np.count_nonzero(~np.isnan(responses[c]))) for c in columns.responses),
        tuple(below),
        tuple(integer),
    )
    meta = {k: v for k, v in vars(report).items() if k != "problems"}
    write_part(path, arrays, meta)
    return report


def _kept(columns: list[NDArray[Any]], rows: NDArray[np.int32], whole: bool, dtype: type) -> NDArray[Any]:
    """Return the kept rows of some columns, (n_columns, n)."""
    out: NDArray[Any] = np.empty((len(columns), len(rows)), dtype)
    for place, column in zip(out, columns, strict=True):
        if whole:
            place[:] = column
        else:
            np.take(column, rows, out=place)
    return out


def observed_responses(
    parsed: Parsed, roles: Roles, missing: Path | None, first: int, found: list[tuple[int, Problem]]
) -> tuple[dict[str, NDArray[np.float64]], list[int]]:
    """Return (responses of a block, NaN where missing; how many of each trait lie under the missing value).

    missing: the part with a flag for each record and trait; first: the first record of the block. Records without a
    date, where they are needed, are added to `found`.
    """
    responses, below = _responses(parsed, roles)
    names = roles.columns.responses
    if missing is not None:
        flags = flags_of(map_part(missing)["missing"][first : first + parsed.n_rows], len(names))
        responses = {c: np.where(flags[:, k], math.nan, responses[c]) for k, c in enumerate(names)}
    if roles.cutoff is not None:
        observed = ~np.all([np.isnan(responses[c]) for c in names], axis=0)
        late = is_late(parsed, roles.cutoff, observed, found)
        responses = {c: np.where(late, math.nan, y) for c, y in responses.items()}
    return responses, below


def _responses(parsed: Parsed, roles: Roles) -> tuple[dict[str, NDArray[np.float64]], list[int]]:
    """Return (responses, NaN at or below the missing value; how many of each trait lie strictly below)."""
    out, below = {}, []
    for trait in roles.columns.responses:
        values = parsed.reals[trait]
        n_below = 0
        if roles.missing is not None:
            low = values <= roles.missing
            if low.any():
                n_below = int(np.count_nonzero(values < roles.missing))
                values = np.where(low, math.nan, values)
        out[trait] = values
        below.append(n_below)
    return out, below


def _look_up(
    words: Words,
    which: int,
    relation: Relation,
    task: RecordsTask,
    kept: NDArray[np.bool_],
    found: list[tuple[int, Problem]],
) -> NDArray[np.int32]:
    """Return the rows of the ids in their pedigree or matrix.

    Add those of kept records that are not there to `found`.
    """
    table = map_table(task.tables[which])
    index, absent = table.find(words)
    if relation.kind == "matrix" and (index == LITERAL_ZERO).any():  # a matrix, unlike a pedigree, may have an id 0
        zero = np.flatnonzero(table.ids == 0 if table.ids.ndim == 1 else table.ids[:, 0] == ord("0"))
        index[index == LITERAL_ZERO] = zero[0] if len(zero) else LITERAL_ZERO
    if absent:
        rows = np.flatnonzero((index == NOT_FOUND) & kept)[:_NAMES_OF_ABSENT]
        first: dict[str, int] = {}
        for row, label in zip(rows.tolist(), text_of(words[rows]), strict=True):
            first.setdefault(label, row)
        where = f"{relation.kind} {relation.name!r} ({task.files[which]})"
        for label, row in first.items():
            what = f"{label!r} in column {relation.column!r} is not in {where}"
            remedy = f"add it to {task.files[which]}, or leave the id empty"
            found.append((row, Problem(what, remedy=remedy)))
        index[index == NOT_FOUND] = LITERAL_ZERO  # of records that are not kept
    return index


def _require(
    rule: Required, parsed: Parsed, response: NDArray[np.float64], roles: Roles, found: list[tuple[int, Problem]]
) -> None:
    """Add to `found` the records on which the trait of `rule` is observed and its column is missing."""
    covariate = rule.role == "covariate"
    missing = np.isnan(parsed.reals[rule.column]) if covariate else parsed.text[rule.column][:, 0] == 0
    if not missing.any():
        return
    for row in np.flatnonzero(missing & ~np.isnan(response))[: MAX_PRINTED + 1].tolist():
        what = f"column {rule.column!r}, a {rule.role} of {rule.trait!r}, is missing where {rule.trait!r} is observed"
        found.append((row, Problem(what, remedy=f"give it a value, or set {rule.trait!r} to NA")))


def _check_weights(
    values: NDArray[np.float64], column: str, kept: NDArray[np.bool_], found: list[tuple[int, Problem]]
) -> None:
    for row in np.flatnonzero(~(values > 0) & kept)[: MAX_PRINTED + 1].tolist():
        value = "missing" if math.isnan(values[row]) else f"{values[row]:g}"
        found.append((row, Problem(f"weight {value} in column {column!r}", remedy="weights must be positive numbers")))


def placed(found: list[tuple[int, Problem]], block: Block, n_rows: int) -> tuple[Problem, ...]:
    """Return the problems in the order of their rows, with their lines in the block."""
    lines = line_numbers(block, n_rows)
    found.sort(key=lambda pair: pair[0])
    return tuple(
        Problem(p.message, file=block.source.shown, line=int(lines[row]), remedy=p.remedy)
        for row, p in found[: MAX_PRINTED + 1]
    )
