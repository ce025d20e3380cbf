"""Formulas: R's algebra of terms, ASReml's and lme4's words, and the equations they become."""

from __future__ import annotations

from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.language.formula_algebra import expand
from henderson.language.formula_grammar import parse_formula, print_node
from henderson.language.load import load_model
from henderson.language.spec import GammaSpec, ModelSpec, SubFactor, Term
from henderson.language.support import unsupported

COLUMNS = {"y": "real", "z": "real", "x": "real", "w": "integer", "sex": "text", "herd": "text", "year": "integer",
           "id": "integer", "dam": "integer", "my var": "real", "t.1": "text"}  # fmt: skip
LEVELS = {"sex": ["F", "M"], "herd": ["a", "b", "c"], "year": ["1", "2"]}
TABLES = '[pedigree.ped]\nfile = "p.csv"\n[matrix.K]\nfile = "K.csv"\n'


def load(
    folder: Path, fixed: str, random: str = "", residual: str = "", tables: str = "", levels: bool = True
) -> ModelSpec:
    formulas = {"fixed": fixed, "random": random, "residual": residual}
    lines = [f"{name} = '''{formula}'''" for name, formula in formulas.items() if formula]
    text = "\n".join(
        ['[data]\nrecords = "r.csv"\nclasses = ["year"]', "[model]", *lines, TABLES, tables, "[jobs]\nrun='reml'"]
    )
    (folder / "m.toml").write_text(text)
    read_levels = (lambda data, base, column: LEVELS[column]) if levels else None
    return load_model(folder / "m.toml", lambda data, base: COLUMNS, read_levels)


def fault(folder: Path, *args: str, **kwargs: str) -> str:
    with pytest.raises(ModelError) as e:
        load(folder, *args, **kwargs)
    return str(e.value)


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("~ a + b", "1 a b"),
        ("~ a*b - 1", "a b a:b"),
        ("~ 0 + a", "a"),
        ("~ -1 + a", "a"),
        ("~ a - 0", "1 a"),
        ("~ (a + b + c)^2", "1 a b c a:b a:c b:c"),
        ("~ (a + b)^2 - a:b", "1 a b"),
        ("~ a/b", "1 a a:b"),
        ("~ (a + b)/c", "1 a b a:b:c"),
        ("~ a %in% b", "1 a:b"),
        ("~ a:b + b:a", "1 a:b"),
        ("~ a*b*c", "1 a b a:b c a:c b:c a:b:c"),
        ("~ a + (b - a)", "1 a b"),
        ("~ a:(b + c)", "1 a:b a:c"),
        ("~ a:a", "1 a"),
        ("~ f(x, n = 2) + I(x^2):a", "1 f(x,n=2) I(x^2):a"),
    ],
)
def test_algebra_of_terms(formula: str, terms: str) -> None:
    found = expand(parse_formula(formula).arguments[0], intercept=True)
    by_order = sorted(found, key=lambda t: len(t.factors))
    assert [":".join(map(print_node, t.factors)) or "1" for t in by_order] == sorted(terms.split(), key=_order)


def _order(term: str) -> int:
    return 0 if term == "1" else 1 + term.count(":")


def test_classes_covariates_and_nested_covariates(tmp_path: Path) -> None:
    spec = load(tmp_path, "y ~ sex + x + year + factor(w) + sex:x + herd:year:w + I(x^2) + log(x):sex")
    assert spec.equations[0].terms == (
        Term("1", "(Intercept)"),
        Term("sex", "sex"),
        Term("x", "x", "covariate"),
        Term("year", "year"),
        Term("w", "factor(w)"),
        Term("x", "I(x^2)", "covariate", polynomials=(1,)),
        Term("x", "sex:x", "covariate", nested_in="sex"),
        Term("x", "log(x):sex", "covariate", nested_in="sex", polynomials=(2,)),
        Term("w", "herd:year:w", "covariate", nested_in="herd:year"),
    )
    assert spec.polynomials == ("x^2", "log(x)")


def test_backticks_and_dots(tmp_path: Path) -> None:
    spec = load(tmp_path, "y ~ `my var` + t.1 - 1")
    assert [(t.variable, t.kind) for t in spec.equations[0].terms] == [("my var", "covariate"), ("t.1", "class")]


def test_several_traits(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "cbind(y, z) ~ trait + trait:sex + at(trait, 'z'):x + at(trait):herd + year",
        "~ us(trait):vm(id, ped) + diag(trait):ide(id) + trait:herd + year + at(trait, 1):dam",
        "~ units:us(trait)",
    )
    first, second = ([(t.variable, t.subfactor) for t in e.terms] for e in spec.equations)
    assert first == [
        ("1", "(Intercept)_y"), ("year", "year"), ("sex", "sex_y"), ("herd", "herd_y"),
        ("id", "id_y"), ("id", "id_2_y"), ("herd", "herd_y_2"), ("year", "year_2"), ("dam", "dam_y"),
    ]  # fmt: skip
    assert second == [
        ("1", "(Intercept)_z"), ("year", "year"), ("sex", "sex_z"), ("x", "x_z"), ("herd", "herd_z"),
        ("id", "id_z"), ("id", "id_2_z"), ("herd", "herd_z_2"), ("year", "year_2"),
    ]  # fmt: skip
    kinds = {v.name: (v.structure, v.gamma.kind) for v in spec.variances}
    assert kinds == {
        "dam": ("us", "identity"), "herd": ("id", "identity"), "id": ("us", "pedigree"), "id_2": ("diag", "identity"),
        "res": ("us", "identity"), "year": ("us", "identity"),
    }  # fmt: skip
    assert spec.subfactor("id_2_z") == SubFactor("id_2_z", "id_2", (2,))
    assert spec.subfactor("year_2") == SubFactor("year_2", "year", (1,))


def test_formula_and_equations_give_the_same_model(tmp_path: Path) -> None:
    tables = (
        "[variance.id]\nsigma = [[2.0, 1.0], [1.0, 2.0]]\n{gamma}[variance.res]\nsigma = [[2.0, 0.0], [0.0, 2.0]]\n"
    )
    by_formula = load(tmp_path, "cbind(y, z) ~ -1 + trait:sex", "~ us(trait):ped(id)", tables=tables.format(gamma=""))
    gamma = "gamma = { A = { pedigree = 'ped' } }\n"
    equations = "y = sex*sex_y + id*id_y(v(id(1)))\nz = sex*sex_z + id*id_z(v(id(2)))"
    (tmp_path / "e.toml").write_text(
        f"[data]\nrecords = 'r.csv'\nclasses = ['year']\n[model]\nequations = '''{equations}'''\n{TABLES}"
        f"{tables.format(gamma=gamma)}[jobs]\nrun = 'reml'\n"
    )
    assert load_model(tmp_path / "e.toml", lambda data, base: COLUMNS) == by_formula


def test_lme4_bars(tmp_path: Path) -> None:
    spec = load(tmp_path, "y ~ x + (x | id) + (1 | herd/year) + (0 + x | dam) + (I(x^2) || dam)")
    assert [(v.name, len([s for s in spec.subfactors if s.variance == v.name])) for v in spec.variances[:-1]] == [
        ("dam", 1), ("dam_2", 1), ("dam_3", 1), ("herd", 1), ("herd:year", 1), ("id", 2),
    ]  # fmt: skip
    assert spec.subfactor("id_(Intercept)").positions == (1,)
    assert spec.subfactor("id_x").positions == (2,)
    slope = next(t for t in spec.equations[0].terms if t.subfactor == "id_x")
    assert slope == Term("x", "id_x", "covariate", nested_in="id")
    assert unsupported(spec) == []


def test_a_structure_over_a_class_has_a_position_per_level(tmp_path: Path) -> None:
    spec = load(tmp_path, "y ~ sex", "~ diag(sex):vm(id, K) + at(herd, 'b'):dam", "~ dsum(~ units | sex)")
    terms = [t for t in spec.equations[0].terms if t.subfactor.startswith(("id", "dam"))]
    assert terms == [
        Term("id", "id_F", where=(("sex", "F"),)),
        Term("id", "id_M", where=(("sex", "M"),)),
        Term("dam", "dam", where=(("herd", "b"),)),
    ]
    assert spec.variance("id").structure == "diag"
    assert spec.variance("id").gamma == GammaSpec("matrix", "K")
    assert spec.residual.by == "sex"
    message = fault(tmp_path, "y ~ sex", "~ diag(sex):id", levels=False)
    assert "not supported yet" in message


def test_interaction_of_a_class_with_related_levels(tmp_path: Path) -> None:
    spec = load(tmp_path, "y ~ sex", "~ vm(id, ped) + sex:vm(id, ped)")
    assert [(v.name, v.structure) for v in spec.variances] == [("id", "us"), ("sex:id", "id"), ("res", "us")]


def test_start_values(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "cbind(y, z) ~ trait",
        "~ us(trait, init = c(2, 0.5, 3)):id + corgh(trait, init = c(0.5, 4, 9)):dam"
        " + diag(trait, init=c(1,2)):year + cs(trait, init=c(.5, 2)):sex",
        "~ id(units):us(trait, init=c(1, 0, 1))",
    )
    assert spec.variance("id").sigma == ((2.0, 0.5), (0.5, 3.0))
    assert spec.variance("dam").sigma == ((4.0, 3.0), (3.0, 9.0))
    assert spec.variance("year").sigma == ((1.0, 0.0), (0.0, 2.0))
    assert spec.variance("sex").sigma == ((2.0, 1.0), (1.0, 2.0))
    assert spec.residual.sigma == ((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize(
    ("fixed", "random", "residual", "words"),
    [
        ("y ~ sex +", "", "", ["'fixed'", "column 21", "the end"]),
        ("y ~ sex", "~ vm(id, ped", "", ["'random'", "the end"]),
        ("~ sex", "", "", ["'fixed'", "response"]),
        ("y ~ sex", "y ~ id", "", ["'random'", "left of ~"]),
        ("log(y) ~ sex", "", "", ["'fixed'", "log(y)"]),
        ("cbind(y, y) ~ trait", "", "", ["twice"]),
        ("y ~ sexx", "", "", ["'fixed'", "'sexx'", "'sex'", "r.csv"]),
        ("yy ~ sex", "", "", ["'yy'"]),
        ("y ~ sex", "~ idd", "", ["'random'", "'idd'"]),
        ("y ~ x:w", "", "", ["product of two covariates"]),
        ("y ~ I(x*w)", "", "", ["several columns"]),
        ("y ~ poly(x, 2)", "", "", ["poly()", "write I(x^2)"]),
        ("y ~ I(foo(x))", "", "", ["'foo'"]),
        ("y ~ 3", "", "", ["'3'"]),
        ("y ~ .", "", "", ["'.'"]),
        ("y ~ x^2.5", "", "", ["power"]),
        ("y ~ 1 | id", "", "", ["parentheses"]),
        ("y ~ sex:(1 | id)", "", "", ["added only"]),
        ("y ~ units", "", "", ["'units'"]),
        ("cbind(y, z) ~ at(trait, 'zz')", "", "", ["'zz'", "'z'"]),
        ("y ~ sex", "~ spl(x)", "", ["spline terms are not supported"]),
        ("y ~ sex", "~ at(sex, 'f'):id", "", ["unknown level 'f'", "did you mean 'F'", "line 6, column 15"]),
        ("y ~ at(sex, 7):x", "", "", ["unknown level '7'"]),
        ("y ~ sex", "~ at(sexx):id", "", ["'sexx'", "'sex'"]),
        ("y ~ sex", "~ at():id", "", ["at() needs a column"]),
        ("y ~ sex + (sex:x | id)", "", "", ["left of |"]),
        ("y ~ sex + (0 | id)", "", "", ["no coefficient"]),
        ("y ~ sex", "", "~ units:fa(trait)", ["'residual'", "known: units"]),
        ("cbind(y, z) ~ trait", "~ corh(trait, init = c(.5, 1)):id", "", ["2 numbers", "corh of 2 positions has 3"]),
        ("y ~ sex", "~ vm(id, pedd)", "", ["'pedd'", "'ped'", "column 22"]),
        ("y ~ sex", "~ vm(id)", "", ["pedigree or matrix"]),
        ("y ~ sex", "~ fa(trait, 1):id", "", ["fa()", "write us(x)"]),
        ("y ~ sex", "~ us(trait)", "", ["no column"]),
        ("y ~ sex", "~ us(trait):diag(sex):id", "", ["more than one"]),
        ("y ~ sex", "~ us(trait, ini = 3):id", "", ["'ini'", "'init'"]),
        ("cbind(y, z) ~ trait", "~ us(trait, init = c(1, 2)):id", "", ["2 numbers", "3"]),
        ("cbind(y, z) ~ trait", "~ us(trait, init = c(1, 2, 1)):id", "", ["positive definite"]),
        ("y ~ sex", "", "~ us(trait)", ["'residual'", "units"]),
        ("y ~ sex", "", "~ units + sex", ["'residual'", "one term"]),
        ("y ~ sex", "", "~ units:sex", ["'residual'", "'sex'"]),
        ("y ~ sex", "", "~ dsum(units)", ["dsum"]),
        ("y ~ 0", "", "", ["no term"]),
    ],
)
def test_wrong_formulas(tmp_path: Path, fixed: str, random: str, residual: str, words: list[str]) -> None:
    text = fault(tmp_path, fixed, random, residual)
    for word in words:
        assert word in text, text


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[variance.idd]\nsigma = 1.0", ["'idd'", "used: id, res"]),
        ("[variance.id]\nsigma = 1.0\nstructure = 'diag'", ["'id'", "'diag'", "'us'"]),
        ("[variance.id]\ngamma = { matrix = 'K' }", ["gamma of variance 'id'"]),
        ("[variance.id]\nsigma = [[1.0, 0.0], [0.0, 1.0]]", ["'id'", "2 by 2", "1 position"]),
    ],
)
def test_tables_must_agree_with_formulas(tmp_path: Path, table: str, words: list[str]) -> None:
    text = fault(tmp_path, "y ~ sex", "~ vm(id, ped)", tables=table)
    for word in words:
        assert word in text, text
