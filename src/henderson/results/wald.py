"""Wald tests of the fixed terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, f

from henderson.errors import ResourceError
from henderson.reml.result import RemlFit
from henderson.results.fixed_terms import FixedTerm, aliases, fixed_part, fixed_terms, inverse_block, solution_vector

LIMIT = 3000
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
    information = np.linalg.inv(inverse_block(fit, rows))  # X'V^-1 X of the columns kept
    whole = np.zeros((len(known.kept), len(part.row)))
    whole[np.arange(len(known.kept)), known.kept] = 1.0
    whole[:, known.left] = known.T
    M = whole.T @ information @ whole
    rhs = whole.T @ information @ solution_vector(fit)[rows]
    ddf = float(fit.n_observations - fit.rank) if denominator == "residual" else None
    tests = []
    for number, term in enumerate(terms):
        if kind == "incremental":
            others = terms[:number]
        else:
            others = [t for t in terms if t is not term and not term.variables < t.variables]
        before, rank = _reduction(M, rhs, others)
        after, full = _reduction(M, rhs, [*others, term])
        tests.append(WaldTest(term.name, full - rank, max(after - before, 0.0), ddf))
    return tests


def _reduction(M: Floats, rhs: Floats, terms: list[FixedTerm]) -> tuple[float, int]:
    """Return b' M^- b over the columns of the terms, and the rank of M there."""
    if not terms:
        return 0.0, 0
    columns = np.concatenate([t.columns for t in terms])
    scale = np.sqrt(np.maximum(np.diag(M)[columns], 1e-300))
    values, vectors = np.linalg.eigh(M[np.ix_(columns, columns)] / np.outer(scale, scale))
    good = values > 1e-9 * max(values[-1], 1e-300)
    projected = vectors[:, good].T @ (rhs[columns] / scale)
    return float(np.sum(projected**2 / values[good])), int(good.sum())
