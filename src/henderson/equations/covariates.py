"""Covariates as coefficient arrays: centred where asked, expanded by polynomials, zero where they do not count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import count
from henderson.errors import InputFileError, Problem
from henderson.language.spec import Term
from henderson.partitions.communicator import ALONE, Communicator
from henderson.store.columns import Coded
from henderson.store.model_data import Records

Floats = NDArray[np.float64]


@dataclass
class CoefficientTable:
    """The coefficient arrays built so far; equal requests share one array. Problems are gathered, not raised.

    Of a covariate that the store holds as codes of a table arrays are such columns, too, unless centred within classes.

    Over several processes arrays and `records` are those of this one, means and problems those of all, and `add` is
    **Collective**.
    """

    records: Records
    polynomials: tuple[str, ...]
    communicator: Communicator = ALONE
    arrays: list[Floats] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _known: dict[tuple[object, ...], int] = field(default_factory=dict)
    _undefined: dict[int, NDArray[np.bool_]] = field(default_factory=dict)

    def add(
        self,
        term: Term,
        trait: str,
        observed: NDArray[np.bool_],
        codes: NDArray[np.int32] | None,
        centred: bool,
        n_levels: int = 1,
    ) -> list[int]:
        """Return the numbers of the arrays of `term`, one per polynomial (or one).

        `observed`: records that have the trait; `codes`: levels of the nesting class, `n_levels` of them, None if not
        nested. A centred covariate is centred over the observed records (within class) before its polynomials are
        evaluated.
        """
        # Without centring an array does not depend on the trait: where one is missing, its row of R^-1 is zero.
        key = (term.variable, trait, term.nested_in) if centred else (term.variable,)
        counts = observed if codes is None else observed & (codes >= 0)
        values = self._values(term, trait, counts, codes, n_levels if centred else 0)
        numbers: list[int] = []
        for polynomial in term.polynomials or (0,):
            full = (*key, polynomial)
            if full not in self._known:
                self._known[full] = len(self.arrays)
                self.arrays.append(self._evaluate(polynomial, values))
            number = self._known[full]
            self._check_defined(number, polynomial, term, trait, counts)
            numbers.append(number)
        return numbers

    def _values(
        self, term: Term, trait: str, counts: NDArray[np.bool_], codes: NDArray[np.int32] | None, n_levels: int
    ) -> Floats:
        """Return the values, centred within `n_levels` levels if that is not 0."""
        x = self.records.covariates[term.variable]
        gaps = np.flatnonzero(counts & _not_finite(x))
        found = self.communicator.gather_all((len(gaps), int(self.records.row[gaps].min()) if len(gaps) else 0))
        if n_gaps := sum(n for n, _ in found):
            row = min(first for n, first in found if n)
            self.problems.append(
                Problem(
                    f"covariate {term.variable!r} has no value on {n_gaps} record(s) where {trait!r} is observed, "
                    f"first on data row {row + 1}",
                    remedy="fill it in, or set the response of these records to missing",
                )
            )
            counts = counts & ~_not_finite(x)
        if not n_levels:
            return x
        if codes is None and isinstance(x, Coded):
            return cast(Floats, Coded(_table_deviations(x, counts, self.communicator), x.codes))
        values = np.zeros_like(x)
        level = np.zeros(np.count_nonzero(counts), np.int32) if codes is None else codes[counts]
        values[counts] = _deviations(x[counts], level, n_levels, self.communicator)
        return values

    def _evaluate(self, polynomial: int, x: Floats) -> Floats:
        if isinstance(x, Coded):
            result, undefined = self._polynomial(polynomial, x.table)
            if undefined.any():
                self._undefined[len(self.arrays)] = undefined[x.codes]
            return cast(Floats, Coded(result, x.codes))
        result, undefined = self._polynomial(polynomial, x)
        if undefined.any():
            self._undefined[len(self.arrays)] = undefined
        return result

    def _polynomial(self, polynomial: int, x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the values of a polynomial, 0 where it has none, and where that is."""
        result = x
        if polynomial:
            from henderson.language.polynomials import evaluate

            with np.errstate(all="ignore"):
                result = np.asarray(evaluate(self.polynomials[polynomial - 1], x), np.float64)
            result = np.broadcast_to(result, x.shape)
        undefined = ~np.isfinite(result)
        return np.ascontiguousarray(np.where(undefined, 0.0, result) if undefined.any() else result), undefined

    def _check_defined(self, number: int, polynomial: int, term: Term, trait: str, counts: NDArray[np.bool_]) -> None:
        if not self.communicator.logical_or(np.array([number in self._undefined]))[0]:
            return
        x = self.records.covariates[term.variable]
        nowhere = np.zeros(len(x), np.bool_)
        where = np.flatnonzero(self._undefined.get(number, nowhere) & counts & ~_not_finite(x))
        first = (float(x[where[0]]), int(self.records.row[where[0]])) if len(where) else None
        found = [each for each in self.communicator.gather_all(first) if each is not None]
        if found:
            value, row = found[0]
            self.problems.append(
                Problem(
                    f"polynomial {polynomial} ({self.polynomials[polynomial - 1]}) has no finite value for covariate "
                    f"{term.variable!r} = {value:g} (trait {trait!r}, data row {row + 1})",
                    remedy="change the polynomial or the values",
                )
            )

    def in_order(self) -> NDArray[np.int64]:
        """Return the numbers of the arrays in the order in which terms find them side by side: by polynomial."""
        first: dict[tuple[object, ...], int] = {}
        for *key, _ in self._known:
            first.setdefault(tuple(key), len(first))
        known = [k for _, _, k in sorted((first[tuple(key)], last, k) for (*key, last), k in self._known.items())]
        return np.array([*known, *sorted(set(range(len(self.arrays))).difference(known))], np.int64)

    def check(self) -> None:
        """Raise InputFileError with all problems, if there are any."""
        if self.problems:
            raise InputFileError(self.problems)


def _not_finite(x: Floats) -> NDArray[np.bool_]:
    """Return which values are NaN or infinite."""
    if isinstance(x, Coded):
        missing = ~np.isfinite(x.table)
        return missing[x.codes] if missing.any() else np.zeros(len(x), np.bool_)
    return ~np.isfinite(x)


def _table_deviations(x: Coded, counts: NDArray[np.bool_], communicator: Communicator) -> Floats:
    """Return the table of x less the mean over the records that `counts`: `_deviations` of codes; 0 if not finite."""
    n = communicator.sum(count(x.codes[counts], len(x.table)))
    used = n > 0
    difference = np.zeros(len(x.table))
    finite = np.isfinite(x.table)
    base = x.table[used & finite].min(initial=np.inf)
    if np.isfinite(base):
        difference[finite] = x.table[finite] - base
        difference[finite] -= float(n @ np.where(used, difference, 0.0)) / float(n.sum())
    return difference


def _deviations(x: Floats, level: NDArray[np.int32], n_levels: int, communicator: Communicator) -> Floats:
    """Return x less its mean within each level, over the records of all processes.

    Means are taken of differences from a value that the level has: where all values are the same, deviations are
    exactly zero, not rounding noise that would pass for a column of X.
    """
    base = np.full(n_levels, np.inf)
    base[level[::-1]] = x[::-1]
    difference = x - communicator.minimum(base)[level]
    sums = communicator.sum(np.bincount(level, weights=difference, minlength=n_levels))
    means = sums / np.maximum(communicator.sum(np.bincount(level, minlength=n_levels)), 1)
    return np.asarray(difference - means[level], np.float64)
