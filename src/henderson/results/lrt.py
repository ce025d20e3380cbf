"""Likelihood ratio tests of nested fits, with the right distribution where the smaller one lies on the boundary.

Under the null hypothesis a variance is zero, which no estimate can cross: twice the difference of the log-likelihoods
is a mixture of chi-squared distributions (Self & Liang 1987; Stram & Lee 1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.stats import chi2

from henderson.errors import UsageError
from henderson.language.spec import RESIDUAL, ModelSpec, Term, VarianceSpec
from henderson.reml.result import RemlFit
from henderson.results.variances import loglik_text

Mixture = dict[int, float]
CORRELATION_ONE = 0.999


@dataclass(frozen=True)
class LrtResult:
    """A likelihood ratio test: `mixture` has the weight of each chi-squared by its degrees of freedom.

    bound: the weights are not known, and p_value is the largest that any would give. mc_se: the Monte Carlo error of
    the statistic, None if no log-likelihood was sampled.
    """

    statistic: float
    df: int
    mixture: Mapping[int, float]
    p_value: float
    bound: bool
    larger: str
    smaller: str
    mc_se: float | None = None

    def __str__(self) -> str:
        parts = " + ".join(f"{w:.4g} chi2({df})".removeprefix("1 ") for df, w in sorted(self.mixture.items()))
        sign = "<=" if self.bound else "="
        lines = [
            "Likelihood ratio test",
            f"  larger:  {self.larger}",
            f"  smaller: {self.smaller}",
            f"  2 (logLik1 - logLik0) = {self.statistic:.4f} on {self.df} parameter{'s' * (self.df != 1)}",
            f"  reference: {parts}{', an upper bound' if self.bound else ''}",
            f"  p {sign} {self.p_value:.4g}",
        ]
        if self.mc_se is not None:
            low, high = (mixture_tail(max(self.statistic + k * self.mc_se, 0.0), self.mixture) for k in (2.0, -2.0))
            lines.append(f"  Monte Carlo error {self.mc_se:.3g}; two of them away p is {low:.4g} and {high:.4g}")
        return "\n".join(lines)

    __repr__ = __str__


def likelihood_ratio(one: RemlFit, other: RemlFit, mixture: Mapping[int, float] | None = None) -> LrtResult:
    """Return the test of the smaller of two fits against the larger.

    mixture: weights of the chi-squared distributions by degrees of freedom; None: found by `boundary_mixture`.

    Raises
    ------
    UsageError
        The fits cannot be compared: other data, REML and ML, REML with other fixed effects, or not nested as far as
        their parameters tell.

    """
    large, small = (one, other) if _size(one) >= _size(other) else (other, one)
    fixed_differ = _check(large, small)
    extra = large.rank - small.rank if fixed_differ else 0
    n_parameters = large.n_parameters - small.n_parameters
    if n_parameters + extra <= 0:
        raise UsageError("the two fits have as many parameters: neither is nested in the other; compare them by AIC")
    if n_parameters < 0 or extra < 0:
        raise UsageError("one fit has more variance parameters, the other more fixed effects: they are not nested")
    bound = False
    if mixture is None:
        found, bound = boundary_mixture(large.spec, small.spec, n_parameters)
        mixture = {df + extra: weight for df, weight in found.items()}
    statistic = 2.0 * (large.loglik - small.loglik)
    mc_se = _monte_carlo_error(large, small)
    if statistic < -1e-4 * max(1.0, abs(small.loglik)) ** 0.5 - 4.0 * (mc_se or 0.0):
        raise UsageError(
            f"the fit with more parameters has the lower log-likelihood ({large.loglik:.4f} < {small.loglik:.4f}): the "
            "models are not nested, or one of them has not reached its maximum"
        )
    statistic = max(statistic, 0.0)
    return LrtResult(
        statistic,
        n_parameters + extra,
        mixture,
        mixture_tail(statistic, mixture),
        bound,
        _describe(large),
        _describe(small),
        mc_se,
    )


def _monte_carlo_error(large: RemlFit, small: RemlFit) -> float | None:
    """Return the Monte Carlo error of the statistic; samples of both that came from the same numbers go in pairs."""
    errors = [fit.sampled for fit in (large, small) if fit.sampled is not None]
    if not errors:
        return None
    if len(errors) == 2 and len(errors[0].samples) == len(errors[1].samples):
        return 2.0 * errors[0].minus(errors[1]).mc_se
    return 2.0 * float(np.sqrt(sum(e.mc_se**2 for e in errors)))


def mixture_tail(statistic: float, mixture: Mapping[int, float]) -> float:
    """Return P(X >= statistic); chi-squared on 0 degrees of freedom is a point mass at 0."""
    tail = 0.0
    for df, weight in mixture.items():
        tail += weight * (float(chi2.sf(statistic, df)) if df else float(statistic <= 0.0))
    return tail


def boundary_mixture(large: ModelSpec, small: ModelSpec, n_parameters: int) -> tuple[Mixture, bool]:
    """Return the mixture for the variance parameters by which `large` exceeds `small`, and whether it is a bound.

    A variance component that is dropped: half chi2(0), half chi2(1). One of q positions of an unstructured Sigma: half
    chi2(q - 1), half chi2(q) (Stram & Lee 1994, case 3). Several independent ones: binomial weights (case 5, for
    information that is diagonal among them). Several positions of one matrix of q parameters: half chi2(q - 1), half
    chi2(q), the largest tail that any cone gives (Perlman 1969); so for the q parameters by which a rank is larger.
    Correlations, and structures that only differ inside: plain chi-squared; correlations held at 1 or -1 are on the
    boundary.
    """
    names = {v.name for v in large.variances}
    if strange := [v.name for v in small.variances if v.name not in names]:
        raise UsageError(
            f"variance {strange[0]!r} of the smaller model is not in the larger one: whether they are nested, and what "
            "is on the boundary, cannot be told by name; give the reference yourself, mixture={0: 0.5, 1: 0.5}"
        )
    mixture: Mixture = {0: 1.0}
    bound = False
    counted = 0
    smaller = {v.name: v for v in small.variances}
    for name in smaller:
        _require_nested(large, small, name)
    for variance in large.variances:
        if variance.name == RESIDUAL:
            continue
        gone = _positions(large, variance.name) - _positions(small, variance.name)
        other, n = smaller.get(variance.name, variance), _positions(large, variance.name)
        by_rank = other.n_bound(n) - variance.n_bound(n)
        if gone > 0:
            kept = _positions(small, variance.name)
            part, parameters, loose = _dropped(variance, kept, gone)
        elif by_rank > 0:
            part, parameters, loose = _perlman(by_rank), by_rank, True
        else:
            ones = max(_held_at_one(other) - _held_at_one(variance), 0)
            part, parameters, loose = _binomial(ones), ones, False
        mixture, counted, bound = _convolve(mixture, part), counted + parameters, bound or loose
    inside = n_parameters - counted
    if inside < 0:  # parameters that are dropped were held or equal: count the free ones only
        return _perlman(n_parameters), True
    return {df + inside: weight for df, weight in mixture.items()}, bound


def _dropped(variance: VarianceSpec, kept: int, gone: int) -> tuple[Mixture, int, bool]:
    """Return the mixture, the number of parameters, and whether it is a bound, of positions that are dropped."""
    if variance.structure == "id" or (variance.structure == "cs" and kept + gone == 1):
        return _binomial(1), 1, False
    if variance.structure == "cs":
        return _perlman(2), 2, True
    if variance.structure == "diag" or kept + gone == 1:
        return _binomial(gone), gone, False
    parameters = sum(range(kept + 1, kept + gone + 1))
    return (_perlman(parameters), parameters, gone > 1)


def _binomial(n: int) -> Mixture:
    return {k: comb(n, k) / 2.0**n for k in range(n + 1)}


def _perlman(n: int) -> Mixture:
    return {n - 1: 0.5, n: 0.5}


def _convolve(a: Mixture, b: Mixture) -> Mixture:
    found: Mixture = {}
    for i, v in a.items():
        for j, w in b.items():
            found[i + j] = found.get(i + j, 0.0) + v * w
    return found


def _positions(spec: ModelSpec, name: str) -> int:
    return sum(len(s.positions) for s in spec.subfactors if s.variance == name)


def _rank(spec: ModelSpec, name: str) -> int:
    rank = spec.variance(name).rank
    return _positions(spec, name) if rank is None else rank


def _held_at_one(variance: VarianceSpec) -> int:
    """Return the number of correlations that are held at 1 or -1."""
    if variance.fix is None or variance.sigma is None:
        return 0
    sigma = np.array(variance.sigma)
    deviation = np.sqrt(sigma.diagonal())
    held = np.tril(np.array(variance.fix, np.bool_), -1)
    return int(np.sum(held & (np.abs(sigma) >= CORRELATION_ONE * np.outer(deviation, deviation))))


def _require_nested(large: ModelSpec, small: ModelSpec, name: str) -> None:
    """Raise `UsageError` unless a variance of both models has in the smaller one what it has in the larger, or less."""
    for spec_of in (_relationship, _residual_classes):
        of_large, of_small = spec_of(large, name), spec_of(small, name)
        if of_small not in (of_large, None):
            raise UsageError(
                f"variance {name!r} is {of_small} in the smaller model and {of_large} in the larger one: whether they "
                "are nested, and what is on the boundary, cannot be told; give the reference yourself, "
                "mixture={0: 0.5, 1: 0.5}"
            )
    if _rank(small, name) > _rank(large, name):
        raise UsageError(
            f"variance {name!r} has rank {_rank(small, name)} in the smaller model and {_rank(large, name)} in the "
            "larger one: they are not nested; compare them by AIC"
        )
    effects = _effects(large, name)
    for effect in _effects(small, name):
        if effect not in effects:
            raise UsageError(
                f"variance {name!r} has effects in the smaller model that it does not have in the larger one: whether "
                "they are nested, and what is on the boundary, cannot be told; give the reference yourself, "
                "mixture={0: 0.5, 1: 0.5}"
            )


def _relationship(spec: ModelSpec, name: str) -> str:
    gamma = spec.variance(name).gamma
    return f"of {gamma.kind} {gamma.name or ''}".rstrip()


def _residual_classes(spec: ModelSpec, name: str) -> str | None:
    """Return what a variance differs by; None: it is one for all records, which any classes allow for."""
    by = spec.variance(name).by
    return None if by is None else f"by {by}"


def _effects(spec: ModelSpec, name: str) -> set[tuple[str, Term, str]]:
    """Return the random effects of a variance: trait, term without the name of its sub-factor, and polynomial."""
    mine = {s.name for s in spec.subfactors if s.variance == name}
    found: set[tuple[str, Term, str]] = set()
    for equation in spec.equations:
        for term in equation.terms:
            if term.subfactor in mine:
                plain = Term(term.variable, "", term.kind, term.nested_in, (), False, False, term.pedigree, term.where)
                texts = [spec.polynomials[p - 1] for p in term.polynomials] or [""]
                found.update((equation.trait, plain, text) for text in texts)
    return found


def _size(fit: RemlFit) -> tuple[int, int]:
    return fit.n_parameters + (fit.rank if fit.method == "ML" else 0), fit.rank


def _check(large: RemlFit, small: RemlFit) -> bool:
    """Return whether the fixed effects differ; raise `UsageError` if the fits cannot be compared."""
    if large.method != small.method:
        raise UsageError("a fit by REML and one by ML cannot be compared; use one method for both")
    if large.n_observations != small.n_observations or not _same_responses(large, small):
        raise UsageError(
            f"the fits are not of the same data: {large.n_observations:,} and {small.n_observations:,} observations, "
            "or other responses; fit both to the same records"
        )
    differ = _fixed(large.spec) != _fixed(small.spec)
    if differ and large.method == "REML":
        raise UsageError(
            "the fits have different fixed effects: their REML log-likelihoods are of different data; fit both with "
            'method="ML", or use fit.wald()'
        )
    return differ


def _same_responses(a: RemlFit, b: RemlFit) -> bool:
    if sorted(a.design.traits) != sorted(b.design.traits):
        return False
    for name, response in zip(a.design.traits, a.design.responses, strict=True):
        other = b.design.responses[b.design.traits.index(name)]
        if not np.allclose(np.nansum(response), np.nansum(other)) or np.isnan(response).sum() != np.isnan(other).sum():
            return False
    return True


def _fixed(spec: ModelSpec) -> set[tuple[str, Term, str]]:
    """Return the fixed terms without the names of their sub-factors, but with which of them are shared."""
    uses: dict[str, list[str]] = {}
    for equation in spec.equations:
        for term in equation.terms:
            uses.setdefault(term.subfactor, []).append(equation.trait)
    found = set()
    for equation in spec.equations:
        for term in equation.terms:
            if spec.subfactor(term.subfactor).variance is None:
                plain = Term(term.variable, "", term.kind, term.nested_in, (), False, False, term.pedigree, term.where)
                texts = ",".join(spec.polynomials[p - 1] for p in term.polynomials)
                mates = ",".join(uses[term.subfactor]) if len(uses[term.subfactor]) > 1 else ""
                found.add((equation.trait, plain, f"{texts}|{mates}"))
    return found


def _describe(fit: RemlFit) -> str:
    names = []
    for variance in fit.spec.variances:
        size = _positions(fit.spec, variance.name) or len(fit.spec.equations)
        structure = f" {variance.structure}({size})" if size > 1 else ""
        by = f" by {variance.by}" if variance.by else ""
        names.append(f"{variance.name}{structure}{by}")
    return f"{', '.join(names)}; logLik {loglik_text(fit)}, {fit.n_parameters} variance parameters"
