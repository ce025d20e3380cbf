"""Sigma from files, scaled, by class, and for each level: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.language.load import load_model
from henderson.language.spec import BlocksSpec, ModelSpec

COLUMNS = dict.fromkeys(("y", "id", "dam", "herd", "kind", "x"), "real")


def load(folder: Path, terms: str, variance: str, pedigree: str = "") -> ModelSpec:
    (folder / "m.toml").write_text(
        f'[data]\nrecords = "r.csv"\n[pedigree.ped]\nfile = "p.csv"\n{pedigree}\n'
        f'[model]\nequations = "y = 1*m + {terms}"\n[variance.v]\n{variance}\n[variance.res]\nsigma = 1\n'
    )
    return load_model(folder / "m.toml", lambda data, base: COLUMNS)


def test_scale_multiplies_every_sigma(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("# Sigma\n4.0, 1.0\n1.0, 2.0\n")
    terms = "herd*h(v(v(1))) + x(t(co(n(herd))))*s(v(v(2)))"
    text = 'sigma = "s.csv"\nscale = 0.5\nby = "kind"\nclasses = { 1 = [[2, 0], [0, 2]] }'
    v = load(tmp_path, terms, text).variance("v")
    assert v.sigma == ((2.0, 0.5), (0.5, 1.0))
    assert v.classes == (("1", ((1.0, 0.0), (0.0, 1.0))),)
    found = load(tmp_path, terms, 'sigmas = { file = "a.bin", scale = 3 }\nscale = 0.5').variance("v")
    assert (found.sigma, found.blocks) == (None, BlocksSpec("a.bin", scale=1.5))
    assert found.own_sigmas


@pytest.mark.parametrize(
    ("terms", "variance", "pedigree", "words"),
    [
        ("herd*h(v(v(1)))", 'sigmas = "a.bin"\nby = "kind"', "", "'sigmas' and 'by' exclude each other"),
        ("herd*h(v(v(1)))", 'sigma = 1\nby = "kid"', "", "has no column 'kid'.*did you mean 'kind'"),
        ("x(t(co))*h(v(v(1)))", 'sigmas = "a.bin"', "", "those of one column.*not of a term without levels"),
        ("1*h(v(v(1)))", 'sigmas = "a.bin"', "", "not of a term without levels"),
        ("`herd:kind`*h(v(v(1)))", 'sigmas = "a.bin"', "", "not of the interaction 'herd:kind'"),
        ("id(t(gg(ped)))*h(v(v(1)))", 'sigmas = "a.bin"', "phantomparents = 2", "not of a term without levels"),
        (
            "id*h(v(v(1))) + dam*d(v(v(2)))",
            'by = "kind"\nsigma = [[1.0, 0], [0, 1.0]]',
            "",
            "levels with a Sigma by class are those of one column of the records, not of dam and id",
        ),
        (
            "id*h(v(v(1)))",
            'sigmas = "a.bin"\ngamma = { A = { pedigree = "ped" } }',
            "phantomparents = 2",
            "fixed groups in the relationship exclude each other; use 'group_variance'",
        ),
        ("herd*h(v(v(1)))", 'sigmas = "a"', "", "'a'.*blkcsv, .coocsv, .bin"),
        ("herd*h(v(v(1)))", 'sigmas = { file = "a.bin", scale = 0 }', "", "'scale' must be positive, not 0"),
        ("herd*h(v(v(1)))", "sigmas = { inverse = true }", "", "'file' is missing"),
        ("herd*h(v(v(1)))", 'sigma = "m.toml"', "", "m.toml is not a matrix of numbers"),
        ("herd*h(v(v(1)))", 'sigma = 1\nfix = "m.toml"', "", "m.toml must hold T .keep constant. and F only"),
    ],
)
def test_what_is_wrong_is_said(terms: str, variance: str, pedigree: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        load(tmp_path, terms, variance, pedigree)


def test_random_groups_and_metafounders_may_have_sigmas_of_their_own(tmp_path: Path) -> None:
    variance = 'sigmas = "a.bin"\ngamma = { A = { pedigree = "ped" } }'
    for pedigree in ("phantomparents = 2\ngroup_variance = 0.5", "metamatrix = [[0.5]]"):
        assert load(tmp_path, "id*h(v(v(1)))", variance, pedigree).variance("v").own_sigmas
