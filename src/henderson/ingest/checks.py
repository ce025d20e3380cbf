"""`[checks]` of the records before they are read: what is out of range, an outlier, or alone in its group.

Three passes: blocks are parsed and what is out of range is marked (in parallel); sums by level mark the outliers;
counts by level mark what is left of groups that are too small. The marks become flags of missing responses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import InputFileError, Problem
from henderson.ingest.edits import Edits, write_edits
from henderson.ingest.files import Block
from henderson.ingest.id_table import as_integers
from henderson.ingest.levels import codes_of_block, merge_levels
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import parse_block
from henderson.ingest.parts import is_whole, map_part, write_part
from henderson.ingest.records import observed_responses, placed
from henderson.ingest.roles import Roles
from henderson.ingest.run import EDITS
from henderson.ingest.tasks import raise_problems, run_tasks, shift
from henderson.language.spec import ChecksSpec

if TYPE_CHECKING:
    from henderson.ingest.stages import Ingest

SHOWN = 3  # offenders of a rule in a warning

Floats = NDArray[np.float64]
Marks = NDArray[np.uint8]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One check: its kind (range, outlier, group), its column, what it says, and the traits it is about."""

    kind: str
    column: str
    reason: str
    traits: tuple[int, ...]
    limits: tuple[float, float] = (0.0, 0.0)  # of a group: the least number; of an outlier: standard deviations


def rules_of(roles: Roles, checks: ChecksSpec) -> tuple[Rule, ...]:
    """Return the checks of the records in the order in which they are done; marks are their places, from 1."""
    traits = roles.columns.responses
    everyone = tuple(range(len(traits)))
    rules = []
    for column, low, high in checks.range:
        users = tuple(
            k for k, t in enumerate(traits) if any((r.trait, r.column) == (t, column) for r in roles.required)
        )
        of = (traits.index(column),) if column in traits else users or everyone
        rules.append(Rule("range", column, f"outside [{low:g}, {high:g}]", of, (low, high)))
    where = f" of its {checks.within}" if checks.within is not None else ""
    for trait, k in checks.outliers:
        reason = f"more than {k:g} standard deviations from the mean{where}"
        rules.append(Rule("outlier", trait, reason, (traits.index(trait),), (k, k)))
    for column, n in checks.smallest:
        rules.append(Rule("group", column, f"fewer than {n} observations in its {column}", everyone, (n, n)))
    return tuple(rules)


@dataclass(frozen=True)
class ChecksTask:
    """What every block needs: the roles of the columns, the rules, class columns, and the flags of the user."""

    roles: Roles
    rules: tuple[Rule, ...]
    classes: tuple[str, ...]
    missing: Path | None

    @property
    def limited(self) -> tuple[str, ...]:
        """Return the columns that are no response and have a range."""
        return tuple(r.column for r in self.rules if r.kind == "range" and r.column not in self.roles.columns.responses)

    @property
    def animal(self) -> str | None:
        """Return the column that names the animal of a record."""
        return self.roles.relations[0].column if self.roles.relations else None


@dataclass(frozen=True)
class Examined:
    """What a block was found to hold. `integer`: of each class whether its values are integers only."""

    n_rows: int
    n_lines: int
    integer: tuple[bool, ...] = ()
    problems: tuple[Problem, ...] = ()


def examine_block(task: ChecksTask, block: Block, path: Path, first: int) -> Examined:
    """Write the part of a block and return what it holds; with problems there is no part.

    The part: y (n_traits, n) responses, NaN where missing; x<k> limited covariates; marks (n_traits, n), of what is out
    of range the place of its rule; codes<k> (n,) into entries<k> of each class; animal, words.
    """
    responses = task.roles.columns.responses
    dates = [task.roles.cutoff.column] if task.roles.cutoff is not None else []
    numeric = task.roles.cutoff is not None and task.roles.cutoff.numeric
    text = [*task.classes, *([task.animal] if task.animal is not None else []), *([] if numeric else dates)]
    parsed = parse_block(block, text, [*responses, *task.limited, *(dates if numeric else [])])
    if parsed.problems:
        return Examined(parsed.n_rows, parsed.n_lines, problems=tuple(parsed.problems))
    found: list[tuple[int, Problem]] = []
    by_trait, _ = observed_responses(parsed, task.roles, task.missing, first, found)
    if found:
        return Examined(parsed.n_rows, parsed.n_lines, problems=placed(found, block, parsed.n_rows))
    y = np.array([by_trait[t] for t in responses])
    marks = np.zeros(y.shape, np.uint8)
    for mark, rule in enumerate(task.rules, 1):
        if rule.kind == "range":
            values = by_trait[rule.column] if rule.column in by_trait else parsed.reals[rule.column]
            beyond = (values < rule.limits[0]) | (values > rule.limits[1])
            for t in rule.traits:
                marks[t, beyond & ~np.isnan(y[t]) & (marks[t] == 0)] = mark
    arrays: dict[str, NDArray[Any]] = {"y": y, "marks": marks}
    arrays |= {f"x{k}": parsed.reals[c] for k, c in enumerate(task.limited)}
    integer = []
    for k, column in enumerate(task.classes):
        codes, entries = number_labels(parsed.text[column])
        arrays |= {f"codes{k}": codes, f"entries{k}": entries, f"used{k}": np.ones(len(entries), bool)}
        integer.append(as_integers(entries) is not None)
    if task.animal is not None:
        arrays["animal"] = parsed.text[task.animal]
    write_part(path, arrays)
    return Examined(parsed.n_rows, parsed.n_lines, tuple(integer))


@dataclass(frozen=True)
class CheckedRecords:
    """The records under their checks: parts and marks of the blocks, class levels."""

    task: ChecksTask
    parts: tuple[Path, ...]
    levels: tuple[Path, ...]
    n_levels: tuple[int, ...]
    reports: tuple[Examined, ...]
    marks: tuple[Marks, ...]

    def codes(self, column: str, block: int) -> NDArray[np.int64]:
        """Return the level of each record of a block in a class column, -1 if it has none."""
        k = self.task.classes.index(column)
        local = map_part(self.parts[block], [f"codes{k}"])[f"codes{k}"]
        codes: NDArray[np.int64] = np.append(codes_of_block(self.levels[k], block), -1).astype(np.int64)[local]
        return codes

    def responses(self, block: int) -> Floats:
        """Return the responses of a block that are not marked, NaN elsewhere, (n_traits, n)."""
        return np.where(self.marks[block] > 0, np.nan, map_part(self.parts[block], ["y"])["y"])


def examine(run: Ingest, first: list[int], checks: ChecksSpec, more_classes: tuple[str, ...] = ()) -> CheckedRecords:
    """Return the records with all that breaks a rule marked; more_classes: columns whose levels are wanted, too.

    Raises `InputFileError` for what cannot be read. Memory: a byte for each response, sums by level, a block.
    """
    rules = rules_of(run.plan.roles, checks)
    classes = [*([checks.within] if checks.within is not None else []), *(c for c, _ in checks.smallest)]
    task = ChecksTask(run.plan.roles, rules, tuple(dict.fromkeys([*classes, *more_classes])), run.missing_part)
    parts = tuple(run.wip / "checks" / f"part-{i:06d}" for i in range(len(run.blocks)))
    work = [(task, *each) for each in zip(run.blocks, parts, first, strict=True)]
    reports = run_tasks("records: check", examine_block, work, run.workers, run.progress)
    lines = run.first_lines([r.n_lines for r in reports])
    raise_problems(shift(p, before) for before, r in zip(lines, reports, strict=True) for p in r.problems)
    levels = tuple(run.wip / "checks" / f"levels-{k:03d}" for k in range(len(task.classes)))
    integer = [all(r.integer[k] for r in reports) for k in range(len(levels))]
    work_levels = [(k, list(parts), integer[k], levels[k]) for k in range(len(levels))]
    n_levels = run_tasks("records: check levels", merge_levels, work_levels, run.workers, run.progress)
    marks = tuple(np.array(map_part(part, ["marks"])["marks"]) for part in parts)
    checked = CheckedRecords(task, parts, levels, tuple(n_levels), tuple(reports), marks)
    for mark, rule in enumerate(rules, 1):
        if rule.kind == "outlier":
            _mark_outliers(checked, rule, mark, checks.within)
        elif rule.kind == "group":
            _mark_groups(checked, rule, mark)
    return checked


def _mark_outliers(checked: CheckedRecords, rule: Rule, mark: int, within: str | None) -> None:
    """Mark the responses whose deviation from the mean of their level is too large.

    It is divided by s sqrt(1 - 1/n), s the standard deviation within levels, n the observations of the level: what the
    deviation has if s is that of an observation.
    """
    (t,) = rule.traits
    n_levels = 1 if within is None else checked.n_levels[checked.task.classes.index(within)]

    def blocks() -> Iterator[tuple[Marks, NDArray[np.int64], Floats, NDArray[np.bool_]]]:
        for block, marks in enumerate(checked.marks):
            y = checked.responses(block)[t]
            codes = np.zeros(len(y), np.int64) if within is None else checked.codes(within, block)
            yield marks, codes, y, ~np.isnan(y) & (codes >= 0)

    count, total, squares = np.zeros(n_levels), np.zeros(n_levels), np.zeros(n_levels)
    for _, codes, y, known in blocks():
        count += np.bincount(codes[known], minlength=n_levels)
        total += np.bincount(codes[known], y[known], minlength=n_levels)
    mean = total / np.maximum(count, 1)
    for _, codes, y, known in blocks():
        squares += np.bincount(codes[known], (y[known] - mean[codes[known]]) ** 2, minlength=n_levels)
    free = float(np.maximum(count - 1, 0).sum())
    if free < 1:
        return
    limit = rule.limits[0] * np.sqrt(squares.sum() / free) * np.sqrt(1 - 1 / np.maximum(count, 1))
    for marks, codes, y, known in blocks():
        rows = np.flatnonzero(known)
        far = np.abs(y[rows] - mean[codes[rows]]) > limit[codes[rows]]
        marks[t, rows[far & (count[codes[rows]] > 1)]] = mark


def _mark_groups(checked: CheckedRecords, rule: Rule, mark: int) -> None:
    """Mark the responses of levels that have too few of the trait."""
    n_levels = checked.n_levels[checked.task.classes.index(rule.column)]
    counts = np.zeros((len(rule.traits), n_levels), np.int64)
    for block in range(len(checked.parts)):
        codes, y = checked.codes(rule.column, block), checked.responses(block)
        for t in rule.traits:
            counts[t] += np.bincount(codes[~np.isnan(y[t]) & (codes >= 0)], minlength=n_levels)
    for block, marks in enumerate(checked.marks):
        codes, y = checked.codes(rule.column, block), checked.responses(block)
        for t in rule.traits:
            few = ~np.isnan(y[t]) & (codes >= 0) & (counts[t][np.maximum(codes, 0)] < rule.limits[0])
            marks[t, few] = mark


def checked_records(run: Ingest, first: list[int]) -> Path | None:
    """Return the part with the flags of responses that are taken as missing, None if none are; see `ChecksSpec`.

    What breaks a rule is told in a warning and listed in `EDITS` of the working folder. Raises `InputFileError` with it
    if that is the action.
    """
    checks = run.plan.roles.checks
    flags = run.wip / "missing-checked"
    if checks is None:
        return None
    if not is_whole(flags):
        checked = examine(run, first, checks)
        found = write_edits(run, checked, checks.action, run.wip / EDITS)
        tell(found, checks.action)
        n_traits = len(run.plan.roles.columns.responses)
        packed = [np.packbits(marks.T > 0, axis=1) for marks in checked.marks]
        out = np.concatenate(packed) if packed else np.zeros((0, -(-n_traits // 8)), np.uint8)
        if run.missing_part is not None:
            out |= map_part(run.missing_part)["missing"]
        write_part(flags, {"missing": out})
    return flags if checks.action == "drop" else None


def tell(found: list[Edits], action: str) -> None:
    """Warn of what breaks the rules, with the first offenders; raise `InputFileError` if the action is error."""
    remedy = 'correct the data, or set action = "drop" or "warn" in [checks]'
    if action == "error" and (problems := [p for e in found for p in e.problems(remedy)]):
        raise InputFileError(problems)
    for e in found:
        if e.count:
            done = "taken as missing" if action == "drop" else "kept"
            log.warning(
                "%s of %s: %s, %s; first: %s", f"{e.count:,}", e.rule.column, e.rule.reason, done, e.first(SHOWN)
            )
