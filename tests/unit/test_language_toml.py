"""TOML parameter files: every key, its type, the nearest known name, and places in the file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from henderson.errors import InputFileError, ModelError, UsageError
from henderson.language.load import load_model
from henderson.language.spec import DataSpec, GammaSpec, JobSpec, MatrixSpec, ModelSpec, PedigreeSpec
from henderson.language.toml_places import find_places

COLUMNS = dict.fromkeys(("milk", "fat", "sex", "id", "w", "age"), "real")
FULL = """
[data]
records = ["a.csv", "b*.csv"]
missing = -9999
weights = "w"
classes = ["sex", "id"]
[pedigree.ped]
file = "ped.csv"
inbreeding = false
selfing = true
add_missing_parents = true
probabilistic = true
phantomparents = 2
qfile = "q.coocsv"
metamatrix = [[0.5, 0.1], [0.1, 0.5]]
[matrix.K]
file = "K.csv"
inverse = true
[model]
equations = "milk = sex*b + id*u(v(g(1)))\\nfat = age(t(co(p(1))))*c + id*u2(v(g(2))) + id*k(v(k(1)))"
polynomials = [ "x ^ 2" ]  # one
[variance.k]
sigma = 3
gamma = { matrix = "K" }
structure = "id"
[variance.g]
sigma = [[30.0, 5], [5, 10.0]]
structure = "corgh"
gamma = { A = { pedigree = "ped" } }
fix = [[false, false], [false, true]]
[variance.res]
sigma = [[60.0, 8.0], [8.0, 30.0]]
by = "sex"
[jobs]
run = ["reml", "solve"]
solve = { rtol = 1e-9, max_it = 500 }
reml = { method = "ai" }
[functions]
h2 = "g[1,1] / (g[1,1] + res[1,1])"
"""


def load(folder: Path, text: str) -> ModelSpec:
    (folder / "m.toml").write_text(text, encoding="utf-8")
    return load_model(folder / "m.toml", lambda data, base: COLUMNS)


def fault(folder: Path, text: str) -> str:
    with pytest.raises(ModelError) as e:
        load(folder, text)
    assert e.value.exit_code == 5
    return str(e.value)


def test_every_key_arrives(tmp_path: Path) -> None:
    spec = load(tmp_path, FULL)
    assert spec.data == DataSpec(("a.csv", "b*.csv"), -9999.0, "w", ("id", "sex"))
    matrix = ((0.5, 0.1), (0.1, 0.5))
    assert spec.pedigrees == (
        PedigreeSpec("ped", "ped.csv", False, True, True, True, 2, "q.coocsv", metamatrix=matrix),
    )
    assert spec.matrices == (MatrixSpec("K", "K.csv", inverse=True),)
    assert [v.name for v in spec.variances] == ["g", "k", "res"]
    assert spec.variance("k").sigma == ((3.0,),)
    assert spec.variance("k").gamma == GammaSpec("matrix", "K")
    assert spec.variance("g").gamma == GammaSpec("pedigree", "ped")
    assert spec.variance("g").fix == ((False, False), (False, True))
    assert spec.residual.by == "sex"
    assert spec.jobs == (JobSpec("reml", (("method", "ai"),)), JobSpec("solve", (("max_it", 500), ("rtol", 1e-9))))
    assert spec.functions == (("h2", "g[1,1]/(g[1,1]+res[1,1])"),)
    assert spec.polynomials == ("x^2",)
    assert spec.traits == ("milk", "fat")
    assert spec.path("ped.csv") == tmp_path / "ped.csv"
    assert hash(spec) == hash(load(tmp_path, FULL))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("missing =", "mising =", ["'mising'", "'missing'", "line 4, column 1"]),
        ("[matrix.K]", "[matrx.K]", ["'matrx'", "'matrix'"]),
        ("inverse = true", "inverse = 1", ["'inverse'", "true or false"]),
        ("missing = -9999", 'missing = "no"', ["'missing'", "number"]),
        ("missing = -9999", "missing = nan", ["'missing'", "number"]),
        ('weights = "w"', "weights = 3", ["'weights'", "a text"]),
        ('weights = "w"', 'weights = "ww"', ["no column 'ww'", "line 5"]),
        ('classes = ["sex", "id"]', 'classes = ["sax"]', ["no column 'sax'", "'sex'"]),
        ('records = ["a.csv", "b*.csv"]', "records = [1]", ["'records'"]),
        ('records = ["a.csv", "b*.csv"]', "", ["'records' is missing"]),
        ('file = "K.csv"', "", ["'file' is missing", "[matrix.K]"]),
        ("phantomparents = 2", "phantomparents = 0", ["'phantomparents'"]),
        ("phantomparents = 2", "phantomparents = true", ["'phantomparents'", "whole number"]),
        ('structure = "corgh"', 'structure = "corg"', ["'corg'", "'corgh'"]),
        ("sigma = 3\n", "sigma = [3]\n", ["'sigma'", "matrix"]),
        ("sigma = 3\n", "sigma = [['3']]\n", ["'sigma'", "numbers"]),
        ("sigma = 3\n", "sigma = [[3, 4]]\n", ["'k'", "not square"]),
        ("sigma = 3\n", "sigma = -3\n", ["'k'", "positive"]),
        ("[5, 10.0]]", "[6, 10.0]]", ["'g'", "symmetric"]),
        ("5], [5,", "20], [20,", ["'g'", "positive definite"]),
        ("[[60.0, 8.0], [8.0, 30.0]]", "60.0", ["'res'", "1 by 1", "2 traits"]),
        ("[false, true]]", "[false]]", ["fix", "'g'", "2 by 2"]),
        ("[[false, false], [false, true]]", "[[false, true], [false, true]]", ["fix", "symmetric"]),
        ('{ matrix = "K" }', '{ matrix = "L" }', ["'L'", "'k'"]),
        ('{ matrix = "K" }', '{ matrx = "K" }', ["'matrx'", "'matrix'"]),
        ('{ A = { pedigree = "ped" } }', '{ A = { pedigree = "pde" } }', ["'pde'", "'ped'"]),
        ('by = "sex"', 'by = "sx"', ["no column 'sx'"]),
        ('structure = "id"', 'by = "sx"', ["no column 'sx'"]),
        ('structure = "id"', 'by = "sex"\nsigmas = "k.bin"', ["'sigmas' and 'by' exclude each other"]),
        ('structure = "id"', 'sigmas = "k.csv"', ["'.csv'", ".coocsv"]),
        ('structure = "id"', 'sigmas = { fil = "k.bin" }', ["'fil'", "'file'"]),
        ('structure = "id"', "scale = -1", ["'scale' must be positive, not -1"]),
        ("sigma = 3", 'sigma = "none.csv"', ["none.csv cannot be read"]),
        ("fix = [[false, false], [false, true]]", 'fix = "none.csv"', ["'fix'", "none.csv cannot be read"]),
        ('"reml", "solve"', '"reml", "slove"', ["'slove'", "'solve'"]),
        ('"reml", "solve"', '"reml", "reml"', ["'reml'", "twice"]),
        ("rtol = 1e-9", "rtl = 1e-9", ["'rtl'", "'rtol'", "'solve'"]),
        ("rtol = 1e-9", "rtol = 2", ["'rtol'", "between 0 and 1"]),
        ("max_it = 500", "max_it = 0", ["'max_it'"]),
        ('method = "ai"', 'method = "aii"', ["'aii'"]),
        ('["reml", "solve"]', '["reml"]', ["'solve'", "not in run"]),
        ("res[1,1])", "re[1,1])", ["'re'", "'res'", "h2"]),
        ('[ "x ^ 2" ]', '["x", "x ^^ 2"]', ["x ^^ 2", "column"]),
        ("equations =", "random =", ["'fixed' is missing"]),
        ('polynomials = [ "x ^ 2" ]', 'fixed = "milk ~ 1"', ["exclude each other"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert FULL.count(old) >= 1
    text = fault(tmp_path, FULL.replace(old, new, 1))
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("structure", "sigma", "words"),
    [
        ("diag", "[[1.0, 0.1], [0.1, 1.0]]", "covariances"),
        ("id", "[[1.0, 0.0], [0.0, 2.0]]", "variances differ"),
        ("cs", "[[2.0, 0.1], [0.1, 1.0]]", "variances differ"),
    ],
)
def test_sigma_has_the_pattern_of_its_structure(tmp_path: Path, structure: str, sigma: str, words: str) -> None:
    text = FULL.replace("[[30.0, 5], [5, 10.0]]", sigma).replace('"corgh"', f'"{structure}"')
    assert words in fault(tmp_path, text)


def test_sigma_may_be_left_out_only_where_it_is_estimated(tmp_path: Path) -> None:
    text = FULL.replace("sigma = [[30.0, 5], [5, 10.0]]\n", "").replace("sigma = [[60.0, 8.0], [8.0, 30.0]]\n", "")
    assert "holds elements of a sigma that is not given" in fault(tmp_path, text)
    text = text.replace("fix = [[false, false], [false, true]]\n", "")
    assert load(tmp_path, text).variance("g").sigma is None
    message = fault(tmp_path, text.replace('["reml", "solve"]', '"solve"').replace('reml = { method = "ai" }', ""))
    assert "'g' has no sigma" in message
    assert "'res' has no sigma" in message


def test_a_declared_variance_must_be_used(tmp_path: Path) -> None:
    assert "'extra'" in fault(tmp_path, FULL + "[variance.extra]\nsigma = 1.0\n")


@pytest.mark.parametrize("text", ["a = [1", "a = 1\na = 2", '[data]\nrecords = "x', "\x00", "a = " + "[" * 2000])
def test_what_is_not_toml_says_the_line(tmp_path: Path, text: str) -> None:
    message = fault(tmp_path, text)
    assert "m.toml, line " in message


def test_not_utf8_says_the_line(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_bytes(b"[data]\nrecords = '\xff'\n")
    with pytest.raises(ModelError, match="line 2: byte 18 is not UTF-8"):
        load_model(tmp_path / "m.toml", lambda data, base: COLUMNS)


def test_files_that_are_not_there_or_of_another_kind(tmp_path: Path) -> None:
    for name in ("no.toml", "no.xml", "no.yaml"):
        with pytest.raises(UsageError, match=name):
            load_model(tmp_path / name, lambda data, base: COLUMNS)


def test_unreadable_records_are_reported_after_mistakes_of_the_parameter_file(tmp_path: Path) -> None:
    def broken(data: DataSpec, base: Path) -> dict[str, str]:
        raise InputFileError(f"{data.records[0]} is empty")

    (tmp_path / "m.toml").write_text(FULL)
    with pytest.raises(InputFileError, match=r"a\.csv is empty"):
        load_model(tmp_path / "m.toml", broken)
    (tmp_path / "m.toml").write_text(FULL.replace("missing", "mising"))
    with pytest.raises(ModelError, match="mising"):
        load_model(tmp_path / "m.toml", broken)


def test_places_of_keys_and_of_characters_of_strings() -> None:
    text = (
        '# comment\n"quo.ted" . b = 1\n[t . "u"]\nlist = [ "one", # no\n  \'two\', { k = "v" } ]\n'
        "long = \"\"\"\nfirst\n  se\\u0041cond \\\n   joined\"\"\"\nlit = '''a'b'''\n"
        'last = 2020-01-01\n[[arr]]\nz = "\\tz"\n'
    )
    values = tomllib.loads(text)
    places = find_places(text)
    assert places.keys["quo.ted", "b"] == (2, 1)
    assert places.keys["t", "u"] == (3, 1)
    assert places.keys["t", "u", "list", "1"] == (5, 3)
    long = places.strings["t", "u", "long"]
    assert long.text == values["t"]["u"]["long"] == "first\n  seAcond joined"
    assert long.at(long.text.index("A")) == (8, 5)
    assert long.at(long.text.index("joined")) == (9, 4)
    assert places.strings["t", "u", "lit"].text == values["t"]["u"]["lit"] == "a'b"
    assert places.strings["arr", "0", "z"].text == "\tz"
    assert places.strings["t", "u", "list", "2", "k"].at(0) == (5, 17)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + FULL) == load(tmp_path, FULL)
