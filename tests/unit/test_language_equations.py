"""lmt's equations: grammar, places of mistakes, and the rules that tie terms, sub-factors and variances."""

from __future__ import annotations

from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.language.equations import parse_equation
from henderson.language.load import load_model
from henderson.language.source import Source
from henderson.language.spec import ModelSpec, SubFactor, Term
from henderson.language.syntax import Misfit

COLUMNS = dict.fromkeys(
    ("y", "z", "sex", "age", "id", "dam", "mate", "t", "co", "p", "v", "größe", "herd", "w"), "real"
)
SIGMA = {1: "[[2.0]]", 2: "[[2.0, 0.1], [0.1, 1.0]]", 3: "[[2.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]"}


def model(folder: Path, equations: str, polynomials: str = "[]", traits: int = 1, **variances: str) -> ModelSpec:
    """The model of some equations; each variance is the text of its table."""
    tables = "\n".join(f"[variance.{name}]\n{table}" for name, table in variances.items())
    (folder / "m.toml").write_text(
        '[data]\nrecords = "r.csv"\n[pedigree.ped]\nfile = "p.csv"\nphantomparents = 2\n'
        f'[model]\nequations = """\n{equations}\n"""\n'
        f"polynomials = {polynomials}\n{tables}\n[variance.res]\nsigma = {SIGMA[traits]}\n",
        encoding="utf-8",
    )
    return load_model(folder / "m.toml", lambda data, base: COLUMNS)


def fault(folder: Path, *args: str, **kwargs: str | int) -> str:
    """The text of the error."""
    with pytest.raises(ModelError) as e:
        model(folder, *args, **kwargs)
    return str(e.value)


def terms(folder: Path, *args: str, **kwargs: str | int) -> tuple[Term, ...]:
    """The terms of the first equation."""
    return model(folder, *args, **kwargs).equations[0].terms


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("y = sex(t(cl))*b", "y=sex*b"),
        ("y = age(t(co(t(r))))*c", "y=age(t(co))*c"),
        ("y = age(t(co(c(y))))*c", "y=age(t(co))*c"),
        ("y = age(t(co(n(herd);p(1,2);t(r))))*c", "y=age(t(co(p(1,2);n(herd))))*c"),
        ("# a mean\n\n  y\t=  1 * m # and its name\n", "y=1*m"),
        ("y = id * u ( v ( g ( 1 ) ) )", "y=id*u(v(g(1)))"),
    ],
)
def test_defaults_order_and_blanks_do_not_matter(tmp_path: Path, long: str, short: str) -> None:
    variances = {"g": "sigma = [[1.0]]"} if "v(" in short else {}
    both = [model(tmp_path, text, '["x", "x^2"]', **variances) for text in (long, short)]
    assert both[0] == both[1]


def test_no_word_is_reserved(tmp_path: Path) -> None:
    spec = model(tmp_path, "y = t(t(co(p(1))))*co + co(t(cl))*t + p*v + v(t(co(n(t))))*n + größe*größe", '["x"]')
    assert [(t.variable, t.subfactor, t.nested_in) for t in spec.equations[0].terms] == [
        ("t", "co", None), ("co", "t", None), ("p", "v", None), ("v", "n", "t"), ("größe", "größe", None),
    ]  # fmt: skip


def test_fixed_covariates_are_centred_unless_switched_off_random_ones_are_not(tmp_path: Path) -> None:
    found = terms(tmp_path, "y = age(t(co))*a + age(t(co(c(n))))*b + age(t(co(n(id))))*u(v(g(1)))", g="sigma = [[1.0]]")
    assert [t.centred for t in found] == [True, False, False]
    assert "not centred" in fault(tmp_path, "y = age(t(co(c(y);n(id))))*u(v(g(1)))", g="sigma = [[1.0]]")


def test_every_part_of_a_variable_specifier_arrives(tmp_path: Path) -> None:
    (first, second) = terms(
        tmp_path,
        "y = age(t(co(t(i);p(2,1);n(herd);c(n))))*c + id(t(gg(ped)))*q",
        '["x^2", "x^0"]',
    )
    assert first == Term("age", "c", "covariate", "herd", (2, 1), integer=True, centred=False)
    assert second == Term("id", "q", "group", pedigree="ped")


def test_shared_variables_shared_subfactors_and_overlay(tmp_path: Path) -> None:
    spec = model(
        tmp_path,
        "y = sex*b + id*u(v(g(1))) + mate*u(v(g(1)))\nz = sex*b + id*w(v(g(2)))",
        traits=2,
        g=f"sigma = {SIGMA[2]}\ngamma = {{ A = {{ pedigree = 'ped' }} }}",
    )
    assert spec.subfactors == (SubFactor("b"), SubFactor("u", "g", (1,)), SubFactor("w", "g", (2,)))
    assert [t.subfactor for t in spec.equations[0].terms] == ["b", "u", "u"]


def test_random_regression_names_one_position_per_polynomial(tmp_path: Path) -> None:
    spec = model(
        tmp_path, "y = 1*m + age(t(co(p(3,1);n(id))))*u(v(g(2,1)))", '["x", "x^2", "l0"]', g=f"sigma={SIGMA[2]}"
    )
    assert spec.subfactor("u").positions == (2, 1)
    assert spec.polynomials == ("x", "x^2", "l0")


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ("milk = sex*b + + id*u", 16, ["'+'", "1 or a name"]),
        ("milk = sex*b + id*u(v(g(1))", 28, ["the end", "')'".strip("'")]),
        ("milk = sex", 11, ["the end", "*"]),
        ("milk sex*b", 6, ["'sex'", "="]),
        ("milk = sex*b*c", 13, ["'*'"]),
        ("milk = age(t(cov))*c", 14, ["cl, co or gg(pedigree)"]),
        ("milk = age(t(co(p(0))))*c", 19, ["'0'"]),
        ("milk = age(t(co(p(1);p(2))))*c", 22, ["twice"]),
        ("milk = a*b $", 12, ["'$'"]),
        ("milk = 2*b", 8, ["'2'"]),
        ("milk = " + "(" * 300, 108, ["nested"]),
    ],
)
def test_a_malformed_equation_says_where_and_what_was_expected(line: str, column: int, words: list[str]) -> None:
    with pytest.raises(Misfit) as e:
        parse_equation(Source.plain(line))
    assert e.value.index + 1 == column
    for word in words:
        assert word in e.value.message


def test_line_and_column_are_those_of_the_parameter_file(tmp_path: Path) -> None:
    text = fault(tmp_path, "\n# a comment\n   y = sex*b +\n z = age*")
    assert "line 10, column 15" in text
    assert "line 11, column 10" in text


@pytest.mark.parametrize(
    ("equations", "words"),
    [
        ("y = id*u(v(g(1)))\nz = id*u(v(g(2)))", ["'u'", "two specifiers"]),
        ("y = id*u(v(g(1))) + sex*u + dam*m(v(g(2)))", ["'u'", "two specifiers", "fixed"]),
        ("y = id*u(v(g(1)))\ny = id*w(v(g(2)))", ["'y'", "two equations"]),
        ("y = id*u(v(h(1)))", ["'h'", "unknown variance"]),
        ("y = id*u(v(res(1)))", ["residual"]),
        ("y = id*u(v(g(1))) + dam*m(v(g(1)))", ["position 1", "'u'", "'m'", "twice"]),
        ("y = id*u(v(g(1)))", ["2 by 2", "1 position"]),
        ("y = id*u(v(g(1))) + dam*m(v(g(3)))", ["position 3", "lies outside", "uses position 2"]),
        ("y = id*u(v(g(1,2)))", ["'u'", "2 positions"]),
        ("y = age(t(co(p(1,2,3);n(id))))*u(v(g(1,2)))", ["'u'", "3 polynomials", "2 positions"]),
        ("y = age(t(co(p(1,4))))*b + id*u(v(g(1)))", ["polynomial 4", "3 polynomials"]),
        ("y = age(t(co(p(1,1))))*b + id*u(v(g(1)))", ["polynomial twice"]),
        ("y = age(t(co(p(3))))*b + id*u(v(g(1)))", ["'x^0'", "constant"]),
        ("y = age(t(co(p(1))))*b\nz = age(t(co(p(2))))*b", ["'b'", "polynomials"]),
        ("y = age(t(co))*b\nz = sex*b", ["'b'", "class", "regression"]),
        ("y = age(t(co))*b\nz = age(t(co(n(herd))))*b", ["'b'", "nested"]),
        ("y = id(t(gg(pde)))*q", ["'pde'", "'ped'"]),
        ("y = 1*u(v(g(1))) + id*w(v(g(2)))", ["'u'", "no individuals"]),
        ("y = sexx*b", ["'sexx'", "r.csv", "'sex'"]),
        ("y = age(t(co(n(hed))))*b", ["'hed'", "'herd'"]),
        ("yy = sex*b", ["'yy'", "r.csv"]),
    ],
)
def test_rules_of_the_model(tmp_path: Path, equations: str, words: list[str]) -> None:
    text = fault(
        tmp_path,
        equations,
        '["x", "x^2", "x^0"]',
        traits=1 + ("\n" in equations),
        g=f"sigma = {SIGMA[2]}\ngamma = {{ A = {{ pedigree = 'ped' }} }}",
    )
    for word in words:
        assert word in text


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = fault(
        tmp_path, "y = sexx*b + id*u(v(gg(1)))\nz = age*c d\nz2 = 1*m", '["y^2"]', traits=2, g=f"sigma={SIGMA[1]}"
    )
    for word in ("'sexx'", "'gg'", "'d'", "'z2'", "y^2"):
        assert word in text
