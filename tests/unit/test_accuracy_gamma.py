"""The diagonal of Gamma, by which reliabilities are measured."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.accuracy.gamma import gamma_diagonal, of_data
from henderson.equations.model import Covariance
from henderson.language.spec import PedigreeSpec
from henderson.pedigree import transform
from henderson.pedigree.build import check_pedigree
from henderson.store.model_data import Labels, ModelData, Records


def pedigree_data(sire: np.ndarray, dam: np.ndarray, *, inbreeding: bool) -> ModelData:
    n = len(sire)
    spec = PedigreeSpec("ped", "p.csv", inbreeding=inbreeding)
    pedigree = check_pedigree("ped", Labels(np.arange(n)), sire, dam, spec=spec, file="p.csv", line=np.arange(n))
    return ModelData(Records(np.zeros(0, np.int64), {}), pedigrees={"ped": pedigree})


@pytest.mark.parametrize("inbreeding", [True, False])
@pytest.mark.parametrize("columns", [2, 256])
def test_diagonal_of_the_relationships_that_are_used(
    inbreeding: bool, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transform, "COLUMNS", columns)
    sire = np.array([-1, 5, 5, 2, 3, -1], np.int32)  # 0 and 5 found; 1 and 2 are full sibs; 3 is theirs; 4 is 3's own
    dam = np.array([-1, 0, 0, 1, 1, -1], np.int32)
    data = pedigree_data(sire, dam, inbreeding=inbreeding)
    p = data.pedigrees["ped"]
    T_inverse = np.eye(6)
    for i in range(6):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                T_inverse[i, parent] -= 0.5
    T = np.linalg.inv(T_inverse)
    expected = np.diag(T @ np.diag(p.mendelian_variance) @ T.T)
    covariance = Covariance(np.eye(1), "pedigree", "ped")
    assert gamma_diagonal(covariance, data, 6) == pytest.approx(expected, abs=1e-12)
    some = np.array([4, 0, 3])
    assert of_data(data)(covariance, some) == pytest.approx(expected[some], abs=1e-12)
    assert expected.max() > 1.2
