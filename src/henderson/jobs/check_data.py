"""`henderson check FILE --data`: what the records hold, before anything expensive."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.equations.design import build_design
from henderson.equations.rank import full_rank
from henderson.errors import InputFileError
from henderson.ingest.checks import CheckedRecords, examine
from henderson.ingest.column_levels import read_levels
from henderson.ingest.edits import Edits, write_edits
from henderson.ingest.header import read_schema
from henderson.ingest.parent_ages import impossible_parents
from henderson.ingest.plan import make_plan
from henderson.ingest.run import BLOCK_BYTES, is_current
from henderson.ingest.stages import Ingest
from henderson.jobs.progress import Progress
from henderson.language.load import load_model
from henderson.language.spec import ChecksSpec, ModelSpec
from henderson.reml.setup import with_values
from henderson.solvers.solutions import dropped_columns
from henderson.store.reader import open_store

SHOWN = 3  # offenders of a rule in the report


@dataclass(frozen=True)
class TraitRow:
    """A response: observations that no rule touches, their mean, standard deviation, least and largest."""

    trait: str
    observed: int
    mean: float
    sd: float
    least: float
    largest: float


@dataclass(frozen=True)
class ClassRow:
    """A class of fixed effects: its levels, the smallest of them in records with an observation, levels with one."""

    column: str
    levels: int
    smallest: int
    alone: int


@dataclass(frozen=True)
class DataReport:
    """What the records hold. rules: kind, column, reason, number, first offenders; remarks in words."""

    records: int
    traits: tuple[TraitRow, ...]
    classes: tuple[ClassRow, ...]
    rules: tuple[dict[str, Any], ...]
    action: str
    remarks: tuple[str, ...]


def check_data(
    file: Path,
    *,
    store: Path | None = None,
    edits: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> DataReport:
    """Return what the records of a parameter file hold, after its `[checks]`; nothing is stored.

    store: if it has been made of these records, the columns of fixed effects that depend on others are found in it;
    edits: a file for the log of edits. Raises `InputFileError` for what cannot be read. Disk: about the size of the
    records, in a temporary folder.
    """
    spec = load_model(file, read_schema, read_levels)
    checks = spec.data.checks or ChecksSpec()
    plan = make_plan(spec, BLOCK_BYTES)
    classes = tuple(dict.fromkeys(r.column for r in plan.roles.required if r.role == "class"))
    with tempfile.TemporaryDirectory(prefix="henderson.") as folder:
        run = Ingest(plan, Path(folder), threads or os.cpu_count() or 1, progress)
        checked = examine(run, run.first_records(), checks, classes)
        found = write_edits(run, checked, checks.action, edits or Path(folder) / "edits.csv")
        traits = tuple(_traits(checked))
        remarks = [*_collinear(checked, checks.collinear), *_confounded(spec, checked)]
        if store is not None and store.exists() and is_current(store, plan.fingerprint):
            remarks += _dependent(spec, store)
        if checks.born is not None:
            for count, problems in impossible_parents(run, checks.born, checks.parent_age):
                first = "; ".join(map(str, problems[:SHOWN]))
                remarks.append(f"{count:,} impossible parents" + (f": {first}" if count else ""))
        rows = tuple(_class(checked, column) for column in classes)
    n_rows = sum(r.n_rows for r in checked.reports)
    return DataReport(n_rows, traits, rows, tuple(map(_rule, found)), checks.action, tuple(remarks))


def _rule(edits: Edits) -> dict[str, Any]:
    rule = edits.rule
    return {
        "kind": rule.kind,
        "column": rule.column,
        "reason": rule.reason,
        "count": edits.count,
        "first": edits.first(SHOWN),
    }


def _traits(checked: CheckedRecords) -> Iterator[TraitRow]:
    for t, trait in enumerate(checked.task.roles.columns.responses):
        n, mean, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
        for block in range(len(checked.parts)):
            y = checked.responses(block)[t]
            y = y[~np.isnan(y)]
            if len(y):  # means and squares of two parts (Chan, Golub & LeVeque 1983)
                shift, total = float(y.mean()) - mean, n + len(y)
                squares += float(((y - y.mean()) ** 2).sum()) + shift**2 * n * len(y) / total
                mean, n = mean + shift * len(y) / total, total
                low, high = min(low, float(y.min())), max(high, float(y.max()))
        sd = float(np.sqrt(squares / (n - 1))) if n > 1 else float("nan")
        yield TraitRow(trait, n, mean if n else float("nan"), sd, low, high)


def _class(checked: CheckedRecords, column: str) -> ClassRow:
    counts = np.zeros(checked.n_levels[checked.task.classes.index(column)], np.int64)
    for block in range(len(checked.parts)):
        codes = checked.codes(column, block)
        there = (codes >= 0) & ~np.isnan(checked.responses(block)).all(axis=0)
        counts += np.bincount(codes[there], minlength=len(counts))
    seen = counts[counts > 0]
    return ClassRow(column, len(seen), int(seen.min()) if len(seen) else 0, int((seen == 1).sum()))


def _collinear(checked: CheckedRecords, limit: float) -> Iterator[str]:
    """Yield the pairs of traits whose correlation over records with both is at least `limit`."""
    traits = checked.task.roles.columns.responses
    t = len(traits)
    centre = np.zeros((t, 1))
    sums = np.zeros((4, t, t))  # of 1, x, x^2 and xy over the records with both
    for block in range(len(checked.parts)):
        y = checked.responses(block)
        seen = ~np.isnan(y)
        if block == 0:
            centre = np.nan_to_num(np.nanmean(np.where(seen.any(axis=1, keepdims=True), y, 0.0), axis=1, keepdims=True))
        x, m = np.where(seen, y - centre, 0.0), seen.astype(np.float64)
        sums += np.array([m @ m.T, x @ m.T, (x * x) @ m.T, x @ x.T])
    n, sx, sxx, sxy = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = sxx - sx * sx / n
        r = (sxy - sx * sx.T / n) / np.sqrt(variance * variance.T)
    for a, b in combinations(range(t), 2):
        if n[a, b] > 2 and abs(r[a, b]) >= limit:
            count = f"{int(n[a, b]):,} records"
            yield f"{traits[a]} and {traits[b]} are almost the same: correlation {r[a, b]:.4f} in {count}"


def _confounded(spec: ModelSpec, checked: CheckedRecords) -> Iterator[str]:
    """Yield for each equation the pairs of fixed classes one of which tells the other."""
    told: dict[tuple[str, str], str | None] = {}
    for equation in spec.equations:
        columns = [
            t.variable
            for t in equation.terms
            if t.kind == "class" and not t.where and spec.subfactor(t.subfactor).variance is None
        ]
        for a, b in combinations([c for c in dict.fromkeys(columns) if c in checked.task.classes], 2):
            if (a, b) not in told:
                told[a, b] = _nesting(checked, a, b)
                if (said := told[a, b]) is not None:
                    yield f"{said} ({equation.trait})"


def _dependent(spec: ModelSpec, store: Path) -> Iterator[str]:
    """Yield what a solve will leave out. Cost: the design, and a sparse factorisation of X'X."""
    dropped = dropped_columns(full_rank(build_design(with_values(spec), open_store(store))))
    if dropped:
        names = ", ".join(f"{d.subfactor}[{d.level}]" for d in dropped[:SHOWN])
        more = ", ..." if len(dropped) > SHOWN else ""
        yield f"{len(dropped):,} columns of fixed effects depend on others and will be left out: {names}{more}"


def _nesting(checked: CheckedRecords, a: str, b: str) -> str | None:
    """Return in words whether two classes are nested: there are as many pairs of levels as levels of one of them."""
    n = [checked.n_levels[checked.task.classes.index(c)] for c in (a, b)]
    pairs: NDArray[np.int64] = np.zeros(0, np.int64)
    for block in range(len(checked.parts)):
        codes = [checked.codes(c, block) for c in (a, b)]
        known = (codes[0] >= 0) & (codes[1] >= 0) & ~np.isnan(checked.responses(block)).all(axis=0)
        pairs = np.union1d(pairs, codes[0][known] * n[1] + codes[1][known])
    seen = [len(np.unique(pairs // max(n[1], 1))), len(np.unique(pairs % max(n[1], 1)))]
    inner = [k for k in (0, 1) if len(pairs) == seen[k] and seen[k] > 1]
    if not inner:
        return None
    if len(inner) == 2:
        return f"{a} and {b} are the same: each level of one has one level of the other"
    x, y = (a, b) if inner[0] == 0 else (b, a)
    return f"{x} is nested in {y}, which adds nothing to it: each level of {x} has one level of {y}"


def require(report: DataReport) -> None:
    """Raise `InputFileError` if something breaks the checks and their action is error."""
    if report.action == "error" and (broken := [r for r in report.rules if r["count"]]):
        raise InputFileError("; ".join(f"{r['count']:,} of {r['column']}: {r['reason']}" for r in broken))
