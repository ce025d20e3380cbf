"""Random small models against dense BLUP from the definition: V = Z G Z' + R, nothing shared but model and data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from henderson.accuracy.pev import pev
from henderson.language.spec import ModelSpec
from henderson.solvers.solutions import Solutions
from henderson.solvers.solve import solve_model
from henderson.store.model_data import ModelData
from oracles.dense_mme import DenseBlup, dense_blup, entries
from oracles.small_models import Recipe, small_model

RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 10_000),
    n_traits=st.integers(1, 3),
    n_records=st.sampled_from([8, 25]),
    n_animals=st.integers(2, 12),
    missing=st.sampled_from([0.0, 0.3]),
    **{
        name: st.booleans()
        for name in (
            "weights",
            "selfing",
            "mean",
            "covariate",
            "nested",
            "interaction",
            "shared",
            "overlay",
            "maternal",
            "permanent",
            "matrix",
            "regression",
            "unequal",
            "related_class",
        )
    },
)
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def printed_names(spec: ModelSpec) -> dict[str, tuple[str, int]]:
    """(Sub-factor, position within it) by the name that is printed."""
    names = {}
    for equation in spec.equations:
        for term in equation.terms:
            for k, p in enumerate(term.polynomials or (None,)):
                names[term.subfactor if p is None else f"{term.subfactor}_{p}"] = (term.subfactor, k)
    return names


def by_key(spec: ModelSpec, solutions: Solutions, what: str) -> dict[tuple[str, int, str], float]:
    """The printed numbers by (sub-factor, position within it, level)."""
    names = printed_names(spec)
    found = {}
    for part in solutions.subfactors:
        for level, label in enumerate(part.labels.text()):
            if part.kept is None or part.kept[level]:
                found[(*names[part.subfactor], label)] = float(getattr(part, what)[level])
    return found


def fitted_fixed_part(spec: ModelSpec, data: ModelData, values: dict[tuple[str, int, str], float]) -> dict:
    fitted = {}
    for t, equation in enumerate(spec.equations):
        for r in range(len(data.records)):
            if np.isnan(data.records.responses[equation.trait][r]):
                continue
            total = 0.0
            for term in equation.terms:
                if spec.subfactor(term.subfactor).variance is None:
                    for k, (level, x) in enumerate(entries(spec, data, term, t, r) or []):
                        total += x * values.get((term.subfactor, k, level), 0.0)
            fitted[t, r] = total
    return fitted


def check_solutions(spec: ModelSpec, data: ModelData, solutions: Solutions, oracle: DenseBlup, atol: float) -> None:
    values = by_key(spec, solutions, "values")
    random = {key: value for key, value in values.items() if spec.subfactor(key[0]).variance}
    assert random.keys() == oracle.random.keys()
    for key, value in oracle.random.items():
        assert random[key] == pytest.approx(value, abs=atol), key
    fitted = fitted_fixed_part(spec, data, values)
    for key, value in oracle.fixed_part.items():
        assert fitted[key] == pytest.approx(value, abs=atol, rel=atol), key
    kept = [key for key in values if not spec.subfactor(key[0]).variance]
    assert set(kept) <= set(oracle.columns)
    assert len(kept) == oracle.rank
    names = printed_names(spec)
    dropped = {(*names[d.subfactor], d.level) for d in solutions.dropped}
    assert len(dropped) == len(solutions.dropped)
    assert not dropped & set(kept)
    assert set(oracle.columns) <= dropped | set(kept)  # covariates that do not vary are no columns of the oracle


# nearly as many effects as records: a column that depends on others with a small share of its own
SATURATED = Recipe(
    seed=1, n_traits=2, n_records=25, n_animals=2, missing=0.3, weights=False, selfing=False, mean=False,
    covariate=True, nested=True,
    interaction=True, shared=False, overlay=True, maternal=False, permanent=False, matrix=False,
    regression=False, unequal=True, related_class=False,
)  # fmt: skip


@quick
@given(recipe=RECIPES, partitions=st.integers(1, 3))
@example(recipe=SATURATED, partitions=1)
def test_pcg_solves_the_definition(recipe: Recipe, partitions: int) -> None:
    spec, data = small_model(recipe)
    solutions = solve_model(spec, data, threads=partitions, rtol=1e-11)
    assert solutions.report.converged, solutions.report.reason
    assert solutions.report.relative_residual <= 1e-11
    check_solutions(spec, data, solutions, dense_blup(spec, data), 1e-6)


@quick
@given(recipe=RECIPES)
def test_direct_solution_and_accuracies(recipe: Recipe) -> None:
    spec, data = small_model(recipe)
    solutions = pev(spec, data)
    oracle = dense_blup(spec, data)
    check_solutions(spec, data, solutions, oracle, 1e-7)
    assert solutions.report.relative_residual < 1e-11
    se, values = by_key(spec, solutions, "se"), by_key(spec, solutions, "values")
    assert se.keys() == values.keys()
    for key, variance in oracle.pev.items():
        assert se[key] ** 2 == pytest.approx(variance, rel=1e-6, abs=1e-9), key
    for part in solutions.subfactors:
        assert (part.reliability is None) == part.factor.startswith("fx")
    reliability = by_key(spec, _random_only(solutions), "reliability")
    for key, variance in oracle.pev.items():
        assert reliability[key] == pytest.approx(1.0 - variance / oracle.prior[key], rel=1e-6, abs=1e-8), key


def _random_only(solutions: Solutions) -> Solutions:
    from dataclasses import replace

    return replace(solutions, subfactors=tuple(s for s in solutions.subfactors if s.reliability is not None))
