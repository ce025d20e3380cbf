"""Orders of the animals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.pedigree_order import generation_numbers
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from henderson.pedigree.order import locality_order, permute, topological_order
from henderson.store.model_data import Labels, Pedigree


def pedigree_of(sire: NDArray[np.int32], dam: NDArray[np.int32]) -> Pedigree:
    generation, _ = generation_numbers(sire, dam)
    F = inbreeding(sire, dam, generation)
    return Pedigree("p", Labels(np.arange(len(sire))), sire, dam, generation, F, mendelian_variance(sire, dam, F))


def herds(n_herds: int = 40, n_years: int = 10, born: int = 10) -> tuple[Pedigree, NDArray[np.int64]]:
    """Return a pedigree of herds in order of birth, and each animal's herd; 20 bulls are used in all herds."""
    rng = np.random.default_rng(5)
    n_bulls, size = 20, n_herds * born
    sire = np.full(n_bulls + n_years * size, -1, dtype=np.int32)
    dam = sire.copy()
    herd = np.append(np.full(n_bulls, -1), np.tile(np.repeat(np.arange(n_herds), born), n_years))
    for year in range(1, n_years):
        rows = n_bulls + year * size + np.arange(size)
        sire[rows] = rng.integers(0, n_bulls, size)
        dam[rows] = n_bulls + (year - 1) * size + herd[rows] * born + rng.integers(0, born, size)
    return pedigree_of(sire, dam), herd


def distance(pedigree: Pedigree) -> float:
    known = np.flatnonzero(pedigree.dam >= 0)
    return float(np.abs(known - pedigree.dam[known]).mean())


def test_topological_order_is_stable() -> None:
    order = topological_order(np.array([2, 0, 1, 0, 2, 1], dtype=np.int32))
    assert order.tolist() == [1, 3, 2, 5, 0, 4]


def test_herd_mates_are_near_each_other() -> None:
    pedigree, herd = herds()
    order = locality_order(pedigree, herd)
    assert sorted(order.tolist()) == list(range(len(pedigree)))
    assert distance(permute(pedigree, order)) < distance(pedigree) / 10
    assert np.sum(np.diff(herd[order][herd[order] >= 0]) != 0) == 39  # every herd is one stretch


def test_maternal_lines_are_near_each_other() -> None:
    pedigree, _ = herds()
    order = locality_order(pedigree, None)
    assert sorted(order.tolist()) == list(range(len(pedigree)))
    assert distance(permute(pedigree, order)) < distance(pedigree) / 10


def test_animals_without_a_key_join_their_first_progeny_then_dam_then_sire() -> None:
    #                 0   1   2   3  4   5   6  7   8
    sire = np.array([-1, -1, -1, 0, 0, -1, 4, 2, -1], dtype=np.int32)
    dam = np.array([-1, -1, -1, 1, 1, -1, -1, 5, -1], dtype=np.int32)
    key = np.array([-1, -1, -1, 7, 3, 9, -1, -1, -1])
    # 0 and 1 join 3, their first progeny; 6 its sire 4; 7 its dam 5; 8, and 2, whose progeny has none, stand last
    assert locality_order(pedigree_of(sire, dam), key).tolist() == [4, 6, 0, 1, 3, 5, 7, 2, 8]


def test_keys_of_any_size() -> None:
    pedigree, herd = herds(n_herds=5, n_years=3)
    wide = np.where(herd < 0, -1, herd * 10**12)
    np.testing.assert_array_equal(locality_order(pedigree, wide), locality_order(pedigree, herd))


def test_empty_and_single() -> None:
    none = np.zeros(0, dtype=np.int32)
    assert locality_order(pedigree_of(none, none), None).shape == (0,)
    one = np.full(1, -1, dtype=np.int32)
    assert locality_order(pedigree_of(one, one), np.array([-1])).tolist() == [0]


def test_permute_keeps_every_animal_s_own() -> None:
    pedigree, _ = herds(n_herds=5, n_years=4)
    order = np.random.default_rng(1).permutation(len(pedigree))
    moved = permute(pedigree, order)
    np.testing.assert_array_equal(moved.labels.values, order)
    for name in ("generation", "inbreeding", "mendelian_variance"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(pedigree, name)[order])
    for parent, before in ((moved.sire, pedigree.sire), (moved.dam, pedigree.dam)):
        labels = np.where(parent >= 0, moved.labels.values[parent], -1)
        np.testing.assert_array_equal(labels, before[order])
