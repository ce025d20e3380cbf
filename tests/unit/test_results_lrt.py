"""Reference distributions of likelihood ratio tests: published critical values, and which mixture a model asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from henderson.errors import UsageError
from henderson.language.load import load_tables
from henderson.language.spec import ModelSpec
from henderson.results.lrt import boundary_mixture, mixture_tail

COLUMNS = {"y": "real", "z": "real", "x": "real", "w": "real", "S": "text", "T": "text", "sex": "text"}


def spec(fixed: str, random: str = "", residual: str = "", **variance: Any) -> ModelSpec:
    model = {k: v for k, v in (("fixed", fixed), ("random", random), ("residual", residual)) if v}
    tables = {"data": {"records": "r.csv"}, "model": model, "variance": variance, "jobs": {"run": ["reml"]}}
    return load_tables(tables, Path(), lambda data, base: COLUMNS, lambda data, base, column: ["F", "M"])


@pytest.mark.parametrize(
    ("critical", "mixture"),
    [
        # Fitzmaurice, Laird & Ware (2011), table C.1: 5 % points of half chi2(q), half chi2(q + 1)
        (2.71, {0: 0.5, 1: 0.5}),
        (5.14, {1: 0.5, 2: 0.5}),
        (7.05, {2: 0.5, 3: 0.5}),
        (8.76, {3: 0.5, 4: 0.5}),
        # Self & Liang (1987), case 7, independent components
        (4.23, {0: 0.25, 1: 0.5, 2: 0.25}),
        (3.84, {1: 1.0}),
    ],
)
def test_published_critical_values(critical: float, mixture: dict[int, float]) -> None:
    assert mixture_tail(critical, mixture) == pytest.approx(0.05, abs=2e-4)
    assert mixture_tail(0.0, mixture) == pytest.approx(1.0)
    assert mixture_tail(1e-12, {0: 0.5, 1: 0.5}) == pytest.approx(0.5, abs=1e-4)


TWO = "cbind(y, z) ~ trait"


@pytest.mark.parametrize(
    ("large", "small", "n", "mixture", "bound"),
    [
        (("y ~ x + (1 | S)",), ("y ~ x",), 1, {0: 0.5, 1: 0.5}, False),
        (("y ~ x + (x | S)",), ("y ~ x + (1 | S)",), 2, {1: 0.5, 2: 0.5}, False),
        (("y ~ x + (x + w | S)",), ("y ~ x + (x | S)",), 3, {2: 0.5, 3: 0.5}, False),
        (("y ~ x + (1 | S) + (1 | T)",), ("y ~ x + (1 | T)",), 1, {0: 0.5, 1: 0.5}, False),
        (("y ~ x + (1 | S) + (1 | T)",), ("y ~ x",), 2, {0: 0.25, 1: 0.5, 2: 0.25}, False),
        (("y ~ x + (x | S)",), ("y ~ x",), 3, {2: 0.5, 3: 0.5}, True),
        ((TWO, "~ us(trait):S"), (TWO, "~ diag(trait):S"), 1, {1: 1.0}, False),
        ((TWO, "~ diag(trait):S"), (TWO, "~ trait:S"), 1, {1: 1.0}, False),
        ((TWO, "~ diag(trait):S"), (TWO,), 2, {0: 0.25, 1: 0.5, 2: 0.25}, False),
        ((TWO, "~ trait:S"), (TWO,), 1, {0: 0.5, 1: 0.5}, False),
        ((TWO, "~ us(trait):S + us(trait):T"), (TWO, "~ diag(trait):S"), 4, {3: 0.5, 4: 0.5}, True),
        (("y ~ x", "", "~ dsum(~ units | sex)"), ("y ~ x",), 1, {1: 1.0}, False),
        ((TWO, "", "~ units:us(trait)"), (TWO, "", "~ units:diag(trait)"), 1, {1: 1.0}, False),
    ],
)
def test_mixture_of_a_pair_of_models(
    large: tuple[str, ...], small: tuple[str, ...], n: int, mixture: dict[int, float], bound: bool
) -> None:
    found, loose = boundary_mixture(spec(*large), spec(*small), n)
    assert {df: w for df, w in found.items() if w} == mixture
    assert loose is bound
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_correlation_held_at_one_is_on_the_boundary() -> None:
    free = spec(TWO, "~ corgh(trait):S")
    sigma = np.array([[4.0, 6.0 * 0.9999], [6.0 * 0.9999, 9.0]])
    one = spec(TWO, "~ corgh(trait):S", S={"sigma": sigma.tolist(), "fix": [[False, True], [True, False]]})
    assert boundary_mixture(free, one, 1) == ({0: 0.5, 1: 0.5}, False)
    half = spec(TWO, "~ corgh(trait):S", S={"sigma": [[4.0, 3.0], [3.0, 9.0]], "fix": [[False, True], [True, False]]})
    assert boundary_mixture(free, half, 1) == ({1: 1.0}, False)


def test_held_elements_do_not_count() -> None:
    fixed = {"sigma": [[4.0, 0.0], [0.0, 9.0]], "fix": [[False, True], [True, True]]}
    found, bound = boundary_mixture(spec(TWO, "~ us(trait):S", S=fixed), spec(TWO), 1)
    assert (found, bound) == ({0: 0.5, 1: 0.5}, True)


def test_variances_of_other_names_are_not_guessed() -> None:
    with pytest.raises(UsageError, match="variance 'S' of the smaller model is not in the larger"):
        boundary_mixture(spec("y ~ x + (1 | T) + (1 | S:T)"), spec("y ~ x + (1 | S)"), 1)


def test_a_rank_that_the_larger_model_lacks_is_not_nested() -> None:
    large = spec("y ~ x + (x + w | S) + (1 | T)", S={"rank": 1})
    with pytest.raises(UsageError, match="'S' has rank 2 in the smaller model and 1 in the larger one: they are not"):
        boundary_mixture(large, spec("y ~ x + (x | S)"), 1)
    assert boundary_mixture(large, spec("y ~ x + (x | S)", S={"rank": 1}), 2)[1]
