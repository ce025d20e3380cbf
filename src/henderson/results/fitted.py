"""Fitted values and residuals of a fit, record by record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.reml.result import RemlFit
from henderson.results.fixed_terms import solution_vector

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """One trait: row of the file (int64, from 0) of its n observed records, fitted values, residuals, scaled residuals.

    scaled: residuals over the residual standard deviation of their class and weight.
    """

    trait: str
    row: NDArray[np.int64]
    value: Floats
    residual: Floats
    scaled: Floats


def fitted_values(fit: RemlFit, trait: int) -> Fitted:
    """Return y_hat = X b + Z u of one trait where it is observed, in the order of the file, and y - y_hat."""
    design = fit.design
    vector = np.append(solution_vector(fit), 0.0)  # the last is what is left out
    value = np.zeros(design.n_records)
    for term in design.terms:
        if term.trait != trait:
            continue
        slot = design.slots[term.slot]
        solutions = np.append(vector[fit.number[slot.group][:, term.position]], 0.0)
        effect = solutions[np.maximum(slot.codes, -1)]
        value += effect if term.coefficient < 0 else effect * design.coefficients[term.coefficient]
    rows = np.flatnonzero(~np.isnan(design.responses[trait]))
    rows = rows[np.argsort(fit.data.records.row[rows], kind="stable")]
    residual = design.responses[trait][rows] - value[rows]
    variances = np.array([sigma[trait, trait] for sigma in design.residuals])
    variance = variances[design.patterns.residual[design.patterns.codes[rows]]]
    if design.weights is not None:
        variance = variance / design.weights[rows]
    return Fitted(
        fit.spec.traits[trait], fit.data.records.row[rows], value[rows], residual, residual / np.sqrt(variance)
    )
