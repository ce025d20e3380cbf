"""Jobs with named solvers and aliases: what they become, in TOML and lmt's XML, and how they are written again."""

from __future__ import annotations

from pathlib import Path

import pytest

from henderson.errors import ModelError
from henderson.jobs.sequence import levels_of, options_of, pev_method, rtol_of, tolerances, with_solves
from henderson.language.load import load_model
from henderson.language.spec import JobSpec, ModelSpec
from henderson.language.write_toml import write_toml
from henderson.language.write_xml import write_xml

TOML = """
[data]
records = "r.csv"
[model]
equations = "y = a*b"
[variance.res]
sigma = [[1.0]]
"""
XML = """<root>
  <data>
    datafile: r.csv
  </data>
  <models>
    <eqn attributes="strings">
      y = a*b
    </eqn>
  </models>
  <vars>
    <res>
      <sigma>
        <matrix attributes="array">
          1.0
        </matrix>
      </sigma>
    </res>
  </vars>
JOBS
</root>
"""


def load(tmp_path: Path, text: str, suffix: str = "toml") -> ModelSpec:
    (tmp_path / f"m.{suffix}").write_text(text)
    return load_model(tmp_path / f"m.{suffix}", lambda *_: {"y": "real", "a": "integer"})


def job(name: str, **options: object) -> JobSpec:
    return JobSpec(name, tuple(sorted(options.items())))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ('run = ["solve"]\nsolve = { solver = "s" }', (job("solve", rtol=1e-6, max_it=9),)),
        ('solve = { solver = "s", max_it = 3 }', (job("solve", rtol=1e-6, max_it=3),)),
        ('solve = { solver = ["s", "d"] }', (job("solve", rtol=1e-6, max_it=9), job("solve", method="direct"))),
        ('run = ["pevsolve"]\npevsolve = { solver = "d" }', (job("pev", method="direct"),)),
        ('airemlc = { solver = "s" }', (job("reml", method="ai", solver_rtol=1e-6, solver_max_it=9),)),
        ('run = ["pevsample"]\npevsample = { samples = 4 }', (job("pev", method="sampling", samples=4),)),
        ('run = ["pev", "pevsample"]\npev = { nrhs = 7 }', (job("pev", nrhs=7), job("pev", method="sampling"))),
    ],
)
def test_solvers_of_toml(jobs: str, expected: tuple[JobSpec, ...], tmp_path: Path) -> None:
    solvers = '[solvers.s]\nrtol = 1e-6\nmax_it = 9\n[solvers.d]\nmethod = "direct"\n'
    run = "" if jobs.startswith(("run", "solve")) else 'run = ["airemlc"]\n'
    spec = load(tmp_path, f"{TOML}{solvers}[jobs]\n{run}{jobs}\n")
    assert spec.jobs == expected
    assert load(tmp_path, write_toml(spec)) == spec
    assert load(tmp_path, write_xml(spec).text, "xml").jobs == expected


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ('[jobs]\nsolve = { solver = "none" }', "unknown solver 'none'"),
        ("[jobs]\nsolve = { solver = 3 }", "the name of a solver"),
        ("[jobs]\nsolve = { solver = [] }", "the name of a solver"),
        ('[solvers.s]\n[solvers.t]\n[jobs]\nrun = ["pev"]\npev = { solver = ["s", "t"] }', "takes one solver, not 2"),
        ("[solvers.s]\nrtoll = 1e-3", "unknown option of a solver: 'rtoll'; did you mean 'rtol'"),
        ("[solvers.s]\nrtol = 2", "a number between 0 and 1"),
        ("[solvers]\ns = 3", "must be a table"),
        ('[jobs]\nrun = ["yhat"]\nyhat = { solver = "s" }', "unknown option of job 'yhat'"),
        ('[jobs]\nlmt_files = "yes"', "'lmt_files' must be true or false"),
    ],
)
def test_mistakes_in_solvers(jobs: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words.replace("[", r"\[").replace("(", r"\(")):
        load(tmp_path, f"{TOML}{jobs}\n")


def test_the_default_threshold_is_for_solvers_without_one(tmp_path: Path) -> None:
    lines = """<jobs>
jobs: solve,pevsample
<default>
conv: -11.51
</default>
<solve>
solver: a,b
</solve>
<pevsample>
sampler: p
</pevsample>
</jobs>
<solvers>
solvers: a,b
<a>
<pcgiod>
rounds: 5
</pcgiod>
</a>
<b>
<pcgiod>
convtype: CD
</pcgiod>
</b>
</solvers>
<samplers>
samplers: p
<p>
<pev>
samples: 50
chains: 2
burnin: 10
</pev>
</p>
</samplers>"""
    spec = load(tmp_path, XML.replace("JOBS", lines), "xml")
    first, second, third = spec.jobs
    assert (first.get("max_it"), first.get("rtol")) == (5, pytest.approx(1e-5, rel=1e-3))
    assert (second.get("xtol"), second.get("rtol")) == (1e-8, None)
    assert third == job("pev", method="sampling", samples=100)


def test_lmt_files_are_asked_for_in_toml(tmp_path: Path) -> None:
    spec = load(tmp_path, f"{TOML}[jobs]\nlmt_files = true\n")
    assert spec.lmt_files
    assert spec.jobs == (JobSpec("solve"),)
    assert load(tmp_path, write_toml(spec)) == spec


def test_a_file_of_flags(tmp_path: Path) -> None:
    spec = load(tmp_path, TOML.replace('"r.csv"', '"r.csv"\nmissing_file = "f.csv"'))
    assert spec.data.missing_file == "f.csv"
    assert load(tmp_path, write_toml(spec)) == spec
    assert load(tmp_path, write_xml(spec).text, "xml") == spec


def test_solves_that_are_missing_are_done_first() -> None:
    chosen, every = job("pev", levels=("1",), rtol=1e-4), job("pev")
    assert with_solves((job("yhat"),)) == (job("solve"), job("yhat"))
    assert with_solves((chosen, job("solve"))) == (job("solve", rtol=1e-4), chosen, job("solve"))
    assert with_solves((every, job("yhat"))) == (every, job("yhat"))
    assert with_solves((every,), factors=False) == (job("solve"), every)
    estimated = job("reml", residuals=True)
    assert with_solves((estimated,)) == (estimated, job("residuals"))
    assert with_solves((estimated, job("residuals"))) == (estimated, job("residuals"))


def test_what_decides_when_a_solve_ends() -> None:
    assert tolerances(job("solve")) == {"rtol": 1e-8}
    assert tolerances(job("solve", xtol=1e-5)) == {"rtol": float("inf"), "xtol": 1e-5}
    assert tolerances(job("solve", rtol=1e-3, xtol=1e-5)) == {"rtol": 1e-3, "xtol": 1e-5}
    assert rtol_of(job("pev", xtol=1e-5)) == 1e-5
    assert options_of(job("solve", max_it=4, method="pcg"), "max_it") == {"max_it": 4}
    assert [pev_method(job("pev", **o)) for o in ({}, {"nrhs": 2}, {"samples": 9})] == ["direct", "pcg", "sampling"]
    assert [pev_method(job("pev", **o)) for o in ({"contributions": True}, {"exact": 0})] == ["approximate"] * 2


def test_animals_solved_for_are_counted_from_none_on(tmp_path: Path) -> None:
    text = f'{TOML}[jobs]\nrun = ["pev"]\npev = {{ exact = EXACT }}\n'
    assert load(tmp_path, text.replace("EXACT", "0")).jobs == (job("pev", exact=0),)
    with pytest.raises(ModelError, match="whole number from 0 on"):
        load(tmp_path, text.replace("EXACT", "-1"))


def test_ids_from_list_and_file(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("# chosen\n7, 8\n\n9\n")
    spec = load(tmp_path, f'{TOML}[jobs]\nrun = ["pev"]\npev = {{ levels = ["a"], levelfile = "ids.csv" }}\n')
    assert levels_of(spec.jobs[0], spec) == ("a", "7", "8", "9")
    assert levels_of(job("pev"), spec) is None
