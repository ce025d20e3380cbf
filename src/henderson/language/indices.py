"""Indices, ``[index.NAME]``: linear functions of the coefficients of a level, such as the yield of 305 days.

The weight of a coefficient is a number, or, of a regression, what the function has at points of its covariate: the
yield of days 5 to 305 is sum_d sum_k phi_k(d) u_k, so that of u_k the weight is sum_d phi_k(d).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.errors import ModelError, unknown
from henderson.language.draft import Draft, DraftIndex, DraftWeight
from henderson.language.polynomials import evaluate
from henderson.language.source import Problems
from henderson.language.spec import Equation, IndexSpec, SubFactor, Term
from henderson.language.values import Table, say

MOST_POINTS = 100_000
FORMS = 'a number, { at = "5:305" }, { at = [60, 280], weight = 0.5 }, or a list of these'
_NUMBER = r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_RANGE = re.compile(f"{_NUMBER}:{_NUMBER}(?::{_NUMBER})?")


@dataclass(frozen=True)
class _Coefficient:
    """A printed coefficient of a level: its variance (None: fixed), and what it is a coefficient of."""

    variance: str | None
    term: Term
    polynomial: int | None


def read_indices(root: Table, draft: Draft) -> None:
    """Read ``[index.NAME]``."""
    for name, table in root.tables("index"):
        table.check_keys(("weights",))
        if "weights" not in table.values:
            table.fault("'weights' is missing: " + 'weights = { u1 = 1.0, u2 = { at = "5:305" } }')
        if (weights := table.table("weights")) is None:
            continue
        found = [w for subfactor in weights.values for w in _weights(weights, subfactor)]
        if not weights.values:
            table.fault("'weights' is empty", "weights")
        draft.indices[name] = DraftIndex(name, found, table.at())


def _weights(table: Table, subfactor: str) -> Iterator[DraftWeight]:
    """Yield what a table of weights says of one sub-factor."""
    value = table.values[subfactor]
    parts = value if isinstance(value, list) else [value]
    if not parts:
        table.fault(f"weights of {subfactor!r} are empty: {FORMS}", subfactor)
    for number, part in enumerate(parts):
        keys = (subfactor, str(number)) if isinstance(value, list) else (subfactor,)
        at = table.at(*keys) or table.at(subfactor)
        if isinstance(part, dict):
            inner = Table(part, (*table.path, *keys), table.places, table.problems)
            inner.check_keys(("at", "x", "weight"))
            weight = inner.number("weight")
            points = _points(inner) if "at" in part else None
            if "at" not in part:
                inner.fault("'at' is missing: the values of the covariate, at = \"5:305\"")
            elif points is not None:
                yield DraftWeight(subfactor, 1.0 if weight is None else weight, points, inner.text("x"), at)
        elif isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part):
            yield DraftWeight(subfactor, float(part), None, None, at)
        else:
            table.fault(f"weight of {subfactor!r} must be {FORMS}, not {say(part)}", *keys)


def _points(table: Table) -> tuple[float, ...] | None:
    """Return the points in ``at``: a number, a list of them, or a text ``first:last`` or ``first:last:step``."""
    value = table.values["at"]
    if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
        first, last, step = (float(text) for text in (match[1], match[2], match[3] or "1"))
        if step <= 0.0 or last < first:
            table.fault(f"'at' = {value!r}: the last value lies before the first, or the step is not positive", "at")
            return None
        n = math.floor((last - first) / step * (1.0 + 1e-12) + 1e-9) + 1
        if n > MOST_POINTS:
            table.fault(f"'at' = {value!r} has {n:,} points, more than {MOST_POINTS:,}", "at")
            return None
        return tuple((first + step * np.arange(n)).tolist())
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        table.fault(f"'at' must be a number, a list of them, or a range such as \"5:305\", not {say(value)}", "at")
        return None
    return tuple(map(float, values))


def make_indices(
    draft: Draft,
    equations: Sequence[Equation],
    subfactors: Sequence[SubFactor],
    polynomials: Sequence[str | None],
    problems: Problems,
) -> tuple[IndexSpec, ...]:
    """Return the indices sorted by name, their weights by printed coefficient; mistakes are noted in `problems`."""
    known = _coefficients(equations, subfactors)
    found = []
    for name in sorted(draft.indices):
        index = draft.indices[name]
        if name in known or any(s.name == name for s in subfactors):
            problems.add(f"index {name!r} has the name of a sub-factor", index.at, "give it another one")
        sums: dict[str, float] = {}
        for part in index.weights:
            for coefficient, weight in _resolved(part, name, known, polynomials, problems):
                sums[coefficient] = sums.get(coefficient, 0.0) + weight
        variances = list(dict.fromkeys(known[c].variance or "" for c in sums))
        if len(variances) > 1:
            problems.add(
                f"index {name!r} has weights of variances {' and '.join(variances)}", index.at,
                "an index is of the levels of one variance: make one index of each",
            )  # fmt: skip
        elif sums and not any(sums.values()):
            problems.add(f"all weights of index {name!r} are 0", index.at)
        elif sums:
            found.append(IndexSpec(name, variances[0], tuple(sorted((c, w) for c, w in sums.items() if w != 0.0))))
    return tuple(found)


def _coefficients(equations: Sequence[Equation], subfactors: Sequence[SubFactor]) -> dict[str, _Coefficient]:
    """Return the coefficients of levels by the names they are printed under."""
    variance = {s.name: s.variance for s in subfactors}
    found: dict[str, _Coefficient] = {}
    for term in (t for e in equations for t in e.terms):
        for k in term.polynomials or (None,):
            name = term.subfactor if k is None else f"{term.subfactor}_{k}"
            found.setdefault(name, _Coefficient(variance[term.subfactor], term, k))
    return found


def _resolved(
    part: DraftWeight, index: str, known: dict[str, _Coefficient], polynomials: Sequence[str | None], problems: Problems
) -> Iterator[tuple[str, float]]:
    """Yield the weights of the coefficients that a part stands for."""
    mine = {n: c for n, c in known.items() if n == part.subfactor or c.term.subfactor == part.subfactor}
    if not mine:
        names = dict.fromkeys(n for name, c in known.items() if c.variance for n in (c.term.subfactor, name))
        problems.add(f"index {index!r}: {unknown('sub-factor', part.subfactor, list(names))}", part.at)
        return
    first = next(iter(mine.values()))
    if first.variance is None:
        problems.add(f"index {index!r}: sub-factor {part.subfactor!r} is fixed; indices are of random ones", part.at)
    elif part.points is None:
        if part.subfactor not in mine:
            problems.add(
                f"index {index!r}: {part.subfactor!r} has {len(mine)} coefficients, {', '.join(mine)}", part.at,
                f'weigh each of them, or say where the curve is taken: {part.subfactor} = {{ at = "5:305" }}',
            )  # fmt: skip
            return
        yield part.subfactor, part.weight
    elif first.term.kind != "covariate":
        problems.add(f"index {index!r}: {part.subfactor!r} is no regression, and has no points 'at'", part.at)
    else:
        if (x := _covariate(part, index, problems)) is None:
            return
        for name, c in mine.items():
            text = "x" if c.polynomial is None else polynomials[c.polynomial - 1]
            total = 0.0 if text is None else float(np.sum(evaluate(text, x)))
            if not math.isfinite(total):
                problems.add(f"index {index!r}: {text} is not finite at some point of {part.subfactor!r}", part.at)
                return
            yield name, part.weight * total


def _covariate(part: DraftWeight, index: str, problems: Problems) -> NDArray[np.float64] | None:
    """Return the values of the covariate at the points of a part."""
    assert part.points is not None
    points = np.array(part.points)
    if part.x is None:
        return points
    try:
        return evaluate(part.x, points)
    except ModelError as e:
        problems.add(f"index {index!r}, 'x': {e}", part.at)
        return None
