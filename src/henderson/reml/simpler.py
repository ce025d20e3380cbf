"""Start values from simpler models: first without covariances, then two traits at a time, then put together.

A multivariate fit that begins far from its maximum is where users meet singular average information matrices; its
univariate and bivariate parts converge from almost anywhere.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.errors import HendersonError
from henderson.language.spec import RESIDUAL, JobSpec, Matrix, ModelSpec, SubFactor, VarianceSpec
from henderson.reml.start import bend

Floats = NDArray[np.float64]
Key = tuple[str, str | None]
Fit = Callable[[ModelSpec], dict[Key, Floats]]

log = logging.getLogger(__name__)

LARGEST_CORRELATION = 0.95


def simpler_starts(spec: ModelSpec, fit: Fit) -> ModelSpec:
    """Return the model with start values that come from simpler ones; `fit` returns the Sigma of each variance.

    Variances with held or equal elements keep what they have. Cost: one fit of all variances, one of each pair of
    traits.
    """
    wide = {v.name for v in spec.variances if v.structure in ("us", "corgh") and not v.fix and not v.equal}
    diagonal = replace(
        spec,
        variances=tuple(
            replace(v, structure="diag", sigma=_diagonal(v.sigma), classes=()) if v.name in wide else v
            for v in spec.variances
        ),
        functions=(),
    )
    found = fit(diagonal)
    log.info("start values: the model without covariances is fitted")
    known: dict[Key, tuple[Floats, Floats]] = {}
    if len(spec.equations) > 2:
        for a, b in itertools.combinations(range(len(spec.equations)), 2):
            _add_pair(with_starts(spec, found), (a, b), wide, fit, known)
    starts = {}
    for key, sigma in found.items():
        if key[0] not in wide:
            continue
        deviation = np.sqrt(np.diag(sigma))
        correlation = np.eye(len(sigma))
        if key in known:
            total, count = known[key]
            mean = np.where(count > 0, total / np.maximum(count, 1.0), 0.0)
            correlation += np.clip(mean, -LARGEST_CORRELATION, LARGEST_CORRELATION) * (1 - np.eye(len(sigma)))
        starts[key] = bend(correlation * np.outer(deviation, deviation), 0.02)
    return with_starts(spec, starts)


def with_starts(spec: ModelSpec, starts: dict[Key, Floats]) -> ModelSpec:
    """Return the model with these start values in its variances."""
    variances = []
    for v in spec.variances:
        classes = tuple(
            (label, _matrix(s)) for (name, label), s in starts.items() if name == v.name and label is not None
        )
        if (v.name, None) in starts:
            variances.append(replace(v, sigma=_matrix(starts[v.name, None])))
        elif classes:
            variances.append(replace(v, sigma=classes[0][1], classes=classes))
        else:
            variances.append(v)
    return replace(spec, variances=tuple(variances))


def _add_pair(
    spec: ModelSpec, pair: tuple[int, int], wide: set[str], fit: Fit, known: dict[Key, tuple[Floats, Floats]]
) -> None:
    """Add the correlations that a pair of traits has to `known`: sums and counts by position."""
    part, places = restrict(spec, pair)
    try:
        found = fit(part)
    except HendersonError as error:  # a pair without records in common has no start value, which harms nobody
        log.info("start values: traits %s and %s: %s", *part.traits, error)
        return
    log.info("start values: traits %s and %s are fitted together", *part.traits)
    for (name, label), sigma in found.items():
        if name not in wide:
            continue
        at = np.ix_(places[name], places[name])
        size = _size(spec, name)
        total, count = known.setdefault((name, label), (np.zeros((size, size)), np.zeros((size, size))))
        deviation = np.sqrt(np.diag(sigma))
        total[at] += sigma / np.outer(deviation, deviation)
        count[at] += 1.0


def restrict(spec: ModelSpec, traits: tuple[int, ...]) -> tuple[ModelSpec, dict[str, list[int]]]:
    """Return the model of some traits alone, and which positions (from 0) of each variance it has."""
    equations = tuple(spec.equations[t] for t in traits)
    used = {term.subfactor for e in equations for term in e.terms}
    subfactors = [s for s in spec.subfactors if s.name in used]
    places: dict[str, list[int]] = {RESIDUAL: list(traits)}
    for s in subfactors:
        if s.variance is not None:
            places[s.variance] = sorted({*places.get(s.variance, []), *(p - 1 for p in s.positions)})

    def moved(s: SubFactor) -> SubFactor:
        if s.variance is None:
            return s
        return replace(s, positions=tuple(places[s.variance].index(p - 1) + 1 for p in s.positions))

    def cut(v: VarianceSpec) -> VarianceSpec:
        at = places[v.name]
        fix = None if v.fix is None else tuple(tuple(v.fix[i][j] for j in at) for i in at)
        number = {old + 1: new + 1 for new, old in enumerate(at)}
        equal = tuple(
            tuple((number[i], number[j]) for i, j in group if i in number and j in number) for group in v.equal
        )
        return replace(
            v,
            sigma=_cut(v.sigma, at),
            classes=tuple((label, _matrix(np.array(s)[np.ix_(at, at)])) for label, s in v.classes),
            fix=fix,
            rank=None if v.rank is None or v.rank >= len(at) else v.rank,
            equal=tuple(group for group in equal if len(group) > 1),
        )

    part = replace(
        spec,
        equations=equations,
        subfactors=tuple(moved(s) for s in subfactors),
        variances=tuple(cut(v) for v in spec.variances if v.name in places),
        jobs=(JobSpec("reml"),),
        functions=(),
    )
    return part, places


def _size(spec: ModelSpec, name: str) -> int:
    sigma = spec.variance(name).sigma
    assert sigma is not None
    return len(sigma)


def _cut(sigma: Matrix | None, at: list[int]) -> Matrix | None:
    return None if sigma is None else _matrix(np.array(sigma)[np.ix_(at, at)])


def _diagonal(sigma: Matrix | None) -> Matrix | None:
    return None if sigma is None else _matrix(np.diag(np.diag(np.array(sigma))))


def _matrix(sigma: Floats) -> Matrix:
    return tuple(tuple(float(x) for x in row) for row in sigma)
