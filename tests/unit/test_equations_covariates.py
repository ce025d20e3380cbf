"""Covariates: centred over observed records, within class, before polynomials; gaps and undefined values refused."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.equations.covariates import CoefficientTable
from henderson.errors import InputFileError
from henderson.language.spec import Term
from henderson.store.model_data import Records

X = np.array([1.0, 2.0, 6.0, np.nan, 10.0])
OBSERVED = np.array([True, True, True, False, True])
CODES = np.array([0, 0, 1, 1, -1], np.int32)


def table(x: np.ndarray = X, polynomials: tuple[str, ...] = ()) -> CoefficientTable:
    return CoefficientTable(Records(np.arange(10, 15), {"y": np.zeros(5)}, {"x": x}), polynomials)


def term(*ids: int) -> Term:
    return Term("x", "c", "covariate", polynomials=ids)


def test_centred_over_observed_records_then_squared() -> None:
    t = table(polynomials=("x", "x^2"))
    first, second = t.add(term(1, 2), "y", OBSERVED, None, centred=True)
    deviation = np.array([1.0, 2.0, 6.0, 0.0, 10.0]) - 4.75
    np.testing.assert_allclose(t.arrays[first][OBSERVED], deviation[OBSERVED])
    np.testing.assert_allclose(t.arrays[second][OBSERVED], deviation[OBSERVED] ** 2)
    t.check()


def test_centred_within_class() -> None:
    t = table()
    (number,) = t.add(term(), "y", OBSERVED, CODES, centred=True, n_levels=3)
    np.testing.assert_allclose(t.arrays[number], [-0.5, 0.5, 0.0, 0.0, 0.0])


def test_raw_values_are_shared_and_never_nan() -> None:
    t = table()
    one = t.add(term(), "y", OBSERVED, None, centred=False)
    two = t.add(term(), "z", OBSERVED, CODES, centred=False)
    assert one == two
    assert len(t.arrays) == 1
    np.testing.assert_array_equal(t.arrays[0], [1.0, 2.0, 6.0, 0.0, 10.0])


def test_a_value_missing_where_the_trait_is_observed_is_an_error() -> None:
    t = table()
    t.add(term(), "y", np.ones(5, bool), None, centred=True)
    with pytest.raises(InputFileError, match=r"'x' has no value on 1 record\(s\) where 'y' is observed.*row 14"):
        t.check()


def test_a_polynomial_that_is_not_defined_is_an_error_only_where_it_counts() -> None:
    t = table(np.array([1.0, 2.0, -6.0, 3.0, 10.0]), ("log(x)",))
    t.add(term(1), "y", np.array([True, True, False, True, True]), None, centred=False)
    t.check()
    assert np.isfinite(t.arrays[0]).all()
    t.add(term(1), "z", OBSERVED, None, centred=False)
    with pytest.raises(InputFileError, match=r"log\(x\).*'x' = -6 \(trait 'z', data row 13\)"):
        t.check()
