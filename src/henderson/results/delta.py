"""Functions of variance components with standard errors by the delta method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.errors import UsageError
from henderson.language.functions import evaluate_function, parse_function
from henderson.language.source import Problems, Source
from henderson.reml.result import FunctionValue, RemlFit

Floats = NDArray[np.float64]
STEP = 1e-6


def function_of_components(fit: RemlFit, text: str) -> FunctionValue:
    """Return the value of an expression such as ``g[1,1] / (g[1,1] + res[1,1])`` and its standard error.

    The standard error is sqrt(d' V d), d the derivatives by the parameters (central differences), V their sampling
    covariance; NaN if the function depends on a parameter without a standard error. Of residual variances by class,
    ``res.F`` is that of class ``F`` (in backticks where that is no plain name).

    Raises `UsageError` for what is wrong in the expression.
    """
    sizes: dict[str, int | None] = {_title(name, label): len(e.sigma) for (name, label), e in fit.sigma.items()}
    problems = Problems("function")
    canonical = parse_function("function", Source.plain(text), sizes, problems)
    if canonical is None:
        raise UsageError(problems.found)
    values = np.array([p.value for p in fit.parameters])
    value = evaluate_function(canonical, matrices(fit, values))
    gradient = np.zeros(len(values))
    for k, step in enumerate(STEP * _scales(fit, values)):
        ends = []
        for sign in (1.0, -1.0):
            moved = values.copy()
            moved[k] += sign * step
            ends.append(evaluate_function(canonical, matrices(fit, moved)))
        gradient[k] = (ends[0] - ends[1]) / (2.0 * step)
    withheld = np.array([p.se is None and p.constraint != "fixed" for p in fit.parameters], np.bool_)
    for k in np.flatnonzero(withheld).tolist():  # the least bit of difference: the function has it in it
        moved = values.copy()
        moved[k] += np.abs(values).max()
        if evaluate_function(canonical, matrices(fit, moved)) != value:
            return FunctionValue(value, float("nan"))
    used = np.where(withheld, 0.0, gradient)
    return FunctionValue(value, float(np.sqrt(max(float(used @ fit.covariance @ used), 0.0))))


def _scales(fit: RemlFit, values: Floats) -> Floats:
    """Return the size that each parameter is measured by: sqrt(S_ii S_jj) of its own Sigma, 1 for correlations.

    Traits in different units have variances of very different sizes. Near zero it is a part of the standard error.
    """
    found = 1e-3 * np.sqrt(np.maximum(np.nan_to_num(fit.covariance.diagonal()), 0.0))
    for k, p in enumerate(fit.parameters):
        size = 1.0
        if p.kind != "correlation":
            deviation = np.sqrt(np.abs(fit.sigma[p.variance, p.label].sigma.diagonal()))
            size = max(float(deviation[p.row - 1] * deviation[p.col - 1]), abs(values[k])) or 1.0
        found[k] = max(found[k], size)
    return found


def matrices(fit: RemlFit, values: Floats) -> dict[str, Floats]:
    """Return Sigma by variance at values of the parameters."""
    found: dict[str, Floats] = {}
    correlations: list[tuple[str, int, int, float]] = []
    for p, value in zip(fit.parameters, values, strict=True):
        name = _title(p.variance, p.label)
        size = len(fit.sigma[p.variance, p.label].sigma)
        sigma = found.setdefault(name, np.zeros((size, size)))
        structure = fit.spec.variance(p.variance).structure
        if structure in ("id", "cs") and p.row == p.col:
            sigma[np.diag_indices(size)] = value
        elif structure == "cs":
            sigma[~np.eye(size, dtype=np.bool_)] = value
        elif p.kind == "correlation":
            correlations.append((name, p.row - 1, p.col - 1, value))
        else:
            sigma[p.row - 1, p.col - 1] = sigma[p.col - 1, p.row - 1] = value
    for name, i, j, r in correlations:
        sigma = found[name]
        sigma[i, j] = sigma[j, i] = r * np.sqrt(sigma[i, i] * sigma[j, j])
    return found


def _title(variance: str, label: str | None) -> str:
    return variance if label is None else f"{variance}.{label}"
