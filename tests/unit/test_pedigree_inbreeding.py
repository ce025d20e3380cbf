"""Inbreeding: known small cases, many families, thread counts, depth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from henderson.kernels.inbreeding import LANES
from henderson.kernels.pedigree_order import generation_numbers
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from oracles.dense_pedigree import relationship_matrix


def parents(*pairs: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    both = np.array(pairs, dtype=np.int32).reshape(len(pairs), 2)
    return both[:, 0].copy(), both[:, 1].copy()


def coefficients(sire: NDArray[np.int32], dam: NDArray[np.int32], threads: int = 1) -> NDArray[np.float64]:
    return inbreeding(sire, dam, generation_numbers(sire, dam)[0], threads=threads)


def many_families(n: int, window: int, seed: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return parents among the last `window` born, a twelfth of each unknown, in shuffled rows."""
    rng = np.random.default_rng(seed)
    born = np.arange(n)[:, None]
    chosen = np.maximum(born - 1 - rng.integers(0, window, size=(n, 2)), -1)
    chosen[rng.random((n, 2)) < 1 / 12] = -1
    row_of = np.append(rng.permutation(n), -1).astype(np.int32)
    by_row = np.empty((n, 2), dtype=np.int32)
    by_row[row_of[:-1]] = row_of[chosen]
    return by_row[:, 0].copy(), by_row[:, 1].copy()


def test_no_animal_and_one_animal() -> None:
    assert coefficients(*parents()).shape == (0,)
    np.testing.assert_array_equal(coefficients(*parents((-1, -1))), [0.0])
    np.testing.assert_array_equal(mendelian_variance(*parents((-1, -1)), np.zeros(1)), [1.0])


def test_classic_matings() -> None:
    # 0, 1 founders; 2, 3 full sibs; 4 of full sibs; 5 of parent and offspring; 6 of one parent; 7 of half sibs 2 and 6
    sire, dam = parents((-1, -1), (-1, -1), (0, 1), (0, 1), (2, 3), (0, 3), (0, -1), (2, 6))
    np.testing.assert_allclose(coefficients(sire, dam), [0, 0, 0, 0, 0.25, 0.25, 0, 0.125], atol=1e-15)


def test_selfing_halves_what_is_left() -> None:
    sire, dam = parents((-1, -1), *((i, i) for i in range(20)))
    F = coefficients(sire, dam)
    np.testing.assert_allclose(F, 1.0 - 0.5 ** np.arange(21), rtol=1e-15)
    np.testing.assert_allclose(mendelian_variance(sire, dam, F)[1:], 0.5 * (1.0 - F[:-1]), rtol=1e-12)


@pytest.mark.parametrize("window", [3, 30, 100])
def test_more_families_than_lanes(window: int) -> None:
    sire, dam = many_families(40 * LANES, window, seed=window)
    F = coefficients(sire, dam)
    assert (F > 0).sum() > LANES
    np.testing.assert_allclose(F, np.diag(relationship_matrix(sire, dam)) - 1.0, rtol=0, atol=1e-13)


@pytest.mark.parametrize("window", [50, 2000])
def test_same_bits_with_any_number_of_threads(window: int) -> None:
    sire, dam = many_families(20_000, window, seed=7)
    one = coefficients(sire, dam, threads=1)
    assert one.max() > 0
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(coefficients(sire, dam, threads=threads), one)


def test_any_order_of_rows() -> None:
    sire, dam = many_families(5_000, 100, seed=3)
    order = np.random.default_rng(0).permutation(len(sire))
    row = np.append(np.argsort(order), -1).astype(np.int32)
    shuffled = coefficients(row[sire[order]], row[dam[order]])
    np.testing.assert_allclose(shuffled, coefficients(sire, dam)[order], rtol=1e-13)


def test_depth_of_a_hundred_thousand_generations() -> None:
    n = 100_000
    sire = np.arange(1, n + 1, dtype=np.int32)
    sire[-1] = -1  # the last row is the founder, the first the youngest
    generation, n_loops = generation_numbers(sire, np.full(n, -1, dtype=np.int32))
    assert n_loops == 0
    np.testing.assert_array_equal(generation, np.arange(n)[::-1])


def test_full_sib_mating_for_many_generations_tends_to_one() -> None:
    pairs = [(-1, -1), (-1, -1)]
    for g in range(60):
        pairs += [(2 * g, 2 * g + 1)] * 2
    F = coefficients(*parents(*pairs))[::2]
    np.testing.assert_allclose(F[2:5], [0.25, 0.375, 0.5])  # Wright (1921)
    np.testing.assert_allclose(F[2:], 0.25 + 0.5 * F[1:-1] + 0.25 * F[:-2], rtol=1e-13)
    assert F[-1] > 0.999
