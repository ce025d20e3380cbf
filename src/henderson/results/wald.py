"""Wald tests of the fixed terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.stats import chi2, f

from henderson.errors import ResourceError
from henderson.reml.result import RemlFit
from henderson.results.fixed_terms import FixedTerm, aliases, fixed_part, fixed_terms, inverse_block, solution_vector

LIMIT = 3000
SINGULAR = 3e-5  # root of the tolerance that columns of X are left out by
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WaldTest:
    """The test of one term: Wald statistic on `df` degrees of freedom; denominator_df None: chi-squared."""

    term: str
    df: int
    statistic: float
    denominator_df: float | None

    @property
    def f_value(self) -> float:
        """Return the statistic over its degrees of freedom."""
        return self.statistic / self.df if self.df else float("nan")

    @property
    def p_value(self) -> float:
        """Return the probability of a larger statistic."""
        if self.df == 0:
            return float("nan")
        if self.denominator_df is None:
            return float(chi2.sf(self.statistic, self.df))
        return float(f.sf(self.f_value, self.df, self.denominator_df))


def wald_tests(
    fit: RemlFit, kind: Literal["incremental", "conditional"] = "incremental", denominator: str | None = None
) -> list[WaldTest]:
    """Return the tests of all fixed terms, V at its estimate.

    incremental: each term adjusted for those before it. conditional: each for all others that do not contain it
    (marginality). The statistic is the fall in b' (X'V^-1 X) b, on the rank it loses; the variance of V's estimate is
    not allowed for. denominator ``residual``: F with n - rank(X) degrees of freedom, too many for terms that vary
    between the groups of a random factor. Cost: p solves and p^3 for p fixed effects.

    Raises
    ------
    ResourceError
        More than `LIMIT` columns of X.

    """
    part = fixed_part(fit)
    if len(part.row) > LIMIT:
        raise ResourceError(
            f"Wald tests take dense matrices among {len(part.row):,} fixed effects; the limit is {LIMIT:,}; make large "
            "classes random, or test by the likelihood ratio of two ML fits"
        )
    terms = fixed_terms(fit.spec, part)
    known = aliases(part)
    rows = part.row[known.kept]
    root = np.linalg.cholesky(inverse_block(fit, rows))  # X'V^-1 X of the columns kept is its inverse, crossed
    whole = np.zeros((len(known.kept), len(part.row)))
    whole[np.arange(len(known.kept)), known.kept] = 1.0
    whole[:, known.left] = known.T
    W = solve_triangular(root, whole, lower=True)
    rhs = solve_triangular(root, solution_vector(fit)[rows], lower=True)
    ddf = float(fit.n_observations - fit.rank) if denominator == "residual" else None
    tests = []
    for number, term in enumerate(terms):
        if kind == "incremental":
            others = terms[:number]
        else:
            others = [t for t in terms if t is not term and not term.variables < t.variables]
        before, rank = _reduction(W, rhs, part.kept, others)
        after, full = _reduction(W, rhs, part.kept, [*others, term])
        tests.append(WaldTest(term.name, full - rank, max(after - before, 0.0), ddf))
    return tests


def _reduction(W: Floats, rhs: Floats, kept: NDArray[np.bool_], terms: list[FixedTerm]) -> tuple[float, int]:
    """Return the squared length of `rhs` in the space of the terms' columns of W, and its dimension.

    Columns that were `kept` are independent, however near to each other; only what others add to them is judged here.
    """
    if not terms:
        return 0.0, 0
    columns = np.concatenate([t.columns for t in terms])
    Q = np.linalg.qr(_unit(W[:, columns[kept[columns]]]))[0]
    rest = _unit(W[:, columns[~kept[columns]]])
    for _ in range(2):
        rest = rest - Q @ (Q.T @ rest)
    vectors, values, _ = np.linalg.svd(rest, full_matrices=False)
    more = vectors[:, values > SINGULAR]
    return float(np.sum((Q.T @ rhs) ** 2) + np.sum((more.T @ rhs) ** 2)), Q.shape[1] + more.shape[1]


def _unit(columns: Floats) -> Floats:
    """Return columns scaled to length 1."""
    scaled: Floats = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    return scaled
