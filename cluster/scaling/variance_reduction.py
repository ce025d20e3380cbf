"""What estimates of the traces in the REML gradient spread, by estimator, at the exact estimates of simulated data.

    python cluster/scaling/variance_reduction.py [--model NAME ...] [--animals 1000] [--samples 512] [--solves 48]

The traces are those of A^-1 C^uu for each pair of positions of the breeding value, seen through F, F F' = Sigma^-1, so
that M, the whole matrix, has eigenvalues from 0 (known) to 1 (the data say nothing). Printed is the standard deviation
that one solve leaves in the elements of a kind, relative to that of the quadratic form of a sample with normal numbers:
its square is how many solves are needed for the same error. Rows with "of M" are computed from the dense matrix.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from monte_carlo_calibration import MODELS, Case, fit, make
from numpy.typing import NDArray

from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.equations.samples import (
    Forms,
    cross_forms,
    quadratic_forms,
    sample_right_hand_sides,
    sign_forms,
)
from henderson.partitions.threads import Team
from henderson.reml.control_variates import combined
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.solve import Stages, set_up
from henderson.solvers.sweep import preconditioner_for_many

Floats = NDArray[np.float64]

BATCH = 32
SKETCHES = 10
NAMES = ("normal numbers, quadratic", "signs, quadratic", "signs, linear (cross)", "signs, with control variates")
OF_M = (
    "of M: antithetic pairs, normal numbers",
    "of M: Hutchinson, signs",
    "of M: Hutch++, signs",
    "of M: half of the solves on the best subspace, all of them on the rest (XTrace is above)",
)


def sampled(operator: Operator, n: int) -> tuple[Forms, Forms, Forms]:
    """Return the quadratic, linear and control-variate forms of `n` samples."""
    preconditioner = preconditioner_for_many(operator)
    found: list[tuple[Forms, Forms, Forms]] = []
    columns = ColumnOperator(operator, BATCH)
    for seed in range(1, n // BATCH + 1):
        rhs = sample_right_hand_sides(columns, seed)
        x = pcg_columns(columns, preconditioner, rhs, rtol=1e-9, max_it=5000).solution
        found.append((quadratic_forms(columns, x), cross_forms(columns, x, seed), sign_forms(columns, seed)))
    quadratic, cross, signs = (_joined(forms) for forms in zip(*found, strict=True))
    return quadratic, cross, combined(quadratic, cross, signs, operator)


def _joined(parts: tuple[Forms, ...]) -> Forms:
    groups = zip(*(p.random for p in parts), strict=True)
    random = (None if g[0] is None else np.concatenate(g) for g in groups)
    return Forms(tuple(random), np.concatenate([p.residual for p in parts]))


def dense(operator: Operator) -> Floats:
    """Return C of an operator of one partition, with ones for columns that are left out."""
    n = operator.partitions[0].layout.n_owned
    blocks = []
    for first in range(0, n, BATCH):
        columns = ColumnOperator(operator, BATCH)
        x, out = columns.zeros(), columns.zeros()
        at = np.arange(first, min(first + BATCH, n))
        x[0][at, at - first] = 1.0
        columns.apply(x, out)
        blocks.append(out[0][:n, : len(at)])
    whole = np.concatenate(blocks, axis=1)
    out_of_it = np.flatnonzero(np.diag(whole) == 0.0)
    whole[:, out_of_it] = 0.0
    whole[out_of_it, out_of_it] = 1.0
    return whole


def whitened(case: Case, operator: Operator, g: int) -> tuple[Floats, Floats]:
    """Return M of group `g`, (width, n, width, n), and that part of it which comes from the errors of the records."""
    local = operator.partitions[0].layout.groups[g]
    inverse = operator.sigma_inverse[g]
    pedigree = case.data.pedigrees["ped"]
    assert inverse is not None
    n, w = len(pedigree.sire), local.width
    root = np.eye(n)
    for parent in (pedigree.sire, pedigree.dam):
        known = np.flatnonzero(parent >= 0)
        np.add.at(root, (known, parent[known]), -0.5)
    root /= np.sqrt(pedigree.mendelian_variance)[:, None]
    factor = np.linalg.cholesky(inverse)
    c = dense(operator)
    solved = np.linalg.inv(c)
    turn = np.kron(root, factor.T)  # levels outside, positions inside, as equations are
    m = turn @ solved[local.elements, local.elements] @ turn.T
    right = solved[:, local.elements] @ turn.T
    prior = np.zeros_like(c)
    for k, other in enumerate(operator.partitions[0].layout.groups):
        sigma = operator.sigma_inverse[k]
        if sigma is None:
            continue
        gamma = root.T @ root if k == g else np.eye(other.n_owned)
        prior[other.elements, other.elements] = np.kron(gamma, sigma)
    of_prior = right.T @ prior @ right

    def apart(v: Floats) -> Floats:
        return np.asarray(v.reshape(n, w, n, w).transpose(1, 0, 3, 2))

    return apart(m), apart(m - of_prior)


def normal_variance(m: Floats, i: int, j: int) -> float:
    """Return the variance of v_i'v_j, v normal with covariance `m`."""
    return float(np.sum(m[i, :, i] * m[j, :, j]) + np.sum(m[i, :, j] * m[i, :, j].T))


def of_matrix(m: Floats, errors: Floats, solves: int, i: int, j: int, rng: np.random.Generator) -> Iterator[float]:
    """Yield the variances that one solve leaves in the trace of block (i, j), in the order of `OF_M`."""
    w, n = m.shape[:2]
    yield 2.0 * (normal_variance(errors, i, j) + normal_variance(m - errors, i, j))
    whole = m.reshape(w * n, w * n)
    b = np.zeros_like(whole)
    b[i * n : (i + 1) * n] = whole[j * n : (j + 1) * n]
    b = 0.5 * (b + b.T)

    def spread(v: Floats) -> float:
        return 2.0 * float(np.sum(v * v) - np.sum(np.diag(v) ** 2))

    def without(q: Floats) -> Floats:
        rest = b - q @ (q.T @ b)
        return np.asarray(rest - (rest @ q) @ q.T)

    yield spread(b)
    third = solves // 3
    sketches = (np.linalg.qr(whole @ rng.choice((-1.0, 1.0), (w * n, third)))[0] for _ in range(SKETCHES))
    yield solves / third * float(np.mean([spread(without(q)) for q in sketches]))
    yield spread(without(np.linalg.eigh(whole)[1][:, -(solves // 2) :]))


def study(model: str, animals: int, n: int, solves: int, folder: Path) -> list[tuple[str, float, float, float]]:
    """Return for each estimator the relative standard deviations of diagonal, other and residual elements."""
    case = make(model, animals, 1, folder)
    spec = fit(case, "ai").spec
    rng = np.random.default_rng(1)
    with Team(1) as team:
        operator = set_up(spec, case.data, team, Stages())
        g = next(k for k, group in enumerate(operator.design.groups) if group.name == "g")
        forms = sampled(operator, n)
        m, errors = whitened(case, operator, g)
    inverse = operator.sigma_inverse[g]
    assert inverse is not None
    factor = np.linalg.cholesky(inverse)
    w = len(factor)
    unit = np.array([[normal_variance(m, i, j) for j in range(w)] for i in range(w)])
    of_residual = np.sqrt(np.einsum("kpii->kpi", forms[0].residual).sum(axis=1).var(axis=0))
    rows = [(NAMES[0], *_kinds(unit / unit), float("nan"))]
    for name, found in zip(NAMES[1:], forms, strict=True):
        turned = factor.T @ np.asarray(found.random[g]) @ factor
        residual = np.sqrt(np.einsum("kpii->kpi", found.residual).sum(axis=1).var(axis=0))
        rows.append((name, *_kinds(turned.var(axis=0) / unit), float(np.mean(residual / of_residual))))
    rows.append(
        ("rank(C) less the traces of all factors", float("nan"), float("nan"), _by_identity(operator, *forms[::2]))
    )
    pairs = [[list(of_matrix(m, errors, solves, i, j, rng)) for j in range(w)] for i in range(w)]
    for k, name in enumerate(OF_M):
        rows.append((name, *_kinds(np.array(pairs)[:, :, k] / unit), float("nan")))
    return rows


def _by_identity(operator: Operator, quadratic: Forms, reduced: Forms) -> float:
    """Return the relative spread of the residual's trace, all traits together, from those of the others."""
    operands = zip(reduced.random, operator.sigma_inverse, strict=True)
    others = sum(np.tensordot(a, inverse, 2) for a, inverse in operands if a is not None and inverse is not None)
    own = np.einsum("kpij,pij->k", quadratic.residual, operator.residual.reshape(quadratic.residual.shape[1:]))
    return float(np.std(others) / np.std(own))


def _kinds(variances: Floats) -> tuple[float, float]:
    """Return mean standard deviations on the diagonal and off it."""
    found = np.sqrt(variances)
    return float(np.mean(np.diag(found))), float(np.mean(found[~np.eye(len(found), dtype=np.bool_)]))


def main() -> None:
    """Run the study that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--animals", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--solves", type=int, default=48)
    given = parser.parse_args()
    names = ("model", "estimator", "genetic, variances", "genetic, covariances", "residual, variances")
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)
    for model in given.model:
        with tempfile.TemporaryDirectory() as folder:
            rows = study(model, given.animals, given.samples, given.solves, Path(folder))
        for name, *values in rows:
            cells = ["" if np.isnan(v) else f"{v:.2f}" for v in values]
            print(f"| {model} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
