"""Inbreeding and mendelian variances of random pedigrees against the dense relationship matrix."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from henderson.kernels.pedigree_order import generation_numbers
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from oracles.dense_pedigree import relationship_matrix

Parents = tuple[NDArray[np.int32], NDArray[np.int32]]


@st.composite
def pedigrees(draw: st.DrawFn) -> Parents:
    """Return parents by row, rows in any order; few parents (deep inbreeding), many, selfing, unknown parents."""
    n = draw(st.integers(0, 40))
    window = draw(st.sampled_from([2, 5, 40]))  # parents are among the last so many born
    parents = [
        [draw(st.integers(max(-1, i - window), i - 1)) if draw(st.booleans()) else max(-1, i - 1) for _ in range(2)]
        for i in range(n)
    ]
    born = np.array(parents, dtype=np.int32).reshape(n, 2)
    row_of = np.append(np.array(draw(st.permutations(range(n))), dtype=np.int32), np.int32(-1))
    by_row = np.empty_like(born)
    by_row[row_of[:-1]] = row_of[born]
    return by_row[:, 0].copy(), by_row[:, 1].copy()


@settings(max_examples=150, deadline=None)
@given(pedigrees())
def test_against_the_tabular_method(parents: Parents) -> None:
    sire, dam = parents
    generation, n_loops = generation_numbers(sire, dam)
    assert n_loops == 0
    F = inbreeding(sire, dam, generation, threads=2)
    A = relationship_matrix(sire, dam)
    np.testing.assert_allclose(F, np.diag(A) - 1.0, rtol=0, atol=1e-13)

    # (I - P) A (I - P)' = D, with P the halves of the parents: what the mendelian variances are defined by
    n = len(sire)
    passed = np.eye(n)
    for parent in (sire, dam):
        passed[np.flatnonzero(parent >= 0), parent[parent >= 0]] -= 0.5
    D = passed @ A @ passed.T
    np.testing.assert_allclose(D, np.diag(mendelian_variance(sire, dam, F)), rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(pedigrees())
def test_generations(parents: Parents) -> None:
    sire, dam = parents
    generation, _ = generation_numbers(sire, dam)
    at = np.append(generation, -1)
    np.testing.assert_array_equal(generation, np.maximum(at[sire], at[dam]) + 1)


@settings(max_examples=100, deadline=None)
@given(pedigrees(), st.data())
def test_a_loop_is_always_found(parents: Parents, data: st.DataObject) -> None:
    sire, dam = parents
    children = np.flatnonzero(sire >= 0)
    if len(children) == 0:
        return
    child = int(data.draw(st.sampled_from(children.tolist())))
    dam = dam.copy()
    dam[sire[child]] = child
    assert generation_numbers(sire, dam)[1] > 0
