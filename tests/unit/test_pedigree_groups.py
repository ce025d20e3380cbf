from __future__ import annotations

import numpy as np
import pytest

from henderson.errors import InputFileError
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.build import check_pedigree
from henderson.pedigree.groups import fractions, groups_of
from henderson.store.model_data import Labels, Pedigree
from oracles.dense_pedigree import relationship_matrix

N_GROUPS = 10


def with_groups(seed: int, n: int = 60, selfing: bool = False) -> Pedigree:
    rng = np.random.default_rng(seed)
    first = N_GROUPS
    sire, dam = np.full(first + n, -1, np.int32), np.full(first + n, -1, np.int32)
    for i in range(first, first + n):
        sires, dams = [np.arange(first + k, i, 2) for k in (0, 1)]
        for parents, pool in ((sire, sires), (dam, dams)):
            known = len(pool) and rng.random() < 0.7
            parents[i] = rng.choice(pool) if known else rng.integers(-1, first)
    spec = PedigreeSpec("ped", "p.csv", phantomparents=first, selfing=selfing)
    labels = Labels(np.arange(first + n))
    return check_pedigree("ped", labels, sire, dam, spec=spec, file="p.csv", line=np.arange(first + n))


@pytest.mark.parametrize("seed", range(5))
def test_inverse_with_groups_is_that_of_westell_and_quaas(seed: int) -> None:
    p = with_groups(seed)
    n = len(p)
    known_sire, known_dam = (np.where(x < N_GROUPS, -1, x)[N_GROUPS:] for x in (p.sire, p.dam))
    shifted = [np.where(x < 0, -1, x - N_GROUPS).astype(np.int32) for x in (known_sire, known_dam)]
    A = relationship_matrix(*shifted)
    np.testing.assert_allclose(p.inbreeding[N_GROUPS:], np.diag(A) - 1, atol=1e-14)
    Q = fractions(p)
    np.testing.assert_array_equal(groups_of(p), np.arange(N_GROUPS))
    np.testing.assert_array_equal(Q[:N_GROUPS], np.eye(N_GROUPS))
    q, inverse = Q[N_GROUPS:], np.linalg.inv(A)
    expected = np.block([[q.T @ inverse @ q, -q.T @ inverse], [-inverse @ q, inverse]])  # Quaas 1988
    T = np.eye(n)
    for parents in (p.sire, p.dam):
        has = np.flatnonzero(parents >= 0)
        np.add.at(T, (has, parents[has]), -0.5)
    np.testing.assert_allclose(T.T @ np.diag(1 / p.mendelian_variance) @ T, expected, atol=1e-11)


def test_phantom_parents_must_be_founders() -> None:
    spec = PedigreeSpec("ped", "p.csv", phantomparents=2)
    sire, dam = np.array([-1, 0, 1], np.int32), np.array([-1, -1, -1], np.int32)
    labels = Labels(np.array([7, 8, 9]))
    with pytest.raises(InputFileError, match=r"phantom parent 8 has a parent.*first 2 rows"):
        check_pedigree("ped", labels, sire, dam, spec=spec, file="p.csv", line=np.arange(3) + 2)
    with pytest.raises(InputFileError, match="3 phantom parents, but 3 rows"):
        check_pedigree(
            "ped", labels, dam, dam,
            spec=PedigreeSpec("ped", "p.csv", phantomparents=3), file="p.csv", line=np.arange(3) + 2,
        )  # fmt: skip
