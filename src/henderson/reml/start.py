"""Start values from the data: the phenotypic (co)variance after the fixed effects, shared among the random effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.kernels import reml_records as kernels
from henderson.partitions.communicator import ALONE, Communicator
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
    sums = np.zeros_like(identity)
    kernels.residuals(
        *r.terms, r.observed, r.kind, r.weights, r.responses, np.where(fixed, solution, 0.0),
        np.empty_like(r.responses), sums,
    )  # fmt: skip
    counts = np.bincount(r.kind, minlength=n_kinds)
    return covariance_of(sums, r.observed, counts, len(rows), spread(pattern.design))


def covariance_of(
    sums: Floats, observed: NDArray[np.bool_], counts: NDArray[np.int64], n_fixed: int, spreads: Floats
) -> Floats:
    """Return the (co)variance of residuals, positive definite.

    sums: of weight * e e' by pattern of observed traits; counts: records of each; n_fixed: fixed effects, of all
    traits; spreads: variances of the responses themselves, which bound those of the residuals from below.
    """
    n_traits = observed.shape[1]
    seen = observed.astype(np.float64)
    pairs = (seen.T * counts) @ seen
    per_trait = np.diag(pairs)
    freedom = np.maximum(per_trait - n_fixed / max(n_traits, 1), 0.1 * per_trait)
    scale = np.sqrt(per_trait / np.maximum(freedom, 1e-300))
    matrix = sums.sum(axis=0) / np.maximum(pairs, 1.0) * np.outer(scale, scale)
    diagonal = np.maximum(np.diag(matrix), 1e-6 * spreads)
    diagonal = np.where(diagonal > 0.0, diagonal, 1.0)
    return bend(matrix - np.diag(np.diag(matrix)) + np.diag(diagonal))


def spread(design: Design, communicator: Communicator = ALONE) -> Floats:
    """Return the variance of the responses of each trait, 1 if there are none. **Collective**."""
    found = []
    for y in design.responses:
        seen = y[~np.isnan(y)]
        n, total = communicator.sum(np.array([len(seen), seen.sum()])).tolist()
        squares = communicator.sum(np.array([np.sum((seen - total / max(n, 1.0)) ** 2)]))
        found.append(float(squares[0]) / n if n else 1.0)
    return np.array(found)


def bend(matrix: Floats, smallest: float = 0.1) -> Floats:
    """Return `matrix` with the eigenvalues of its correlations at least `smallest`, its variances unchanged."""
    deviation = np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix / np.outer(deviation, deviation))
    if values[0] >= smallest:
        return matrix
    bent = (vectors * np.maximum(values, smallest)) @ vectors.T
    scale = deviation / np.sqrt(np.diag(bent))
    return np.asarray(bent * np.outer(scale, scale))


def position_sizes(design: Design, g: int, communicator: Communicator = ALONE) -> tuple[Floats, NDArray[np.int64]]:
    """Return, per position of a group, the mean square of its coefficients where its trait is seen, and that trait.

    **Collective**.
    """
    group = design.groups[g]
    sums, traits = np.zeros((2, group.width)), np.zeros(group.width, np.int64)
    for term in design.terms:
        if design.slots[term.slot].group != g:
            continue
        codes = design.slots[term.slot].codes
        seen = design.patterns.observed[:, term.trait][design.patterns.codes] & (codes >= 0)
        c = 1.0 if term.coefficient < 0 else design.coefficients[term.coefficient][seen]
        sums[:, term.position] += float(np.sum(np.square(c) * np.ones(int(seen.sum())))), int(seen.sum())
        traits[term.position] = term.trait
    total, count = communicator.sum(sums)
    return np.where(total > 0.0, total / np.maximum(count, 1.0), 1.0), traits


def start_values(
    design: Design, total: Floats, communicator: Communicator = ALONE
) -> tuple[list[Floats], list[Floats]]:
    """Return start values of Sigma per random group and residual class, and the phenotypic scale of each position.

    total: the phenotypic (co)variance. **Collective**.
    """
    random = [g for g, group in enumerate(design.groups) if group.covariance is not None]
    starts, scales = [], []
    share = (1.0 - RESIDUAL_SHARE) / max(len(random), 1)
    for g in random:
        sizes, traits = position_sizes(design, g, communicator)
        root = np.sqrt(np.diag(total)[traits] / sizes)
        same = traits[:, None] == traits
        correlation = total / np.sqrt(np.outer(np.diag(total), np.diag(total)))
        linked = np.where(same, np.eye(len(traits)), correlation[np.ix_(traits, traits)])
        counts = same.sum(axis=1)
        linked = bend(0.5 * (linked + np.eye(len(traits))))
        deviation = root * np.sqrt(share / counts)
        starts.append(linked * np.outer(deviation, deviation))
        scales.append(root**2)
    n_classes = len(design.residuals)
    starts += [RESIDUAL_SHARE * total] * n_classes
    scales += [np.diag(total).copy()] * n_classes
    return starts, scales
