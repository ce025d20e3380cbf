"""Random formulas of ASReml-R's and lme4's kind, written as equations in TOML, read as the same model."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from henderson.language.load import load_model
from henderson.language.printing import print_equations
from henderson.language.spec import ModelSpec
from henderson.language.write_toml import write_toml

QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
CLASSES = {"sex": ["F", "M"], "site": ["1", "2", "10"], "rep": ["a b", "c"]}
COLUMNS = {
    **dict.fromkeys(("y1", "y2", "y3", "x", "age"), "real"),
    **{"sex": "text", "site": "integer", "rep": "text", "id": "integer", "dam": "integer"},
}
FIXED = (
    "sex", "x", "age", "rep", "factor(site)", "I(x^2)", "sqrt(age)", "sex:x", "sex*rep", "sex/x", "log(x):sex",
    "rep:factor(site)", "trait", "trait:sex", "trait:x", "at(trait, 1):age",
)  # fmt: skip
RANDOM = (
    "site", "sex:rep", "vm(id, ped)", "ide(id)", "vm(dam, K)", "rep/site", "at(sex):rep", "diag(sex):site",
    "us(sex):vm(id, ped)", "corgh(site):rep", "corh(site):rep", "cs(sex):site", "id(sex):vm(id, ped)", "idv(rep)",
    "at(site, '2'):dam", "us(site):rep", "idh(rep):site",
)  # fmt: skip
OF_TRAITS = (
    "us(trait):vm(id, ped)", "diag(trait):rep", "corgh(trait):site", "trait:rep", "at(trait):dam", "cs(trait):ide(id)",
    "at(sex):us(trait):site",
)  # fmt: skip
BARS = (
    "(1 | site)", "(x | site)", "(0 + x | rep)", "(1 | rep/site)", "(1 | sex:rep)", "(x || dam)", "(0 + sex | site)",
    "(sex | dam)", "(1 + age | dam)", "(I(x^2) | rep)",
)  # fmt: skip
RESIDUALS = ("~ units", "~ dsum(~ units | sex)", "~ at(rep):units")
RESIDUALS_OF_TRAITS = (
    "~ units:us(trait)", "~ units:diag(trait)", "~ units:corgh(trait)", "~ id(units):us(trait)",
    "~ dsum(~ units:us(trait) | sex)", "~ units:cs(trait)",
)  # fmt: skip


@st.composite
def formulas(draw: st.DrawFn) -> dict[str, str]:
    """Valid formulas for one to three traits."""
    traits = ["y1", "y2", "y3"][: draw(st.integers(1, 3))]
    known = [t for t in FIXED if len(traits) > 1 or "trait" not in t]
    fixed = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
    intercept = draw(st.sampled_from(["", "1 + "]))
    response = traits[0] if len(traits) == 1 else f"cbind({', '.join(traits)})"
    bars = draw(st.lists(st.sampled_from(BARS), max_size=2, unique=True)) if len(traits) == 1 else []
    result = {"fixed": f"{response} ~ {intercept}{' + '.join([*fixed, *bars])}"}
    if not bars:
        pool = RANDOM + OF_TRAITS if len(traits) > 1 else RANDOM
        if random := draw(st.lists(st.sampled_from(pool), max_size=3, unique=True)):
            result["random"] = f"~ {' + '.join(random)}"
        residuals = RESIDUALS_OF_TRAITS if len(traits) > 1 else RESIDUALS
        if draw(st.booleans()):
            result["residual"] = draw(st.sampled_from(residuals))
    return result


def load(path: Path) -> ModelSpec:
    return load_model(path, lambda data, base: COLUMNS, lambda data, base, column: CLASSES[column])


@QUIET
@given(given_formulas=formulas(), job=st.sampled_from(["reml", "reml.REML = false"]))
def test_formulas_read_the_same_as_equations(tmp_path: Path, given_formulas: dict[str, str], job: str) -> None:
    lines = [f"{k} = {json.dumps(v)}" for k, v in given_formulas.items()]
    options = "" if job == "reml" else job
    head = '[data]\nrecords = "r.csv"\n[pedigree.ped]\nfile = "p.csv"\n[matrix.K]\nfile = "K.csv"\n[model]\n'
    (tmp_path / "f.toml").write_text(head + "\n".join(lines) + f"\n[jobs]\nrun = 'reml'\n{options}\n")
    spec = load(tmp_path / "f.toml")
    (tmp_path / "e.toml").write_text(write_toml(spec), encoding="utf-8")
    again = load(tmp_path / "e.toml")
    assert again == spec
    assert print_equations(again) == print_equations(spec)
