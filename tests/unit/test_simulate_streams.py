"""Random numbers addressed by index: independence of blocks, range, distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henderson.simulate.streams import Stream, correlated, normals, random_order, uniforms


@given(st.integers(0, 2**64 - 1), st.integers(1, 9), st.integers(0, 10**12), st.integers(0, 50), st.integers(0, 50))
def test_any_block_is_a_slice_of_the_stream(seed: int, width: int, first: int, skip: int, n: int) -> None:
    whole = uniforms(seed, Stream.RECORD, width, first, first + skip + n)
    part = uniforms(seed, Stream.RECORD, width, first + skip, first + skip + n)
    np.testing.assert_array_equal(whole[skip:], part)


def test_streams_and_seeds_differ() -> None:
    base = uniforms(1, Stream.RECORD, 1, 0, 1000)[:, 0]
    others = [uniforms(2, Stream.RECORD, 1, 0, 1000), uniforms(1, Stream.RESIDUAL, 1, 0, 1000)]
    for other in others:
        assert abs(np.corrcoef(base, other[:, 0])[0, 1]) < 4 / np.sqrt(1000)


def test_uniforms_lie_inside_the_open_interval_and_are_uniform() -> None:
    n = 200_000
    u = uniforms(3, Stream.MATING, 2, 0, n // 2).ravel()
    assert u.min() > 0
    assert u.max() < 1
    counts = np.bincount((u * 100).astype(int), minlength=100)
    chi_square = ((counts - n / 100) ** 2 / (n / 100)).sum()
    assert abs(chi_square - 99) < 5 * np.sqrt(2 * 99)  # five standard deviations of chi-square with 99 degrees


def test_normals_have_the_moments_of_the_normal_distribution() -> None:
    n = 400_000
    z = normals(4, Stream.RESIDUAL, 4, 0, n // 4).ravel()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.mean(z**power) == pytest.approx(expected, abs=5 * np.sqrt(variance / n))


def test_correlated_is_the_product_with_the_transposed_factor() -> None:
    z = normals(5, Stream.RESIDUAL, 3, 0, 10)
    factor = np.linalg.cholesky(np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 2.0]]))
    np.testing.assert_allclose(correlated(factor, z), z @ factor.T, rtol=1e-14, atol=1e-14)


def test_random_order_is_a_permutation_that_moves_things() -> None:
    order = random_order(6, Stream.PEDIGREE_ORDER, 1000)
    np.testing.assert_array_equal(np.sort(order), np.arange(1000))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 4 / np.sqrt(1000)
