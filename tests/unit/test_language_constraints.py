"""Elements that REML holds or keeps equal: how they are written, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.language.load import load_model
from henderson.language.spec import VarianceSpec

COLUMNS = {"y1": "real", "y2": "real", "y3": "real", "id": "integer", "sex": "text"}
SIGMA = "[[4.0, 3.0, 3.0], [3.0, 9.0, 4.5], [3.0, 4.5, 9.0]]"


def load(folder: Path, table: str, residual: str = "", formula: str = "") -> VarianceSpec:
    """The variance `id` of a model of three traits; its table holds `table`."""
    random = formula or "~ us(trait):id"
    (folder / "m.toml").write_text(
        f'[data]\nrecords = "r.csv"\n[model]\nfixed = "cbind(y1, y2, y3) ~ trait"\nrandom = "{random}"\n'
        f"[variance.id]\n{table}\n[variance.res]\n{residual}\n[jobs]\nrun = 'reml'\n"
    )
    return load_model(folder / "m.toml", lambda data, base: COLUMNS).variance("res" if residual else "id")


def test_equal_elements_are_groups_of_the_lower_triangle(tmp_path: Path) -> None:
    found = load(tmp_path, f'sigma = {SIGMA}\nequal = [["3,3", "2,2"], ["1,2", "3, 1"]]')
    assert found.equal == (((2, 1), (3, 1)), ((2, 2), (3, 3)))


def test_equal_correlations_of_corgh(tmp_path: Path) -> None:
    table = 'equal = [["2,1", "3,1", "3,2"]]\nsigma = '
    random = "~ corgh(trait):id"
    same = "[[4.0, 3.0, 1.5], [3.0, 9.0, 2.25], [1.5, 2.25, 2.25]]"  # all 0.5
    assert load(tmp_path, table + same, formula=random).equal == (((2, 1), (3, 1), (3, 2)),)
    with pytest.raises(ModelError, match=r"\(2,1\), \(3,1\), \(3,2\) differ in sigma"):
        load(tmp_path, table + same, formula="~ us(trait):id")


def test_corh_and_corgv_are_corgh_with_equal_elements(tmp_path: Path) -> None:
    found = load(tmp_path, "", formula="~ corh(trait, init = c(.5, 4, 9, 1)):id")
    assert (found.structure, found.equal) == ("corgh", (((2, 1), (3, 1), (3, 2)),))
    assert found.sigma == ((4.0, 3.0, 1.0), (3.0, 9.0, 1.5), (1.0, 1.5, 1.0))
    found = load(tmp_path, "", formula="~ corgv(trait, init = c(.5, 0, .25, 4)):id")
    assert (found.structure, found.equal) == ("corgh", (((1, 1), (2, 2), (3, 3)),))
    assert found.sigma == ((4.0, 2.0, 0.0), (2.0, 4.0, 1.0), (0.0, 1.0, 4.0))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('equal = [["1,1", "4,4"]]', ["(4,4)", "3 by 3"]),
        ('equal = [["1,1", "1,1"]]', ["two different elements"]),
        ('equal = [["1,1", "2,1"]]', ["mix variances with covariances"]),
        ('equal = [["1,1", "2,2"], ["3,3", "2,2"]]', ["(2,2) is in two groups"]),
        ('equal = [["1,1", "x"]]', ["'x' is no element", "line 7"]),
        ('equal = ["1,1"]', ["list of lists"]),
        (f'sigma = {SIGMA}\nequal = [["1,1", "2,2"]]', ["(1,1), (2,2) differ in sigma: 4, 9"]),
        (
            f'sigma = {SIGMA}\nequal = [["3,3", "2,2"]]\n'
            "fix = [[false, false, false], [false, true, false], [false, false, false]]",
            ["some of (2,2), (3,3) are held"],
        ),
        ("fix = [[true, false, false], [false, false, false], [false, false, false]]", ["sigma that is not given"]),
        ("classes = { F = [[1.0]] }", ["has a sigma for class 'F', but no 'by'"]),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, table: str, words: list[str]) -> None:
    with pytest.raises(ModelError) as e:
        load(tmp_path, table)
    for word in words:
        assert word in str(e.value), str(e.value)


def test_structures_with_equal_elements_of_their_own_take_no_others(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="structure 'cs' says which elements are equal"):
        load(tmp_path, 'equal = [["1,1", "2,2"]]', formula="~ cs(trait):id")
    with pytest.raises(ModelError, match="are covariances, which structure 'diag' does not have"):
        load(tmp_path, 'equal = [["2,1", "3,1"]]', formula="~ diag(trait):id")


def test_sigma_of_single_residual_classes(tmp_path: Path) -> None:
    found = load(tmp_path, "", f"by = 'sex'\n[variance.res.classes]\nM = {SIGMA}")
    assert [level for level, _ in found.classes] == ["M"]
    assert found.classes[0][1][1] == (3.0, 9.0, 4.5)
    with pytest.raises(ModelError, match=r"'res, class M' is 1 by 1, but the equations have 3 traits"):
        load(tmp_path, "", "by = 'sex'\nclasses = { M = 2.0 }")
    with pytest.raises(ModelError, match=r"'res, class F' is not positive definite"):
        load(tmp_path, "", f"by = 'sex'\nclasses = {{ F = {SIGMA.replace('4.0', '0.4')} }}")
    with pytest.raises(ModelError, match="no 'by'"):
        load(tmp_path, "", f"classes = {{ F = {SIGMA} }}")
