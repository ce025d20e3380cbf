"""``[index.NAME]``: weights of coefficients, and of curves at points of their covariate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.errors import ModelError
from henderson.language.load import load_model
from henderson.language.spec import IndexSpec, ModelSpec
from henderson.language.write_toml import write_toml
from henderson.language.write_xml import write_xml

COLUMNS = dict.fromkeys(("milk", "fat", "herd", "id", "dim", "heat"), "real")
MODEL = """
[data]
records = "a.csv"
[pedigree.ped]
file = "ped.csv"
[model]
polynomials = ["l0", "l1", "x^2"]
equations = '''
milk = herd*h1 + dim(t(co(p(1,2);n(id))))*u1(v(g(1,2))) + heat(t(co(n(id))))*w1(v(g(3))) + id*p1(v(pe(1)))
fat = herd*h2 + dim(t(co(p(1,3);n(id))))*u2(v(g(4,5)))
'''
[variance.g]
sigma = [[9, 0, 0, 0, 0], [0, 9, 0, 0, 0], [0, 0, 9, 0, 0], [0, 0, 0, 9, 0], [0, 0, 0, 0, 9]]
gamma = { A = { pedigree = "ped" } }
[variance.pe]
sigma = 2
[variance.res]
sigma = [[60.0, 8.0], [8.0, 30.0]]
"""


def load(folder: Path, text: str) -> ModelSpec:
    (folder / "m.toml").write_text(text, encoding="utf-8")
    return load_model(folder / "m.toml", lambda data, base: COLUMNS)


def index(folder: Path, weights: str) -> dict[str, float]:
    (found,) = load(folder, f"{MODEL}[index.total]\nweights = {weights}\n").indices
    assert (found.name, found.variance) == ("total", "g")
    return dict(found.weights)


DAYS = np.arange(5, 306)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("{ u1_1 = 2, u2_3 = -0.5, w1 = 0 }", {"u1_1": 2.0, "u2_3": -0.5}),
        ('{ u1 = { at = "5:305" } }', {"u1_1": 301.0, "u1_2": float(DAYS.sum())}),
        ("{ u2 = { at = [-1, 3], weight = 0.5 } }", {"u2_1": 1.0, "u2_3": 5.0}),
        ('{ u1 = { at = "5:305", x = "(x-155)/150" }, w1 = 3 }', {"u1_1": 301.0, "w1": 3.0}),
        ('{ u2 = { at = "0:1:0.25" } }', {"u2_1": 5.0, "u2_3": 1.875}),
        ("{ u1 = [{ at = 280 }, { at = 60, weight = -1 }] }", {"u1_2": 220.0}),
        ('{ w1 = { at = "1:3" } }', {"w1": 6.0}),
        ("{ u1 = { at = 2 }, u1_2 = 3 }", {"u1_1": 1.0, "u1_2": 5.0}),
    ],
)
def test_weights_are_sums_of_the_basis(tmp_path: Path, weights: str, expected: dict[str, float]) -> None:
    found = index(tmp_path, weights)
    found = {name: w for name, w in found.items() if abs(w) > 1e-9}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("{ u3 = 1 }", ["unknown sub-factor 'u3'", "line 20"]),
        ("{ h1 = 1 }", ["'h1' is fixed"]),
        ("{ u1 = 1 }", ["'u1' has 2 coefficients, u1_1, u1_2", 'u1 = { at = "5:305" }']),
        ("{ p1 = { at = 3 } }", ["'p1' is no regression"]),
        ("{ u1_1 = 1, p1 = 1 }", ["variances g and pe", "one index of each"]),
        ("{ u1 = { at = '9:3' } }", ["lies before the first"]),
        ("{ u1 = { at = '0:1:1e-9' } }", ["more than 100,000"]),
        ("{ u1 = { at = 'all' } }", ["'at' must be a number", "5:305"]),
        ("{ u1 = { weight = 2 } }", ["'at' is missing"]),
        ("{ u1 = { at = 1, by = 2 } }", ["unknown key 'by'"]),
        ("{ u1 = { at = 1, x = 'y+1' } }", ["'y' is not x"]),
        ("{ u1_1 = true }", ["weight of 'u1_1' must be a number"]),
        ("{ u1_1 = [] }", ["'u1_1' are empty"]),
        ("{}", ["'weights' is empty"]),
        ("{ w1 = 0 }", ["all weights of index 'total' are 0"]),
        ("3", ["'weights' must be a table"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, weights: str, words: list[str]) -> None:
    with pytest.raises(ModelError) as e:
        load(tmp_path, f"{MODEL}[index.total]\nweights = {weights}\n")
    assert e.value.exit_code == 5
    for word in words:
        assert word in str(e.value), str(e.value)


def test_a_name_that_is_taken_and_a_table_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="index 'w1' has the name of a sub-factor"):
        load(tmp_path, f"{MODEL}[index.w1]\nweights = {{ w1 = 1 }}\n")
    with pytest.raises(ModelError, match="'weights' is missing"):
        load(tmp_path, f"{MODEL}[index.total]\n")


def test_they_are_written_as_toml_and_left_out_of_xml(tmp_path: Path) -> None:
    spec = load(tmp_path, f'{MODEL}[index."305 d"]\nweights = {{ u1 = {{ at = "5:305" }} }}\n')
    assert spec.indices == (IndexSpec("305 d", "g", (("u1_1", 301.0), ("u1_2", float(DAYS.sum())))),)
    assert load(tmp_path, write_toml(spec)) == spec
    assert any("305 d" in note for note in write_xml(spec).notes)
