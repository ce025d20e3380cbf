"""The variances of an earlier run, taken as known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from henderson.errors import InputFileError, Problem
from henderson.language.spec import Matrix, ModelSpec, VarianceSpec
from henderson.results.solution_files import REMEDY, variances_file


def with_variances(spec: ModelSpec, out: Path) -> ModelSpec:
    """Return the model with the Sigma that a run has estimated, whose folder of results is `out`.

    Raises `InputFileError` if it has none, or not that of every variance of the model.
    """
    path = variances_file(out)
    try:
        found = json.loads(path.read_bytes())["variances"]
        return replace(spec, variances=tuple(_known(v, found[v.name]) for v in spec.variances))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = Problem(f"does not hold the variances of the model ({error!r})", file=str(path), remedy=REMEDY)
        raise InputFileError(problem) from None


def _known(variance: VarianceSpec, estimate: dict[str, Any]) -> VarianceSpec:
    if "classes" in estimate:
        classes = tuple(sorted((level, _matrix(e["sigma"])) for level, e in estimate["classes"].items()))
        return replace(variance, classes=classes, sigma=variance.sigma or classes[0][1])
    return replace(variance, sigma=_matrix(estimate["sigma"]))


def _matrix(rows: list[list[float]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)
