"""Predictions: means of classes averaged over the others, and of new rows, with standard errors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from henderson.equations.levels import class_column, seen_levels
from henderson.errors import NotSupportedError, ResourceError, UsageError, unknown
from henderson.language.polynomials import evaluate
from henderson.language.spec import ONE, Term
from henderson.reml.result import RemlFit
from henderson.results.fixed_terms import Aliases, FixedPart, aliases, fixed_part, solution_vector

MOST = 10_000  # cells that one prediction is averaged over
BLOCK = 256
Floats = NDArray[np.float64]
Values = Sequence[str] | Floats


@dataclass(frozen=True)
class Points:
    """Where to predict: values by column, texts of classes or float64 of covariates, all of one length `size`.

    average: what is not given is averaged over (fixed) or left out (random); otherwise it must be given.
    """

    size: int
    classes: Mapping[str, Sequence[str]]
    covariates: Mapping[str, Floats]
    average: bool


@dataclass(frozen=True)
class Prediction:
    """Predicted values of one trait with standard errors, float64 (size,); NaN where `estimable` is False."""

    trait: str
    value: Floats
    se: Floats
    estimable: NDArray[np.bool_]


@dataclass
class _Combination:
    """Rows k of the linear combinations, as lists of (point, column, coefficient) for X and for C's random rows.

    unseen: per random group the coefficients (size, width) of levels that the fit does not have.
    """

    size: int
    fixed: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = field(default_factory=list)
    random: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = field(default_factory=list)
    unseen: dict[int, Floats] = field(default_factory=dict)
    impossible: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.impossible = np.zeros(self.size, np.bool_)


class Predictor:
    """Predictions of one fit; what they share is found once."""

    def __init__(self, fit: RemlFit) -> None:
        self.fit = fit
        self.part: FixedPart = fixed_part(fit)
        self.aliases: Aliases = aliases(self.part)
        self.vector = solution_vector(fit)
        self.place = {
            at.subfactor: (g, k)
            for g, group in enumerate(fit.design.groups)
            for k, at in enumerate(group.positions)
            if at is not None
        }
        self._index: dict[int, dict[str, int]] = {}

    def predict(self, points: Points, trait: int, random: bool = True) -> Prediction:
        """Return the predictions of a trait; `random`: with the random terms whose columns are all given.

        A level of a random term that the fit does not have adds nothing to the value, and its variance to that of the
        prediction. Cost: a solve for each point.
        """
        k = _Combination(points.size)
        for term in self.fit.spec.equations[trait].terms:
            self._add(term, trait, points, random, k)
        p, n = len(self.part.row), len(self.vector)
        K = _rows(k.fixed, points.size, p)
        kept = self.aliases.kept
        in_C = csr_array((np.ones(len(kept)), (kept, self.part.row[kept])), shape=(p, n))
        whole = csr_array(K @ in_C + _rows(k.random, points.size, n))
        variance = self._variances(whole)
        for g, coefficients in k.unseen.items():
            covariance = self.fit.design.groups[g].covariance
            assert covariance is not None
            variance += np.einsum("ij,jk,ik->i", coefficients, covariance.sigma, coefficients)
        estimable = self.aliases.estimable(K) & ~k.impossible
        return Prediction(
            self.fit.spec.traits[trait],
            np.where(estimable, whole @ self.vector, np.nan),
            np.where(estimable, np.sqrt(np.maximum(variance, 0.0)), np.nan),
            estimable,
        )

    def levels(self, column: str) -> list[str]:
        """Return the levels of a class column on the records with an observation."""
        observed = self.fit.design.patterns.any_of(list(range(self.fit.design.n_traits)))
        return seen_levels(class_column(self.fit.data, column), observed).labels.text()

    def _variances(self, K: csr_array) -> Floats:
        found = np.empty(K.shape[0])
        for start in range(0, K.shape[0], BLOCK):
            rhs = K[start : start + BLOCK].toarray().T
            found[start : start + BLOCK] = np.sum(rhs * self.fit.inverse_columns(np.ascontiguousarray(rhs)), axis=0)
        return found

    def _add(self, term: Term, trait: int, points: Points, random: bool, k: _Combination) -> None:
        if term.kind == "group":
            raise NotSupportedError(f"predictions with a regression on genetic groups ({term.subfactor!r})")
        is_random = self.fit.spec.subfactor(term.subfactor).variance is not None
        columns = [c for c in (term.level_variable or ONE).split(":") if c != ONE]
        needed = [*columns, *(c for c, _ in term.where)]
        missing = [c for c in needed if c not in points.classes]
        if is_random and (missing or not random):
            return
        if missing and not points.average:
            raise UsageError(f"the new data have no column {missing[0]!r}, which the term {term.subfactor!r} needs")
        averaged = {c: self.levels(c) for c in dict.fromkeys(missing)}
        cells = int(np.prod([len(levels) for levels in averaged.values()]))
        if cells > MOST:
            names = ", ".join(averaged)
            raise ResourceError(f"averaging over {cells:,} cells of {names}; the limit is {MOST:,}: give some by at=")
        for cell in itertools.product(*averaged.values()):
            chosen = dict(zip(averaged, cell, strict=True))
            active = np.ones(points.size, np.bool_)
            for column, level in term.where:
                active &= np.array([v == level for v in _of(column, chosen, points)], np.bool_)
            labels = [":".join(row) for row in zip(*(_of(c, chosen, points) for c in columns), strict=True)]
            self._cell(term, trait, labels, points, np.flatnonzero(active), 1.0 / cells, is_random, k)

    def _cell(
        self,
        term: Term,
        trait: int,
        labels: list[str],
        points: Points,
        active: NDArray[np.int64],
        weight: float,
        is_random: bool,
        k: _Combination,
    ) -> None:
        """Add one term at one cell of what is averaged over."""
        names = [f"{term.subfactor}_{p}" for p in term.polynomials] or [term.subfactor]
        g = self.place[names[0]][0]
        level = self._levels(g, term, labels, points.size)[active]
        if not is_random and not points.average and (level < 0).any():
            bad = labels[int(active[np.argmax(level < 0)])]
            known = self.fit.design.groups[g].labels.text(0, 1000)
            raise UsageError(f"{term.variable!r}: {unknown('level', bad, known)}")
        if not is_random:
            k.impossible[active[level < 0]] = True
        for name, value in zip(names, self._coefficients(term, trait, points, active, level), strict=True):
            _, position = self.place[name]
            seen = level >= 0
            entries = (active[seen], level[seen], weight * value[seen])
            if is_random:
                rows = self.fit.number[g][entries[1], position]
                k.random.append((entries[0], rows, entries[2]))
                if not seen.all():
                    width = self.fit.design.groups[g].width
                    k.unseen.setdefault(g, np.zeros((points.size, width)))[active[~seen], position] += value[~seen]
            else:
                numbers = self.part.number[g]
                assert numbers is not None
                k.fixed.append((entries[0], numbers[entries[1], position], entries[2]))

    def _levels(self, g: int, term: Term, labels: list[str], size: int) -> NDArray[np.int64]:
        if term.level_variable is None:
            return np.zeros(size, np.int64)
        if term.level_variable == ONE:
            labels = [ONE] * size
        if g not in self._index:
            self._index[g] = {text: n for n, text in enumerate(self.fit.design.groups[g].labels.text())}
        return np.array([self._index[g].get(text, -1) for text in labels], np.int64)

    def _coefficients(
        self, term: Term, trait: int, points: Points, active: NDArray[np.int64], level: NDArray[np.int64]
    ) -> list[Floats]:
        """Return the coefficients of the positions of a term: ones, or a covariate, centred where the fit did."""
        if term.kind == "class":
            return [np.ones(len(active))]
        spec, design, records = self.fit.spec, self.fit.design, self.fit.data.records
        column = records.covariates[term.variable]
        observed = design.patterns.any_of([trait]) & np.isfinite(column)
        if term.variable in points.covariates:
            x = points.covariates[term.variable][active]
        elif points.average:
            x = np.full(len(active), column[observed].mean())
        else:
            raise UsageError(f"the new data have no column {term.variable!r}, which the term {term.subfactor!r} needs")
        if term.centred and spec.subfactor(term.subfactor).variance is None:
            codes = self._codes(term, trait)
            counts = observed & (codes >= 0)
            n_levels = int(codes.max(initial=0)) + 1
            sums = np.bincount(codes[counts], weights=column[counts], minlength=n_levels)
            means = sums / np.maximum(np.bincount(codes[counts], minlength=n_levels), 1)
            x = x - means[np.maximum(level, 0)]
        texts = [spec.polynomials[p - 1] for p in term.polynomials]
        return [np.broadcast_to(np.asarray(evaluate(t, x), np.float64), x.shape) for t in texts] or [x]

    def _codes(self, term: Term, trait: int) -> NDArray[np.int32]:
        """Return the level of each record for a term."""
        design = self.fit.design
        g, position = self.place[f"{term.subfactor}_{term.polynomials[0]}" if term.polynomials else term.subfactor]
        for t in design.terms:
            if t.trait == trait and t.position == position and design.slots[t.slot].group == g:
                return design.slots[t.slot].codes
        raise AssertionError(f"no term {term.subfactor!r}")


def _of(column: str, chosen: Mapping[str, str], points: Points) -> Sequence[str]:
    return [chosen[column]] * points.size if column in chosen else points.classes[column]


def _rows(entries: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]], m: int, n: int) -> csr_array:
    if not entries:
        return csr_array((m, n))
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    return csr_array((values, (rows, columns)), shape=(m, n))
