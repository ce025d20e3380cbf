"""lmt's XML parameter files: every element, the same model as the TOML twin, and mistakes with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.language.load import load_model
from henderson.language.spec import BlocksSpec, GammaSpec, JobSpec, MatrixSpec, ModelSpec
from henderson.language.support import unsupported

COLUMNS = dict.fromkeys(("milk", "fat", "sex", "id", "age", "dam", "herd"), "real")
XML = """
<root>
  <data>
    datafile: d.csv
    missingthreshold: -9000
  </data>
  <pedigrees>
    pedigrees: ped,other
    <ped>
      file: ped.csv
      switch: selfing
    </ped>
    <other>
      file: other.csv
    </other>
  </pedigrees>
  <models>
    <eqn attributes="strings">
      # two traits
      milk=sex*b1+age(t(co(t(r);p(1,2))))*c+id*u1(v(g(1)))+herd*h(v(herd(1)))

      fat=sex*b2+id*u2(v(g(2)))
    </eqn>
    <poly attribute="strings">
      x
      x ^ 2
    </poly>
  </models>
  <vars>
    <res>
      <sigma>
        scale: 2
        <matrix attributes="array">
          2.0,0.5
          0.5,1.5
        </matrix>
      </sigma>
    </res>
    vars: g, herd
    <g>
      <gamma>
        <A>
          pedigree: ped
        </A>
      </gamma>
      <sigma>
        file: sigma.csv
      </sigma>
    </g>
    <herd>
      <sigma>
        <matrix attribute="matrix">
          5
        </matrix>
      </sigma>
      <gamma>
        <E>
          file: K.csv
        </E>
      </gamma>
    </herd>
  </vars>
  <solvers>
    solvers: mine
    <mine>
      <pcgiod>
        rounds: 300
        conv: -18.42
        convtype: CR
      </pcgiod>
    </mine>
  </solvers>
  <jobs>
    jobs: solve
    <solve>
      solver: mine
    </solve>
  </jobs>
</root>
"""
TWIN = """
[data]
records = "d.csv"
missing = -9000
[pedigree.other]
file = "other.csv"
[pedigree.ped]
file = "ped.csv"
selfing = true
[matrix.K]
file = "K.csv"
[model]
equations = '''
milk = sex*b1 + age(t(co(p(1,2))))*c + id*u1(v(g(1))) + herd*h(v(herd(1)))
fat = sex(t(cl))*b2 + id*u2(v(g(2)))
'''
polynomials = ["(x)", "x**2"]
[variance]
herd = { sigma = 5, gamma = { matrix = "K" } }
g = { sigma = [[3.0, 1.0], [1.0, 2.0]], gamma = { A = { pedigree = "ped" } } }
res = { sigma = [[4, 1], [1, 3]], structure = "us" }
[jobs]
solve = { max_it = 300, rtol = 1e-8 }
"""


def load(folder: Path, text: str, name: str = "m.xml") -> ModelSpec:
    (folder / "sigma.csv").write_text("# Sigma\n3.0,1.0\n1.0,2.0\n")
    (folder / "mask.csv").write_text("T,F\nF,F\n")
    (folder / name).write_text(text, encoding="utf-8")
    return load_model(folder / name, lambda data, base: COLUMNS)


def fault(folder: Path, text: str) -> str:
    with pytest.raises(ModelError) as e:
        load(folder, text)
    assert e.value.exit_code == 5
    return str(e.value)


def change(old: str, new: str) -> str:
    assert old in XML
    return XML.replace(old, new, 1)


def test_xml_and_toml_give_equal_models(tmp_path: Path) -> None:
    assert load(tmp_path, XML) == load(tmp_path, TWIN, "m.toml")


def test_model_element_in_pfe_spelling_and_default_job(tmp_path: Path) -> None:
    start = XML.index("  <solvers>")
    text = XML[:start].replace("models>", "model>") + "</root>"
    assert load(tmp_path, text).jobs == (JobSpec("solve"),)


def test_mask_holds_elements_constant(tmp_path: Path) -> None:
    text = change("file: sigma.csv", "file: sigma.csv\n        mask: mask.csv")
    assert load(tmp_path, text).variance("g").fix == ((True, False), (False, False))
    assert "missing.csv" in fault(tmp_path, change("file: sigma.csv", "file: sigma.csv\n mask: missing.csv"))


def test_diagonal_matrix_and_two_files_of_one_name(tmp_path: Path) -> None:
    text = change("<E>", "<D>").replace("</E>", "</D>")
    assert load(tmp_path, text).matrices == (MatrixSpec("K", "K.csv", diagonal=True),)
    text = XML.replace("<A>\n          pedigree: ped\n        </A>", "<E>\n          file: sub/K.csv\n        </E>")
    spec = load(tmp_path, text)
    assert {m.file for m in spec.matrices} == {"K.csv", "sub/K.csv"}
    assert spec.variance("g").gamma.name != spec.variance("herd").gamma.name


JOBS = "    jobs: solve\n    <solve>\n      solver: mine\n    </solve>\n"
TOOLS = """
  <samplers>
    samplers: s
    <s>
      <singlepass>
        samples: 100
        burnin: 10
      </singlepass>
    </s>
  </samplers>
"""


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ("jobs: yhat,solve", (JobSpec("yhat"), JobSpec("solve"))),
        ("jobs: solve\n<default>\nconv: -9.21034\n</default>", (JobSpec("solve", (("rtol", 1e-4),)),)),
        (
            "jobs: airemlc\n<airemlc>\nrounds: 50\nswitch: writeai,solutions\n</airemlc>",
            (JobSpec("reml", (("max_rounds", 50), ("method", "ai"), ("solutions", True), ("write_ai", True))),),
        ),
        (
            "jobs: mcemreml\n<mcemreml>\nrounds: 300\nconv: -9.21034\nsampler: s\nsolver: mine\n</mcemreml>",
            (
                JobSpec(
                    "reml",
                    (
                        ("burnin", 10),
                        ("max_rounds", 300),
                        ("method", "mc-em"),
                        ("rtol", 1e-4),
                        ("sampler", "singlepass"),
                        ("samples", 100),
                        ("solver_max_it", 300),
                        ("solver_rtol", 1e-8),
                    ),
                ),
            ),
        ),
        (
            "jobs: pevsolve\n<pevsolve>\nfactor: g\nlevels: 1,2\nnrhs: 4\n</pevsolve>",
            (JobSpec("pev", (("factor", ("g",)), ("levels", ("1", "2")), ("nrhs", 4))),),
        ),
    ],
)
def test_jobs_with_solvers_and_samplers(tmp_path: Path, jobs: str, expected: tuple[JobSpec, ...]) -> None:
    text = change(JOBS, jobs + "\n").replace("  <jobs>", TOOLS + "  <jobs>")
    assert load(tmp_path, text).jobs == expected


def test_criterion_cd_and_direct_solver(tmp_path: Path) -> None:
    spec = load(tmp_path, change("convtype: CR", "convtype: CD"))
    assert spec.jobs[0].get("xtol") == 1e-8
    assert spec.jobs[0].get("rtol") is None
    start, stop = XML.index("<pcgiod>"), XML.index("</pcgiod>")
    text = XML[:start] + "<direct>\n" + XML[stop:].replace("</pcgiod>", "</direct>", 1)
    assert load(tmp_path, text).jobs[0].options == (("method", "direct"),)


GENOMIC = """
  <genotypes>
    genotypes: chip
    <chip>
      file: geno.txt
      cross: ids.csv
      pedigree: ped
    </chip>
  </genotypes>
  <grms>
    grms: grm1
    <grm1>
      genotype: chip
      method: VR
    </grm1>
  </grms>
"""
H = "<H>\n pedigree: ped\n grm: grm1\n aweight: 0.05\n switch: adjustg2a\n</H>"
A = "<A>\n          pedigree: ped\n        </A>"


def test_genomic_elements_are_validated_and_not_computed_yet(tmp_path: Path) -> None:
    text = change("  <vars>", GENOMIC + "  <vars>").replace(A, H)
    spec = load(tmp_path, text)
    assert spec.variance("g").gamma == GammaSpec(
        "H", "ped", (("aweight", 0.05), ("grm", "grm1"), ("switch", ("adjustg2a",)))
    )
    assert any("gamma of kind H" in str(p) for p in unsupported(spec))
    assert load(tmp_path, text.replace(H, "<G>\n grm: grm1\n</G>")).variance("g").gamma == GammaSpec("G", "grm1")
    for old, new, word in [
        ("grm: grm1\n aw", "grm: grm2\n aw", "'grm2'"),
        ("pedigree: ped\n grm", "pedigree: pod\n grm", "'pod'"),
        ("adjustg2a", "adjustg2", "'adjustg2a'"),
        ("method: VR", "method: VX", "'VX'"),
        ("genotype: chip", "genotype: chp", "'chip'"),
        ("cross: ids.csv\n", "\n", "'cross' is missing"),
        ("aweight: 0.05", "aweight: x", "'aweight'"),
    ]:
        assert old in text
        assert word in fault(tmp_path, text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("datafile:", "datfile:", ["'datfile'", "'datafile'", "line 4"]),
        ("datafile: d.csv", "datafile d.csv", ["key: value", "line 4"]),
        ("datafile: d.csv", "datafile:", ["no value"]),
        ("datafile: d.csv", "", ["'datafile' is missing"]),
        ("missingthreshold: -9000", "missingthreshold: low", ["number", "'low'"]),
        ("missingthreshold: -9000", "datafile: e.csv", ["twice"]),
        ("pedigrees: ped,other", "pedigrees: ped", ["'other'", "'pedigrees:'"]),
        ("pedigrees: ped,other", "pedigrees: ped,other,third", ["'third'", "no element"]),
        ("switch: selfing", "switch: self", ["'self'", "'selfing'"]),
        ("switch: selfing", "phantomparents: 0", ["phantomparents"]),
        ("switch: selfing", "qfile: q.txt", ["q.txt", ".coocsv"]),
        ('<eqn attributes="strings">', "<eqn>", ["attributes="]),
        ('<eqn attributes="strings">', '<eqn attribs="strings">', ["'attribs'"]),
        ("fat=sex*b2", "fat=sex**b2", ["line 22, column 15", "'*'"]),
        ("      x ^ 2\n", "      x ^ ^ 2\n", ["line 26", "x ^ ^ 2"]),
        ("2.0,0.5\n", "2.0,a\n", ["row of numbers", "line 34"]),
        ("2.0,0.5\n", "2.0\n", ["not square", "'res'"]),
        ("scale: 2", "scale: -2", ["scale"]),
        ("scale: 2", "file: s.csv", ["exactly one", "<sigma>"]),
        ("file: sigma.csv", "file: nosuch.csv", ["nosuch.csv"]),
        ("vars: g, herd", "vars: g", ["'herd'", "'vars:'"]),
        ("<gamma>\n        <A>", "<gama>\n        <A>", ["not valid XML", "gama"]),
        ("pedigree: ped\n", "pedigree: pod\n", ["'pod'", "'ped'"]),
        ("jobs: solve", "jobs: slove", ["'slove'", "'solve'"]),
        ("solver: mine", "solver: yours", ["'yours'", "mine"]),
        ("conv: -18.42", "conv: 18.42", ["negative"]),
        ("convtype: CR", "convtype: CX", ["'CX'"]),
        ("rounds: 300", "rounds: many", ["whole number"]),
        ("<root>", "<Root>", ["not valid XML", "<Root>"]),
        ("<data>", "<data>\n <datafile>\n </datafile>", ["element 'datafile'"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    text = fault(tmp_path, change(old, new))
    for word in words:
        assert word in text, text


def test_missing_elements_are_named(tmp_path: Path) -> None:
    text = fault(tmp_path, "<root>\n</root>")
    for name in ("<data>", "<models>", "<vars>"):
        assert name in text
    assert "<root>" in fault(tmp_path, "<other>\n</other>")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('<!DOCTYPE root [<!ENTITY a "b">]>\n<root>&a;</root>', "entities"),
        ('<!DOCTYPE root SYSTEM "http://localhost/x.dtd">\n<root></root>', "entities"),
        ("<root>&nbsp;</root>", "entit"),
        ("<root>", "<root>"),
        ("", "not valid XML"),
        ("<root></root><root></root>", "not valid XML"),
        ('<?xml version="1.0" encoding="nonsense"?><root></root>', "not valid XML"),
        ("<root>\x00</root>", "not valid XML"),
    ],
)
def test_entities_and_broken_xml_are_refused(tmp_path: Path, text: str, word: str) -> None:
    message = fault(tmp_path, text)
    assert word in message
    assert "m.xml, line 1" in message


def test_files_of_blocks_are_named_and_snpblup_is_not_computed_yet(tmp_path: Path) -> None:
    text = change("scale: 2", "type: block\n file: r.blkcsv")
    start, stop = text.index("<matrix"), text.index("</matrix>") + len("</matrix>")
    spec = load(tmp_path, text[:start] + text[stop:])
    assert spec.residual.blocks == BlocksSpec("r.blkcsv", inverse=True)
    text = change("  <vars>", GENOMIC + "  <vars>").replace("    <g>\n", "    <g>\n      type: snpblup1\n")
    assert "marker_sb1" in fault(tmp_path, text)
    text = text.replace("type: snpblup1\n", "type: snpblup1\n <marker_sb1>\n genotype: chip\n </marker_sb1>\n")
    spec = load(tmp_path, text)
    assert spec.variance("g").type == "snpblup1"
    assert any("snpblup1" in str(p) for p in unsupported(spec))
