"""Uncertain parents, maternal grandparents and metafounders: F, d and A^-1 against relationships from plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.errors import InputFileError
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.build import PedigreeRows, check_pedigree, check_rows
from henderson.pedigree.groups import fractions
from henderson.pedigree.order import permute
from henderson.store.model_data import Labels, Pedigree
from oracles.dense_pedigree import average_relationship

Pairs = list[list[tuple[int, int, float]]]


def inverse(p: Pedigree) -> np.ndarray:
    """T^-1' D^-1 T^-1 from the arrays of a pedigree."""
    n = len(p)
    T = np.eye(n)
    for i in range(n):
        for parent in (p.sire[i], p.dam[i]):
            if parent >= 0:
                T[i, parent] -= 0.5
        if p.loadings is not None:
            for k in range(p.loadings.indptr[i], p.loadings.indptr[i + 1]):
                T[i, p.loadings.parent[k]] -= p.loadings.weight[k]
    return T.T @ np.diag(1.0 / p.mendelian_variance) @ T


def random_gamma(rng: np.random.Generator, m: int) -> np.ndarray:
    root = rng.uniform(-0.2, 0.6, (m, m))
    gamma = root @ root.T + np.diag(rng.uniform(0.05, 0.5, m))
    return gamma / max(1.0, gamma.max() / 1.9)


def random_pairs(seed: int, m: int, n: int = 60, selfing: bool = False) -> Pairs:
    """Up to four pairs per animal; animals m, m + 2, ... are males; unknown parents are -1 or one of the first m."""
    rng = np.random.default_rng(seed)
    pairs: Pairs = [[] for _ in range(m)]
    for i in range(m, m + n):
        pools = [np.arange(m + (0 if selfing else k), i, 1 if selfing else 2) for k in (0, 1)]
        k = int(rng.choice([1, 1, 2, 4]))
        p = rng.dirichlet(np.ones(k)) * rng.choice([1.0, 1.0, 0.7])
        p = np.ones(1) if k == 1 and rng.random() < 0.8 else p
        mine = []
        for probability in p:
            s, d = (rng.choice(x) if len(x) and rng.random() < 0.7 else rng.integers(-1, m) for x in pools)
            mine.append((int(s), int(d), float(probability)))
        pairs.append(mine)
    return pairs


def as_rows(pairs: Pairs) -> PedigreeRows:
    flat = [(i, *pair) for i, mine in enumerate(pairs) for pair in mine or [(-1, -1, 1.0)]]
    animal, sire, dam = (np.array([row[c] for row in flat], np.int32) for c in range(3))
    return PedigreeRows(sire, dam, np.arange(len(flat)) + 2, animal, np.array([row[3] for row in flat]))


def built(pairs: Pairs, **switches: object) -> Pedigree:
    spec = PedigreeSpec("ped", "p.csv", probabilistic=True, **switches)  # type: ignore[arg-type]
    return check_rows("ped", Labels(np.arange(len(pairs))), as_rows(pairs), spec=spec, file="p.csv", threads=2)


@pytest.mark.parametrize("selfing", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_uncertain_parents_give_the_average_relationship(seed: int, selfing: bool) -> None:
    pairs = random_pairs(seed, 0, selfing=selfing)
    p = built(pairs, selfing=selfing)
    A = average_relationship(len(pairs), pairs)
    np.testing.assert_allclose(p.inbreeding, np.diag(A) - 1, atol=1e-13)
    np.testing.assert_allclose(inverse(p) @ A, np.eye(len(A)), atol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_uncertain_parents_with_metafounders(seed: int) -> None:
    m = 1 + seed % 3
    pairs = random_pairs(seed, m)
    gamma = random_gamma(np.random.default_rng(seed), m)
    p = built(pairs, metamatrix=tuple(map(tuple, gamma.tolist())))
    A = average_relationship(len(pairs), pairs, gamma)
    np.testing.assert_allclose(p.inbreeding, np.diag(A) - 1, atol=1e-13)
    np.testing.assert_allclose(inverse(p) @ A, np.eye(len(A)), atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_uncertain_parents_with_absorbed_groups(seed: int) -> None:
    m = 3
    pairs = random_pairs(seed, m)
    p = built(pairs, phantomparents=m)
    known = [[(s if s >= m else -1, d if d >= m else -1, q) for s, d, q in mine] for mine in pairs]
    A = average_relationship(len(pairs), known)[m:, m:]
    np.testing.assert_allclose(p.inbreeding[m:], np.diag(A) - 1, atol=1e-13)
    q, A_inverse = fractions(p)[m:], np.linalg.inv(A)
    expected = np.block([[q.T @ A_inverse @ q, -q.T @ A_inverse], [-A_inverse @ q, A_inverse]])
    np.testing.assert_allclose(inverse(p), expected, atol=1e-10)


@pytest.mark.parametrize("granddam", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_maternal_grandparents_are_parents_of_a_dam_of_their_own(seed: int, granddam: bool) -> None:
    rng = np.random.default_rng(seed)
    n = 70
    sire, mgs, mgd = (np.full(n, -1, np.int32) for _ in range(3))
    full: Pairs = []  # dam 2 i before her son 2 i + 1
    for i in range(n):
        for parents in (sire, mgs, mgd):
            if i and rng.random() < 0.7:
                parents[i] = rng.integers(0, i)
        g = int(mgd[i]) if granddam else -1
        full.append([(2 * int(mgs[i]) + 1 if mgs[i] >= 0 else -1, 2 * g + 1 if g >= 0 else -1, 1.0)])
        full.append([(2 * int(sire[i]) + 1 if sire[i] >= 0 else -1, 2 * i, 1.0)])
    rows = PedigreeRows(sire, mgs, np.arange(n) + 2, granddam=mgd if granddam else None)
    p = check_rows("ped", Labels(np.arange(n)), rows, spec=PedigreeSpec("ped", "p.csv", mgs=True), file="p.csv")
    A = average_relationship(2 * n, full)[1::2, 1::2]
    np.testing.assert_allclose(p.inbreeding, np.diag(A) - 1, atol=1e-13)
    np.testing.assert_allclose(inverse(p) @ A, np.eye(n), atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_metafounders_give_the_relationships_of_legarra(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, n = 1 + seed % 4, 80
    gamma = random_gamma(rng, m)
    sire, dam = np.full(m + n, -1, np.int32), np.full(m + n, -1, np.int32)
    for i in range(m, m + n):
        for k, parents in enumerate((sire, dam)):
            pool = np.arange(m + k, i, 2)
            parents[i] = rng.choice(pool) if len(pool) and rng.random() < 0.7 else rng.integers(-(seed == 0), m)
    spec = PedigreeSpec("ped", "p.csv", metamatrix=tuple(map(tuple, gamma.tolist())))
    p = check_pedigree("ped", Labels(np.arange(m + n)), sire, dam, spec=spec, file="p.csv", line=np.arange(m + n))
    A = average_relationship(m + n, [[(int(s), int(d), 1.0)] for s, d in zip(sire, dam, strict=True)], gamma)
    np.testing.assert_allclose(p.inbreeding, np.diag(A) - 1, atol=1e-13)
    order = rng.permutation(m + n)
    moved = permute(p, order)
    np.testing.assert_array_equal(order[moved.groups], np.arange(m))
    np.testing.assert_allclose(inverse(moved) @ A[np.ix_(order, order)], np.eye(m + n), atol=1e-9)
    np.testing.assert_allclose(fractions(moved), fractions(p)[order], atol=0)


def test_no_inbreeding_of_base_animals_of_one_metafounder() -> None:
    """Legarra et al. 2015: with gamma, base animals have F = gamma / 2 and relationship gamma."""
    sire, dam = np.array([-1, 0, 0, 1], np.int32), np.array([-1, 0, 0, 2], np.int32)
    spec = PedigreeSpec("ped", "p.csv", metamatrix=((0.4,),))
    p = check_pedigree("ped", Labels(np.arange(4)), sire, dam, spec=spec, file="p.csv", line=np.arange(4))
    np.testing.assert_allclose(p.inbreeding, [-0.6, 0.2, 0.2, 0.2], atol=1e-15)


@pytest.mark.parametrize(
    ("matrix", "switches", "words"),
    [
        (((0.5, 0.1), (0.1,)), {}, "square"),
        (((0.5, 0.1), (0.2, 0.5)), {}, "differ"),
        (((2.5,),), {}, "less than 2"),
        (((0.5, 0.6), (0.6, 0.5)), {}, "positive definite"),
        (((0.5,),), {"phantomparents": 2}, "2 phantom parents"),
        (((0.5,),), {"inbreeding": False}, "inbreeding"),
        (((0.5, 0.1), (0.1, 0.5)), {}, "phantom parent 1 has a parent"),
    ],
)
def test_mistakes_of_metafounders_are_named(matrix: object, switches: dict[str, object], words: str) -> None:
    spec = PedigreeSpec("ped", "p.csv", metamatrix=matrix, **switches)  # type: ignore[arg-type]
    sire, dam = np.array([-1, 0, 0], np.int32), np.array([-1, 0, 0], np.int32)
    with pytest.raises(InputFileError, match=words):
        check_pedigree("ped", Labels(np.arange(3)), sire, dam, spec=spec, file="p.csv", line=np.arange(3) + 2)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([[], [], [(0, 1, 0.7), (0, 1, 0.6)]], r"animal 2 sum to 1\.3"),
        ([[], [], [(0, 1, -0.2)]], r"probability -0\.2 of the parents of animal 2"),
        ([[], [(2, -1, 1.0)], [(0, 1, 0.5), (0, -1, 0.5)]], "loop in the pedigree: 1 -> 2 -> 1"),
        ([[], [], [(0, 1, 0.5), (2, 1, 0.5)]], "animal 2 is its own sire"),
        ([[], [], [(0, 1, 0.5), (1, 0, 0.5)]], "sex conflict: 0 is the sire of 2"),
    ],
)
def test_mistakes_of_uncertain_parents_are_named(pairs: Pairs, words: str) -> None:
    with pytest.raises(InputFileError, match=words):
        built(pairs)


def test_random_groups_have_their_variance() -> None:
    sire, dam = np.array([-1, -1, 0, 0, 2], np.int32), np.array([-1, -1, 1, 0, 3], np.int32)
    spec = PedigreeSpec("ped", "p.csv", phantomparents=2, group_variance=0.3)
    p = check_pedigree("ped", Labels(np.arange(5)), sire, dam, spec=spec, file="p.csv", line=np.arange(5))
    Q = fractions(p)
    known = [np.where(x[2:] < 2, -1, x[2:] - 2).astype(np.int32) for x in (sire, dam)]
    A = average_relationship(3, [[(int(s), int(d), 1.0)] for s, d in zip(*known, strict=True)])
    expected = 0.3 * Q @ Q.T
    expected[2:, 2:] += A
    np.testing.assert_allclose(np.linalg.inv(inverse(p)), expected, atol=1e-12)


def test_phantom_parents_without_progeny_are_told(caplog: pytest.LogCaptureFixture) -> None:
    sire, dam = np.array([-1, -1, 0], np.int32), np.array([-1, -1, 0], np.int32)
    spec = PedigreeSpec("ped", "p.csv", phantomparents=2)
    p = check_pedigree("ped", Labels(np.arange(3)), sire, dam, spec=spec, file="p.csv", line=np.arange(3))
    assert "p.csv: 1 phantom parents have no progeny: 1" in caplog.text
    assert np.isfinite(p.mendelian_variance[1])
