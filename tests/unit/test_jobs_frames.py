"""Data frames of every kind of column, pedigrees and matrices in memory: the same fit as from files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import henderson
from henderson.errors import HendersonError, InputFileError, UsageError


def made(seed: int = 3, n: int = 80) -> pd.DataFrame:
    """Records of 20 animals with two classes and a covariate."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"id": rng.integers(1, 21, n), "herd": rng.choice(["7", "07", "x"], n), "age": rng.random(n)})
    u = rng.normal(0, 1, 21)
    frame["y"] = u[frame["id"]] + frame["age"] + rng.normal(0, 0.7, n)
    return frame


def pedigree() -> pd.DataFrame:
    """20 animals, males odd, females even, of the youngest parents there are; unknown parents are missing."""
    ids = np.arange(1, 21)
    sire = np.where(ids > 4, (ids - 3) // 2 * 2 - 1, np.nan)
    dam = np.where(ids > 4, (ids - 3) // 2 * 2, np.nan)
    return pd.DataFrame({"animal": ids, "sire": sire, "dam": dam})


@pytest.fixture(scope="module")
def plain() -> henderson.Fit:
    return henderson.reml("y ~ herd + age", "~ vm(id, ped)", data=made(), pedigree=pedigree())


def test_columns_of_every_type(plain: henderson.Fit) -> None:
    frame = made()
    frame.index = pd.Index(range(500, 500 + len(frame)), name="y")  # an index is no column
    frame["herd"] = frame["herd"].astype("category").cat.add_categories("never")
    frame["id"] = frame["id"].astype("Int64")
    frame["age"] = frame["age"].astype("Float64")
    frame["unused"] = [object()] * len(frame)
    other = henderson.reml("y ~ herd + age", "~ vm(id, ped)", data=frame, pedigree=pedigree())
    assert other.loglik == pytest.approx(plain.loglik, abs=1e-8)
    assert list(other.fixef().index) == list(plain.fixef().index)


def test_text_that_looks_like_numbers_is_a_class(plain: henderson.Fit) -> None:
    assert [level for name, level in plain.fixef().index if name == "herd"] == ["07", "7"]
    frame = made()
    frame["herd"] = frame["herd"].map({"7": "1", "07": "2", "x": "3"})
    assert len(henderson.reml("y ~ herd + age + (1 | id)", data=frame).wald().loc[["herd"]]) == 1
    numbers = frame.assign(herd=frame["herd"].astype(int))
    assert henderson.reml("y ~ herd + (1 | id)", data=numbers).wald().loc["herd", "df"] == 1
    assert henderson.reml("y ~ factor(herd) + (1 | id)", data=numbers).wald().loc["herd", "df"] == 2
    assert henderson.reml("y ~ herd + (1 | id)", data=numbers, classes=["herd"]).wald().loc["herd", "df"] == 2


def test_pedigrees_by_name_and_as_files(plain: henderson.Fit, tmp_path: Path) -> None:
    pedigree().to_csv(tmp_path / "p.csv", index=False, float_format="%.0f")
    made().to_csv(tmp_path / "d.csv", index=False)
    for given, formula in [
        ({"A": pedigree()}, "~ vm(id, A)"),
        (tmp_path / "p.csv", "~ ped(id)"),
        ({"file": pedigree(), "inbreeding": True}, "~ ped(id)"),
        ({"ped": str(tmp_path / "p.csv")}, "~ vm(id, ped)"),
    ]:
        fit = henderson.reml("y ~ herd + age", formula, data=tmp_path / "d.csv", pedigree=given)
        assert fit.loglik == pytest.approx(plain.loglik, abs=1e-6)
    without = henderson.reml(
        "y ~ herd + age", "~ ped(id)", data=made(), pedigree={"file": pedigree(), "inbreeding": False}
    )
    assert abs(without.loglik - plain.loglik) > 1e-6


def test_matrices_and_their_inverses() -> None:
    rng = np.random.default_rng(1)
    ids = [f"i{k}" for k in range(1, 21)]
    L = rng.normal(0, 0.3, (20, 20))
    K = pd.DataFrame(np.eye(20) + L @ L.T, ids, ids)
    frame = made()
    frame["id"] = [f"i{k}" for k in frame["id"]]
    one = henderson.reml("y ~ age", "~ vm(id, K)", data=frame, matrix=K)
    inverse = pd.DataFrame(np.linalg.inv(K), ids, ids)
    other = henderson.reml("y ~ age", "~ vm(id, Q)", data=frame, matrix={"Q": {"file": inverse, "inverse": True}})
    assert other.loglik == pytest.approx(one.loglik, abs=1e-6)
    long = K.rename_axis("i").reset_index().melt("i", var_name="j")
    again = henderson.reml("y ~ age", "~ vm(id, K)", data=frame, matrix=long)
    assert again.loglik == pytest.approx(one.loglik, abs=1e-6)


def test_whole_numbers_with_gaps_stay_keys() -> None:
    frame = made()
    frame["id"] = frame["id"].astype(float)
    frame.loc[3, "id"] = np.nan
    found = henderson.reml("y ~ age + (1 | id)", data=frame).ranef()
    assert "7" in found.index.get_level_values("level")
    with pytest.raises(HendersonError, match=r"'age' holds real numbers.*factor\(age\)"):
        henderson.reml("y ~ 1", "~ id + id:age", data=frame)


def test_residuals_by_class_have_functions_of_their_own() -> None:
    frame = made(n=150)
    frame["sex"] = np.where(frame["age"] < 0.5, "F", "M")
    fit = henderson.reml("y ~ sex", "~ id", "~ at(sex):units", data=frame)
    a, f, m = fit.varcomp["component"]
    assert list(fit.varcomp.index) == ["id", "sex_F!R", "sex_M!R"]
    assert fit.vpredict("id[1,1] / (id[1,1] + res.M[1,1])").value == pytest.approx(a / (a + m))
    assert fit.vpredict("`res.F`[1,1]").se == pytest.approx(fit.varcomp.loc["sex_F!R", "std_error"], rel=1e-5)
    assert fit.sigma("res", "F").iloc[0, 0] == f
    with pytest.raises(UsageError, match="unknown variance 'res'; did you mean"):
        fit.vpredict("res[1,1]")


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    henderson.reml("y ~ age + (1 | id)", data=made())
    with pytest.raises(InputFileError):
        henderson.reml("y ~ age + (1 | id)", data=made().assign(age="one").drop(columns="id").assign(id=1, y="text"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_neither_a_frame_nor_a_file() -> None:
    with pytest.raises(UsageError, match="pedigree must be a DataFrame, a file"):
        henderson.reml("y ~ age", data=made(), pedigree=3)
    with pytest.raises(UsageError, match="matrix 'K' must be a DataFrame or a file"):
        henderson.reml("y ~ age", data=made(), matrix={"K": 3})
    with pytest.raises(UsageError, match="'id' has a sigma in variance= and in start="):
        henderson.reml("y ~ age", "~ id", data=made(), start={"id": [[1.0]]}, variance={"id": {"sigma": [[1.0]]}})
    with pytest.raises(UsageError, match="equations have their random terms in them"):
        henderson.reml("y = age*a", "~ id", data=made())
