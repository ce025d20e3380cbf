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
from pathlib import Path

import markdown_table
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
from henderson.reml.monte_carlo import joined
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
    quadratic, cross, signs = (joined(forms) for forms in zip(*found, strict=True))
    return quadratic, cross, combined(quadratic, cross, signs, operator)


def dense(operator: Operator) -> Floats:
    """Return C of an operator of one partition, with ones for columns that are left out."""
    n = operator.partitions[0].layout.n_owned
    blocks = []
    columns = ColumnOperator(operator, BATCH)
    for first in range(0, n, BATCH):
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


def of_matrix(m: Floats, errors: Floats, solves: int) -> Floats:
    """Return the variances that one solve leaves in the traces of all blocks, (width, width) for each of `OF_M`."""
    w, n = m.shape[:2]
    whole = m.reshape(w * n, w * n)
    rng, third = np.random.default_rng(1), solves // 3
    sketches = [np.linalg.qr(whole @ rng.choice((-1.0, 1.0), (w * n, third)))[0] for _ in range(SKETCHES)]
    best = np.linalg.eigh(whole)[1][:, -(solves // 2) :]
    found = np.empty((len(OF_M), w, w))
    for i in range(w):
        for j in range(i + 1):
            b = np.zeros_like(whole)
            b[i * n : (i + 1) * n] = whole[j * n : (j + 1) * n]
            b = 0.5 * (b + b.T)
            found[:, i, j] = found[:, j, i] = (
                2.0 * (normal_variance(errors, i, j) + normal_variance(m - errors, i, j)),
                signs_variance(b),
                solves / third * np.mean([signs_variance(without(b, q)) for q in sketches]),
                signs_variance(without(b, best)),
            )
    return found


def signs_variance(b: Floats) -> float:
    """Return the variance of z'b z, z of signs, b symmetric (Hutchinson 1990)."""
    return 2.0 * float(np.sum(b * b) - np.sum(np.diag(b) ** 2))


def without(b: Floats, q: Floats) -> Floats:
    """Return b without its part in the space of the orthonormal columns q."""
    rest = b - q @ (q.T @ b)
    return np.asarray(rest - (rest @ q) @ q.T)


def study(model: str, animals: int, n: int, solves: int, folder: Path) -> list[tuple[str, float, float, float]]:
    """Return for each estimator the relative standard deviations of diagonal, other and residual elements."""
    case = make(model, animals, 1, folder)
    spec = fit(case, "ai").spec
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
    of_residual = _of_traits(forms[0])
    rows = [(NAMES[0], *_kinds(unit / unit), float("nan"))]
    for name, found in zip(NAMES[1:], forms, strict=True):
        turned = factor.T @ np.asarray(found.random[g]) @ factor
        residual = float(np.mean(_of_traits(found) / of_residual))
        rows.append((name, *_kinds(turned.var(axis=0) / unit), residual))
    rows.append(
        ("rank(C) less the traces of all factors", float("nan"), float("nan"), _by_identity(operator, *forms[::2]))
    )
    for name, variances in zip(OF_M, of_matrix(m, errors, solves), strict=True):
        rows.append((name, *_kinds(variances / unit), float("nan")))
    return rows


def _of_traits(forms: Forms) -> Floats:
    """Return the standard deviation over samples of each trait's residual form, all patterns together."""
    return np.asarray(np.einsum("kpii->kpi", forms.residual).sum(axis=1).std(axis=0))


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
    print(markdown_table.head(names), flush=True)
    for model in given.model:
        with tempfile.TemporaryDirectory() as folder:
            rows = study(model, given.animals, given.samples, given.solves, Path(folder))
        for name, *values in rows:
            cells = ["" if np.isnan(v) else f"{v:.2f}" for v in values]
            print(markdown_table.row([model, name, *cells]), flush=True)


if __name__ == "__main__":
    main()
