"""One model written in the words of lmt (TOML and XML), of ASReml-R and of lme4 is one `ModelSpec`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.language.load import load_model
from henderson.language.printing import print_equations
from henderson.language.spec import ModelSpec, SubFactor, Term

COLUMNS = {"bden": "real", "veloc": "real", "Block": "integer", "Family": "text", "site": "text", "x": "real",
           "Plot": "text", "trait": "text", "Subject": "integer"}  # fmt: skip
LEVELS = {"site": ["A", "B"], "Block": ["1", "2", "10"], "trait": ["bden", "veloc"]}
EQUATIONS = """
bden = 1*`(Intercept)_bden` + Block*Block_bden(v(Block(1))) + Family*Family_bden(v(Family(1)))
veloc = 1*`(Intercept)_veloc` + Block*Block_veloc(v(Block(2))) + Family*Family_veloc(v(Family(2)))
"""


def load(folder: Path, model: str, tables: str = "") -> ModelSpec:
    (folder / "m.toml").write_text(f"[data]\nrecords = 'r.csv'\n[model]\n{model}\n{tables}\n[jobs]\nrun = 'reml'\n")
    return load_model(folder / "m.toml", lambda data, base: COLUMNS, lambda data, base, column: LEVELS[column])


def formulas(folder: Path, fixed: str, random: str = "", residual: str = "", tables: str = "") -> ModelSpec:
    given = {"fixed": fixed, "random": random, "residual": residual}
    return load(folder, "\n".join(f"{k} = '''{v}'''" for k, v in given.items() if v), tables)


def structures(block: str, family: str, residual: str) -> str:
    pairs = {"Block": block, "Family": family, "res": residual}
    return "\n".join(f"[variance.{name}]\nstructure = '{s}'" for name, s in pairs.items())


@pytest.mark.parametrize(
    ("names", "random", "residual"),
    [
        (("diag", "diag", "us"), "~ at(trait):Block + at(trait):Family", ""),
        (("diag", "diag", "us"), "~ at(trait, c('bden', 'veloc')):Block + at(trait, 1:2):Family", "~ units:us(trait)"),
        (("diag", "diag", "diag"), "~ diag(trait):Block + idh(trait):Family", "~ units:diag(trait)"),
        (("us", "us", "us"), "~ us(trait):Block + us(trait):Family", "~ id(units):us(trait)"),
        (("us", "corgh", "us"), "~ us(trait):Block + corgh(trait):Family", "~ units:us(trait)"),
        (("id", "cs", "corgh"), "~ trait:Block + cs(trait):Family", "~ units:corgh(trait)"),
        (("id", "cs", "id"), "~ id(trait):Block + coruv(trait):Family", "~ units:trait"),
        (("us", "us", "us"), "~ (0 + trait | Block) + (trait - 1 | Family)", ""),
        (("diag", "us", "us"), "~ (0 + trait || Block) + (0 + trait | Family)", ""),
    ],
)
def test_a_bivariate_trial(tmp_path: Path, names: tuple[str, str, str], random: str, residual: str) -> None:
    by_equations = load(tmp_path, f"equations = '''{EQUATIONS}'''", structures(*names))
    assert formulas(tmp_path, "cbind(bden, veloc) ~ trait", random, residual) == by_equations
    assert formulas(tmp_path, "cbind(bden, veloc) ~ 1", random, residual) == by_equations


def test_a_bivariate_trial_as_one_lme4_formula(tmp_path: Path) -> None:
    by_equations = load(tmp_path, f"equations = '''{EQUATIONS}'''", structures("us", "us", "us"))
    whole = formulas(tmp_path, "cbind(bden, veloc) ~ 0 + trait + (0 + trait | Block) + (0 + trait | Family)")
    assert whole == by_equations


def test_a_bivariate_trial_in_lmts_xml(tmp_path: Path) -> None:
    sigma = '<sigma>\n<matrix attributes="array">\n2,1\n1,2\n</matrix>\n</sigma>'
    variances = "\n".join(f"<{name}>\n{sigma}\n</{name}>" for name in ("res", "Block", "Family"))
    (tmp_path / "m.xml").write_text(
        f'<root>\n<data>\ndatafile: r.csv\n</data>\n<models>\n<eqn attributes="strings">{EQUATIONS}</eqn>\n</models>\n'
        f"<vars>\nvars: Block,Family\n{variances}\n</vars>\n<jobs>\njobs: airemlc\n</jobs>\n</root>\n"
    )
    by_xml = load_model(tmp_path / "m.xml", lambda data, base: COLUMNS)
    start = "\n".join(f"[variance.{v}]\nsigma = [[2.0, 1.0], [1.0, 2.0]]" for v in ("Block", "Family", "res"))
    by_formula = formulas(
        tmp_path, "cbind(bden, veloc) ~ trait", "~ us(trait):Block + us(trait):Family", "~ units:us(trait)", start
    )
    assert replace(by_xml, jobs=(), data=by_formula.data) == replace(by_formula, jobs=())


def test_printed_equations_of_a_formula_parse_to_it(tmp_path: Path) -> None:
    spec = formulas(tmp_path, "bden ~ site*x + I(x^2)", "~ Block + site:Block + (x | Subject)")
    text = print_equations(spec)
    assert "`site:Block`*`site:Block`(v(`site:Block`(1)))" in text
    tables = "[variance.Block]\n[variance.'site:Block']\n[variance.Subject]\n"
    again = load(tmp_path, f"equations = '''\n{text}\n'''\npolynomials = ['x^2']", tables)
    assert again == spec


def test_a_covariate_in_backticks_is_one_column(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'site:x' is a product, and no class"):
        load(tmp_path, "equations = 'bden = `site:x`(t(co))*b'")


def test_at_a_class_is_one_variance_for_each_level(tmp_path: Path) -> None:
    spec = formulas(tmp_path, "bden ~ site", "~ at(site):Block + at(site, 2):Family")
    assert spec.variance("Block").structure == "diag"
    places = {t.subfactor: t.where for t in spec.equations[0].terms if t.where}
    assert places == {"Block_A": (("site", "A"),), "Block_B": (("site", "B"),), "Family": (("site", "B"),)}


def test_at_a_class_of_a_matrix_over_traits(tmp_path: Path) -> None:
    spec = formulas(tmp_path, "cbind(bden, veloc) ~ trait", "~ at(site):us(trait):Family")
    assert [(v.name, v.structure) for v in spec.variances] == [("Family", "us"), ("Family_2", "us"), ("res", "us")]
    assert spec.subfactor("Family_2_B_veloc") == SubFactor("Family_2_B_veloc", "Family_2", (2,))
    assert Term("Family", "Family_A_veloc", where=(("site", "A"),)) in spec.equations[1].terms


@pytest.mark.parametrize(
    "residual",
    ["~ dsum(~ units:us(trait) | site)", "~ dsum(~ us(trait):units | site)", "~ at(site):units:us(trait)",
     "~ idh(site):us(trait):units"],
)  # fmt: skip
def test_residual_by_class(tmp_path: Path, residual: str) -> None:
    spec = formulas(tmp_path, "cbind(bden, veloc) ~ trait", "~ us(trait):Block", residual)
    assert (spec.residual.by, spec.residual.structure) == ("site", "us")


def test_lme4_on_several_traits(tmp_path: Path) -> None:
    spec = formulas(tmp_path, "cbind(bden, veloc) ~ trait + (1 | Block) + (0 + trait + trait:x | Subject)")
    shared = [[t.subfactor for t in e.terms if t.variable == "Block"] for e in spec.equations]
    assert shared == [["Block"], ["Block"]]
    mine = sorted((s.positions, s.name) for s in spec.subfactors if s.variance == "Subject")
    assert mine == [
        ((1,), "Subject_bden"), ((2,), "Subject_veloc"), ((3,), "Subject_x_bden"), ((4,), "Subject_x_veloc"),
    ]  # fmt: skip


def test_nested_and_crossed_groups(tmp_path: Path) -> None:
    nested = formulas(tmp_path, "bden ~ x + (1 | Block/Plot) + (1 | Family)")
    assert nested == formulas(tmp_path, "bden ~ x", "~ Block/Plot + Family")
    assert nested == formulas(tmp_path, "bden ~ x", "~ Block + Block:Plot + idv(Family)")
    assert [v.name for v in nested.variances] == ["Block", "Block:Plot", "Family", "res"]


def test_nlme_writes_no_parentheses(tmp_path: Path) -> None:
    assert formulas(tmp_path, "bden ~ x", "~ x | Subject") == formulas(tmp_path, "bden ~ x + (x | Subject)")
    assert formulas(tmp_path, "bden ~ x", "~ 1 | Block/Plot") == formulas(tmp_path, "bden ~ x + (1 | Block/Plot)")


def test_with_one_response_trait_may_be_a_column(tmp_path: Path) -> None:
    spec = formulas(tmp_path, "x ~ 0 + trait", "~ diag(trait):Family", "~ dsum(~ units | trait)")
    assert spec.equations[0].terms == (
        Term("trait", "trait"),
        Term("Family", "Family_bden", where=(("trait", "bden"),)),
        Term("Family", "Family_veloc", where=(("trait", "veloc"),)),
    )
    assert spec.residual.by == "trait"
    with pytest.raises(ModelError, match=r"write cbind\(y1, y2\)"):
        formulas(tmp_path, "x ~ trait", "~ Family", "~ units:us(trait)")


def test_maximum_likelihood_is_an_option_of_the_job(tmp_path: Path) -> None:
    spec = load(tmp_path, "fixed = 'bden ~ x + (1 | Block)'\n[jobs.reml]\nREML = false\nstart = 'simpler'")
    assert spec.jobs[0].options == (("REML", False), ("start", "simpler"))
