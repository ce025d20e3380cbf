"""Start values from the data: the phenotypic (co)variance after the fixed effects, shared among the random effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.kernels import reml_records as kernels
from henderson.reml.equations import EquationPattern
from henderson.reml.likelihood import restricted_factor

Floats = NDArray[np.float64]

RESIDUAL_SHARE = 0.5


def phenotypic(pattern: EquationPattern) -> Floats:
    """Return the (co)variance of the responses after the fixed effects by least squares, positive definite."""
    r = pattern.records
    n_kinds, n_traits = r.observed.shape
    identity = np.zeros((n_kinds, n_traits, n_traits))
    for k in range(n_kinds):
        identity[k][np.diag_indices(n_traits)] = r.observed[k]
    fixed = np.ones(pattern.n, np.bool_)
    fixed[pattern.random_rows()] = False
    rows = np.flatnonzero(fixed)
    solution = np.zeros(pattern.n)
    if len(rows):
        factor, here = restricted_factor(pattern, rows)
        values = pattern.values(identity, [np.zeros((p.number.shape[1],) * 2) for p in pattern.gammas])
        factor.factor(values[here])
        rhs = np.zeros(pattern.n)
        kernels.right_hand_side(*r.terms, r.kind, r.weights, identity, r.responses, rhs)
        solution[rows] = factor.solve(rhs[rows])
    e = np.empty_like(r.responses)
    kernels.residuals(
        *r.terms, r.observed, r.kind, r.weights, r.responses, np.where(fixed, solution, 0.0), e, np.zeros_like(identity)
    )
    seen = r.observed[r.kind].astype(np.float64)
    root = np.sqrt(r.weights)[:, None]
    counts = seen.T @ seen
    per_trait = seen.sum(axis=0)
    freedom = np.maximum(per_trait - len(rows) / max(n_traits, 1), 0.1 * per_trait)
    matrix = (root * e).T @ (root * e) / np.maximum(counts, 1.0)
    scale = np.sqrt(per_trait / np.maximum(freedom, 1e-300))
    matrix = matrix * np.outer(scale, scale)
    spread = np.array([np.var(y[~np.isnan(y)]) if np.any(~np.isnan(y)) else 1.0 for y in pattern.design.responses])
    diagonal = np.maximum(np.diag(matrix), 1e-6 * spread)
    diagonal = np.where(diagonal > 0.0, diagonal, 1.0)
    return bend(matrix - np.diag(np.diag(matrix)) + np.diag(diagonal))


def bend(matrix: Floats, smallest: float = 0.1) -> Floats:
    """Return `matrix` with the eigenvalues of its correlations at least `smallest`, its variances unchanged."""
    deviation = np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix / np.outer(deviation, deviation))
    if values[0] >= smallest:
        return matrix
    bent = (vectors * np.maximum(values, smallest)) @ vectors.T
    scale = deviation / np.sqrt(np.diag(bent))
    return np.asarray(bent * np.outer(scale, scale))


def position_sizes(design: Design, g: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return, per position of a group, the mean square of its coefficients where its trait is seen, and that trait."""
    group = design.groups[g]
    sizes, traits = np.ones(group.width), np.zeros(group.width, np.int64)
    for position in range(group.width):
        total, count = 0.0, 0
        for term in design.terms:
            if design.slots[term.slot].group != g or term.position != position:
                continue
            codes = design.slots[term.slot].codes
            seen = design.patterns.observed[:, term.trait][design.patterns.codes] & (codes >= 0)
            c = 1.0 if term.coefficient < 0 else design.coefficients[term.coefficient][seen]
            total += float(np.sum(np.square(c) * np.ones(int(seen.sum()))))
            count += int(seen.sum())
            traits[position] = term.trait
        if total > 0.0:
            sizes[position] = total / count
    return sizes, traits


def start_values(pattern: EquationPattern, total: Floats) -> tuple[list[Floats], list[Floats]]:
    """Return start values of Sigma per random group and residual class, and the phenotypic scale of each position."""
    design = pattern.design
    n_groups = len(pattern.gammas)
    starts, scales = [], []
    share = (1.0 - RESIDUAL_SHARE) / max(n_groups, 1)
    for part in pattern.gammas:
        sizes, traits = position_sizes(design, part.group)
        root = np.sqrt(np.diag(total)[traits] / sizes)
        same = traits[:, None] == traits
        correlation = total / np.sqrt(np.outer(np.diag(total), np.diag(total)))
        linked = np.where(same, np.eye(len(traits)), correlation[np.ix_(traits, traits)])
        counts = same.sum(axis=1)
        linked = bend(0.5 * (linked + np.eye(len(traits))) * 1.0)
        deviation = root * np.sqrt(share / counts)
        starts.append(linked * np.outer(deviation, deviation))
        scales.append(root**2)
    n_classes = len(design.residuals)
    starts += [RESIDUAL_SHARE * total] * n_classes
    scales += [np.diag(total).copy()] * n_classes
    return starts, scales
