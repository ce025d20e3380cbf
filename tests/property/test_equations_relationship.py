"""A^-1 applied from the pedigree equals the dense inverse of A; nothing but parents, F and d goes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from henderson.equations.design import build_design
from henderson.equations.operator import UNROLLED, Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.language.spec import DataSpec, Equation, GammaSpec, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.partitions.threads import Team
from henderson.store.model_data import ModelData, Pedigree, Records
from oracles.dense_pedigree import relationship_matrix
from oracles.small_models import positive_definite, random_pedigree


def operator_of(pedigree: Pedigree, width: int, team: Team, partitions: int, seed: int) -> Operator:
    """Equations whose only record observes nothing, so that C = A^-1 (x) Sigma^-1."""
    rng = np.random.default_rng(seed)
    equations = tuple(Equation(f"y{t}", (Term("id", f"u{t}"),)) for t in range(width))
    spec = ModelSpec(
        DataSpec(("records.csv",)),
        equations,
        tuple(SubFactor(f"u{t}", "g", (t + 1,)) for t in range(width)),
        (
            VarianceSpec("g", positive_definite(rng, width), gamma=GammaSpec("pedigree", "ped")),
            VarianceSpec("res", positive_definite(rng, width)),
        ),
    )
    records = Records(
        np.arange(1),
        {f"y{t}": np.array([np.nan]) for t in range(width)},
        related={("id", "ped"): np.zeros(1, np.int32)},
    )
    data = ModelData(records, {}, {"ped": pedigree})
    return build_operator(full_rank(build_design(spec, data)), data, team, partitions)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    seed=st.integers(0, 10_000),
    selfing=st.booleans(),
    width=st.sampled_from([1, 2, 3, UNROLLED, UNROLLED + 1]),
    partitions=st.integers(1, 4),
)
def test_product_with_inverse_relationships(n: int, seed: int, selfing: bool, width: int, partitions: int) -> None:
    pedigree = random_pedigree(np.random.default_rng(seed), n, selfing)
    A = relationship_matrix(pedigree.sire, pedigree.dam)
    np.testing.assert_allclose(np.diag(A), 1.0 + pedigree.inbreeding, atol=1e-12)
    with Team(1) as team:
        operator = operator_of(pedigree, width, team, partitions, seed)
        sigma = operator.design.groups[0].covariance.sigma  # type: ignore[union-attr]
        x = np.random.default_rng(seed + 1).normal(size=(n, width))
        out = operator.zeros()
        operator.apply(operator.from_levels([x]), out)
        expected = np.linalg.solve(A, x) @ np.linalg.inv(sigma)
        np.testing.assert_allclose(operator.to_levels(out)[0], expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_the_product_undoes_multiplication_by_the_relationships() -> None:
    """A deep inbred pedigree: A^-1 (A x) = x."""
    pedigree = random_pedigree(np.random.default_rng(3), 400, selfing=True)
    assert pedigree.inbreeding.max() > 0.25
    A = relationship_matrix(pedigree.sire, pedigree.dam)
    x = np.random.default_rng(4).normal(size=(400, 1))
    with Team(2) as team:
        operator = operator_of(pedigree, 1, team, 2, 1)
        sigma = operator.design.groups[0].covariance.sigma[0, 0]  # type: ignore[union-attr]
        out = operator.zeros()
        operator.apply(operator.from_levels([A @ x * sigma]), out)
        np.testing.assert_allclose(operator.to_levels(out)[0], x, atol=1e-9)


def test_one_animal_alone() -> None:
    pedigree = random_pedigree(np.random.default_rng(1), 1)
    with Team(1) as team:
        operator = operator_of(pedigree, 1, team, 3, 0)
        out = operator.zeros()
        operator.apply(operator.from_levels([np.ones((1, 1))]), out)
        sigma = operator.design.groups[0].covariance.sigma[0, 0]  # type: ignore[union-attr]
        assert operator.to_levels(out)[0][0, 0] == pytest.approx(1.0 / sigma)
