"""The table `[checks]` of a parameter file: what the records may hold, and what is done about the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from henderson.errors import unknown
from henderson.language.draft import Draft
from henderson.language.source import Place, Problems
from henderson.language.spec import ACTIONS, ChecksSpec
from henderson.language.values import Table, say

KEYS = ("action", "range", "outliers", "within", "smallest", "collinear", "born", "parent_age")


def read_checks(root: Table, draft: Draft) -> None:
    """Read ``[checks]``; whether its columns fit the model is for `check_columns`."""
    if (table := root.table("checks")) is None:
        return
    table.check_keys(KEYS)
    action, collinear, age = table.text("action") or "warn", table.number("collinear"), table.number("parent_age")
    if action not in ACTIONS:
        table.fault(f"{unknown('action', action, ACTIONS)} ({', '.join(ACTIONS)})", "action")
    if collinear is not None and not 0.0 < collinear < 1.0:
        table.fault(f"'collinear' is a correlation between 0 and 1, not {collinear:g}", "collinear")
    draft.checks = ChecksSpec(
        action,  # type: ignore[arg-type]
        tuple((c, float(v[0]), float(v[1])) for c, v in _entries(table, "range", _is_range, "[lowest, highest]")),
        tuple((c, float(v)) for c, v in _entries(table, "outliers", _is_positive, "a number of standard deviations")),
        table.text("within"),
        tuple(_entries(table, "smallest", _is_count, "a whole number of records")),
        ChecksSpec.collinear if collinear is None else collinear,
        table.text("born"),
        0.0 if age is None else age,
    )
    draft.checks_at = table.at()


def check_columns(draft: Draft, problems: Problems) -> list[tuple[str, Place | None]]:
    """Return the columns of the records that the checks use; what has no part in the model is noted in `problems`."""
    checks = draft.checks
    if checks is None:
        return []
    traits = {e.response for e in draft.equations}
    numbers = traits | {t.variable.name for e in draft.equations for t in e.terms if t.variable.kind == "covariate"}
    for key, columns, known, what in (
        ("range", [c for c, *_ in checks.range], numbers, "response or covariate"),
        ("outliers", [c for c, _ in checks.outliers], traits, "response"),
    ):
        for column in columns if draft.equations else ():
            if column not in known:
                problems.add(f"[checks] {key}: {unknown(what, column, sorted(known))} of the model", draft.checks_at)
    classes = [c for c in (checks.within, *(c for c, _ in checks.smallest)) if c is not None]
    return [(column, draft.checks_at) for column in classes]


def _entries(table: Table, key: str, good: Any, what: str) -> Iterator[tuple[str, Any]]:
    """Yield the columns of an inner table with their values, sorted."""
    inner = table.table(key)
    for column in sorted(inner.values) if inner is not None else ():
        assert inner is not None
        if good(inner.values[column]):
            yield column, inner.values[column]
        else:
            inner.fault(f"{column!r} must be {what}, not {say(inner.values[column])}", column)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]
