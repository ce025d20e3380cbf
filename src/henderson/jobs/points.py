"""Where to predict: grids over levels of classes, or the rows of a frame."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from henderson.errors import UsageError, unknown
from henderson.jobs.frames import as_levels
from henderson.language.spec import ONE
from henderson.results.predict import Points, Predictor

MOST = 100_000


def grid_points(
    predictor: Predictor, classify: str | Sequence[str] | None, at: Mapping[str, Any]
) -> tuple[pd.DataFrame, Points]:
    """Return all combinations of the levels of `classify` and the values in `at`, as a frame and as points."""
    names = classify.split(":") if isinstance(classify, str) else list(classify or [])
    names = [n.strip() for n in names]
    classes, covariates = columns_of(predictor)
    known = [*classes, *covariates]
    for name in (*names, *at):
        if name not in known:
            raise UsageError(f"predict: {unknown('column of the model:', name, known)}")
    values: dict[str, list[Any]] = {}
    for name in dict.fromkeys([*names, *at]):
        given = at.get(name)
        if name in classes:
            levels = predictor.levels(name)
            chosen = levels if given is None else _labels(predictor, name, pd.Series(_listed(given)))
            for level in chosen:
                if level not in levels:
                    raise UsageError(f"predict, column {name!r}: {unknown('level', level, levels)}")
            values[name] = chosen
        elif given is None:
            raise UsageError(f"predict: {name!r} is a covariate; say where, at={{{name!r}: [...]}}")
        else:
            values[name] = [float(v) for v in _listed(given)]
    if (size := int(np.prod([len(v) for v in values.values()]))) > MOST:
        raise UsageError(f"predict: {size:,} combinations; the limit is {MOST:,}: name fewer classes, or some levels")
    frame = pd.DataFrame(list(itertools.product(*values.values())), columns=list(values))
    if not values:
        frame = pd.DataFrame(index=[0])
    return frame, Points(
        len(frame),
        {c: frame[c].tolist() for c in values if c in classes},
        {c: frame[c].to_numpy(np.float64) for c in values if c in covariates},
        average=True,
    )


def row_points(predictor: Predictor, rows: pd.DataFrame) -> tuple[pd.DataFrame, Points]:
    """Return the columns of the model in `rows`, and its rows as points."""
    classes, covariates = columns_of(predictor)
    here = [c for c in (*classes, *covariates) if c in rows.columns]
    if rows.empty:
        raise UsageError("predict: the frame has no rows")
    numbers = {}
    for c in (c for c in covariates if c in here):
        try:
            numbers[c] = rows[c].to_numpy(np.float64)
        except (TypeError, ValueError):
            raise UsageError(
                f"predict: column {c!r} of the frame is a covariate, and holds what is no number"
            ) from None
        if not np.isfinite(numbers[c]).all():
            raise UsageError(f"predict: column {c!r} of the frame has missing values")
    texts = {c: _labels(predictor, c, rows[c]) for c in classes if c in here}
    return rows[list(dict.fromkeys(here))].copy(), Points(len(rows), texts, numbers, average=False)


def columns_of(predictor: Predictor) -> tuple[list[str], list[str]]:
    """Return the class columns and the covariates that the terms of a fit use."""
    classes: dict[str, None] = {}
    covariates: dict[str, None] = {}
    for equation in predictor.fit.spec.equations:
        for term in equation.terms:
            classes.update(dict.fromkeys(c for c in (term.level_variable or ONE).split(":") if c != ONE))
            classes.update(dict.fromkeys(c for c, _ in term.where))
            if term.kind == "covariate":
                covariates[term.variable] = None
    return list(classes), list(covariates)


def _labels(predictor: Predictor, column: str, values: pd.Series) -> list[str]:
    """Return values of a class column as levels: as text, or as a frame of records would have them.

    Raises `UsageError` for missing values.
    """
    if values.isna().any():
        raise UsageError(f"predict: column {column!r} has missing values")
    found = [label(v) for v in values]
    other = as_levels(values)
    if found == other:
        return found
    levels = set(predictor.levels(column))
    return [a if a in levels else b for a, b in zip(found, other, strict=True)]


def label(value: Any) -> str:
    """Return a level as the records write it: whole numbers without a point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
