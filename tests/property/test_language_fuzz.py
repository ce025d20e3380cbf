"""Ten thousand damaged parameter files: each is a model, which writes and reads as itself, or one HendersonError."""

from __future__ import annotations

import os
import random
import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from henderson.errors import HendersonError, ModelError
from henderson.language.load import load_model
from henderson.language.renumf90 import read_renumf90
from henderson.language.renumf90_model import build_model
from henderson.language.source import Problems
from henderson.language.spec import ModelSpec
from henderson.language.write_toml import write_toml
from henderson.language.write_xml import write_xml

COUNT = int(os.environ.get("HENDERSON_FUZZ", "10000"))
COLUMNS = dict.fromkeys(("y1", "y2", "x", "id", "dam", "v", "n", "p", "w", "age"), "real") | {
    "sex": "text",
    "herd": "integer",
}
LEVELS = ["F", "M"]

EQUATIONS = '''# an animal model
[data]
records = ["r.csv", "more/*.csv"]
missing = -9999
weights = "w"
[pedigree.ped]
file = "p.csv"
selfing = true
[matrix.K]
file = "K.csv"
inverse = true
[model]
equations = """
y1 = 1*m + age(t(co(t(i);p(1,2);n(herd);c(n))))*b + x(t(co(p(1,2);n(id))))*u(v(g(1,2))) + herd(w(sex=F))*h
y2 = sex*s + id*w(v(g(3))) + dam*d(v(k(1))) + age(t(co(n(dam))))*i(v(k(2))) + `sex:herd`*j
"""
polynomials = ["x^0", "log(x)/2", "l2 - 3*x^2"]
[variance.g]
sigma = [[1.0, 0, 0], [0, 2.0, 0.5], [0, 0.5, 1]]
gamma = { A = { pedigree = 'ped' } }
fix = [[true, false, false], [false, false, false], [false, false, false]]
[variance.k]
sigma = [[2.0, 0.5], [0.5, 2.0]]
structure = "cs"
scale = 0.5
by = "sex"
classes = { M = [[1.0, 0.5], [0.5, 1.0]] }
[variance.res]
sigma = [[1.0, 0], [0, 1.0]]
by = "sex"
classes = { F = [[1.0, 0.1], [0.1, 3.0]] }
[jobs]
run = ['reml', 'solve', 'pev']
solve = { rtol = 1e-8, max_it = 100 }
reml = { method = "ai" }
[functions]
h = 'g[1,1] / (g[1,1] + sqrt(res[1,1]))'
'''
FORMULA = """[data]
records = "r.csv"
classes = ["herd"]
[pedigree.ped]
file = "p.csv"
[model]
fixed = "cbind(y1, y2) ~ trait*sex + I(x^2):factor(p) + at(trait, 'y1'):age"
random = '~ us(trait, init=c(1,0,1)):vm(id, ped) + diag(trait):ide(id) + at(sex):dam + corgh(sex):herd'
residual = '~ dsum(~ units:us(trait) | sex)'
[jobs]
run='reml'
"""
OWN = """[data]
records = "r.csv"
missing_file = "flags.csv"
[solvers.quick]
xtol = 1e-4
[solvers.exact]
method = "direct"
[jobs]
run = ["solve", "pevsolve", "pevsample", "yhat", "residuals"]
lmt_files = true
solve = { solver = ["quick", "exact"] }
pevsolve = { solver = "quick", factor = "g", levels = [3, 7], levelfile = "ids.csv", nrhs = 2 }
pevsample = { samples = 30 }
[model]
equations = "y1 = 1*m + herd*h(v(g(1)))"
[variance.g]
sigmas = { file = "g.coocsv", inverse = true, scale = 2.5 }
[variance.res]
sigmas = "res.bin"
scale = 2
"""
LME4 = """[data]
records = "r.csv"
[model]
fixed = "y1 ~ x + factor(sex)*p + (x | id) + (0 + sex || herd) + (1 | v/n)"
[jobs]
run = "reml"
reml.REML = false
"""
XML = """<root>
  <!-- direct and maternal effects -->
  <data>
    datafile: d.csv
    missingthreshold: -9000
    missingfile: flags.csv
  </data>
  <pedigrees>
    pedigrees: ped
    <ped>
      file: ped.csv
      switch: selfing
      phantomparents: 2
      <metamatrix attributes="array">
        1.0, 0.2
        0.2, 1.0
      </metamatrix>
    </ped>
  </pedigrees>
  <models>
    <eqn attributes="strings">
      y1=sex*b1+age(t(co(p(1))))*c+id*u1(v(g(1)))+dam*m(v(g(2)))+herd*k(v(k(1)))
    </eqn>
    <poly attributes="strings">
      3*x^2+sqrt(x)
    </poly>
  </models>
  <vars>
    <res>
      <sigma>
        scale: 2
        <matrix attributes="array">
          2.0
        </matrix>
      </sigma>
    </res>
    vars: g,k
    <k>
      <sigma>
        type: block
        file: k.blkcsv
        scale: 3
      </sigma>
      <gamma>
        <E>
          file: K.csv
          switch: inverse
        </E>
      </gamma>
    </k>
    <g>
      <gamma>
        <A>
          pedigree: ped
        </A>
      </gamma>
      <sigma>
        <matrix attributes="matrix">
          2.0, 0.1
          0.1, 3
        </matrix>
      </sigma>
    </g>
  </vars>
  <jobs>
    jobs: solve,airemlc,pevsolve,yhat,residuals
    <airemlc>
      rounds: 10
      switch: writeai
    </airemlc>
    <pevsolve>
      factor: g
      nrhs: 4
    </pevsolve>
    <solve>
      solver: s,t
    </solve>
  </jobs>
  <solvers>
    solvers: s,t
    <t>
      <direct>
      </direct>
    </t>
    <s>
      <pcgiod>
        conv: -18.42
        convtype: CR
      </pcgiod>
    </s>
  </solvers>
</root>
"""
RENUMF90 = """# direct and maternal
DATAFILE
 data.txt
TRAITS
 7 8
FIELDS_PASSED TO OUTPUT

WEIGHT(S)
 9
RESIDUAL_VARIANCE
 2 1
 1 3
EFFECT
 2 2 cross alpha
EFFECT
 3 0 cov
NESTED
 2 2 alpha
COMBINE 10 2 4
EFFECT
 10 10 cross alpha
RANDOM
 diagonal
(CO)VARIANCES
 1 0.1
 0.1 1
EFFECT # animal
 1 1 cross alpha
RANDOM
 animal
OPTIONAL
 mat pe mpe
FILE
 ped.txt
FILE_POS
 1 2 3 0 0
PED_DEPTH
 0
UPG_TYPE
 in_pedigrees
INBREEDING
 pedigree
(CO)VARIANCES
 4 1 1 0
 1 4 0 1
 1 0 3 0
 0 1 0 3
(CO)VARIANCES_PE
 1 0
 0 1
(CO)VARIANCES_MPE
 1 0
 0 1
OPTION conv_crit 1d-12
OPTION method VCE
OPTION se_covar_function h G_1_1_1_1/(G_1_1_1_1+R_1_1)
OPTION missing -999
OPTION sol se
"""


def load(path: Path) -> ModelSpec:
    return load_model(path, lambda data, base: COLUMNS, lambda data, base, column: LEVELS)


def load_renumf90(path: Path) -> ModelSpec:
    """The model of a renumf90 file, without its data."""
    problems = Problems(str(path))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ModelError("not UTF-8") from None
    parsed = read_renumf90(text, problems)
    problems.stop_if_any()
    found = build_model(parsed, path, problems)
    problems.stop_if_any()
    return found.spec


TEXTS: dict[str, tuple[str, Callable[[Path], ModelSpec]]] = {
    "equations.toml": (EQUATIONS, load),
    "formula.toml": (FORMULA, load),
    "lme4.toml": (LME4, load),
    "own.toml": (OWN, load),
    "lmt.xml": (XML, load),
    "renum.par": (RENUMF90, load_renumf90),
}
ALPHABET = string.ascii_letters + string.digits + "+*=(),;:^-/ \n#\"'[]{}<>&!|~`._\\éÿ\x00\t\r\u2028𝔘"
WORDS = (
    "true", "-1", "0", "1e999", "nan", "1e-400", "[]", "{}", '""', "[[]]", "2020-01-01", "x", "1", "res", "y1", '"""',
    "999999999999999999999", "t(co)", "v(g(1))", "<a>", "</a>", "&amp;", "<!--", "inf", "-inf", "(" * 200, "[" * 300,
    "0x10", "1_000", "us(trait)", "trait", "(1|x)", "p(1)", "w(sex=F)", ":", ",", "=", "g[1,1]", "~", "EFFECT", "cov",
)  # fmt: skip


def damage(text: str, rng: random.Random) -> bytes:
    """The text with a few letters, words, lines or bytes deleted, inserted, swapped, doubled or cut off."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((1, 1, 2, 5, 20)))
        lines = text.split("\n")
        match rng.randrange(9):
            case 0:
                text = text[:start] + text[stop:]
            case 1:
                text = text[:start] + rng.choice(ALPHABET) + text[start:]
            case 2:
                text = text[:start] + rng.choice(WORDS) + text[stop:]
            case 3:
                other = rng.randrange(len(text) + 1)
                start, other = sorted((start, other))
                text = text[:start] + text[other : other + 3] + text[start + 3 : other] + text[start : start + 3]
                text += text[other + 3 :]
            case 4:
                text = text[:start] if rng.random() < 0.3 else text[:start] + text[start:stop] * 2 + text[stop:]
            case 5:
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                text = "\n".join(lines)
            case 6:
                del lines[rng.randrange(len(lines))]
                text = "\n".join(lines)
            case 7:
                words = text.split(" ")
                words[rng.randrange(len(words))] = rng.choice(WORDS)
                text = " ".join(words)
            case _:
                i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
                lines[i], lines[j] = lines[j], lines[i]
                text = "\n".join(lines)
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if data and rng.random() < 0.05:
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("name", TEXTS)
def test_the_texts_to_be_damaged_are_models(tmp_path: Path, name: str) -> None:
    text, read = TEXTS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    spec = read(tmp_path / name)
    (tmp_path / "again.toml").write_text(write_toml(spec), encoding="utf-8")
    if read is load:
        assert load(tmp_path / "again.toml") == spec


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_files_are_models_or_one_error(tmp_path: Path, name: str) -> None:
    text, read = TEXTS[name]
    path, again = tmp_path / name, tmp_path / "again.toml"
    rng = random.Random(f"{name} {COUNT}")  # another count, other texts
    models = errors = 0
    for _ in range(COUNT // len(TEXTS)):
        data = damage(text, rng)
        path.write_bytes(data)
        spec, error = None, None
        try:
            spec = read(path)
        except HendersonError as e:
            error = e
        except Exception as e:
            raise AssertionError(f"{name}: {type(e).__name__} for {data!r}") from e
        if error is not None:
            errors += 1
            assert error.problems, data
            assert all(p.message.strip() and len(p.message) < 2000 for p in error.problems), data
            assert all(0 < (p.line or 1) <= data.count(b"\n") + 2 for p in error.problems), data
        if spec is not None:
            models += 1
            if read is load and models % 2:
                _check_written(spec, again, data)
    assert min(models, errors) > COUNT // 500


def _check_written(spec: ModelSpec, again: Path, data: bytes) -> None:
    """The model writes as TOML that reads as it, or has a name that equations cannot say; as XML, or says why not."""
    with suppress(ModelError):
        assert "<root>" in write_xml(spec).text
    try:
        text = write_toml(spec)
    except ModelError:
        return
    again.write_text(text, encoding="utf-8")
    try:
        assert load(again) == spec
    except Exception as e:
        raise AssertionError(f"written anew: {text!r}, from {data!r}") from e
