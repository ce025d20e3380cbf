"""Random models, written as TOML, read as themselves."""

from __future__ import annotations

import dataclasses
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from henderson.errors import ModelError
from henderson.language.jobs import OPTIONS
from henderson.language.load import load_model
from henderson.language.pedigrees import are_fixed
from henderson.language.polynomials import canonical
from henderson.language.spec import (
    ONE,
    BlocksSpec,
    ChecksSpec,
    DataSpec,
    Equation,
    GammaSpec,
    IndexSpec,
    JobSpec,
    MatrixSpec,
    ModelSpec,
    PedigreeSpec,
    SubFactor,
    Term,
    ValidationSpec,
    VarianceSpec,
)
from henderson.language.write_toml import WIDTH, number, text, write_toml
from henderson.language.write_xml import write_xml

QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
LETTERS = string.ascii_letters + string.digits + " ._-+*/\\\"'()[]{}=,;|~éßπ²\t\u2028𝔘"
POLYNOMIALS = tuple(map(canonical, ("x^0", "x", "x^2/3", "exp(-x)", "l3")))


class Anything(dict[str, str]):
    """Records that have every column."""

    def __contains__(self, column: object) -> bool:
        return True


def load(path: Path) -> ModelSpec:
    return load_model(path, lambda data, base: Anything())  # type: ignore[arg-type, return-value]


Texts = st.SearchStrategy[str]
names = st.text(LETTERS, min_size=1, max_size=12).filter(lambda s: s.strip() and s != ONE)
files = st.text(LETTERS + ":#`é", min_size=1, max_size=20).filter(lambda s: s.strip() and s[-1] != "/")
plain_names = st.text(string.ascii_letters, min_size=1, max_size=3).filter(lambda s: s != "res")
plain_files = plain_names.map(lambda s: f"{s}.csv")
numbers = st.floats(1e-6, 1e6, allow_nan=False)


def matrices(size: int) -> st.SearchStrategy[tuple[tuple[float, ...], ...]]:
    """Symmetric matrices that are positive definite for their large diagonal."""

    @st.composite
    def draw_matrix(draw: st.DrawFn) -> tuple[tuple[float, ...], ...]:
        low = [[draw(st.floats(-1, 1)) for _ in range(i)] for i in range(size)]
        diagonal = [draw(st.floats(size + 1.0, 50.0)) for _ in range(size)]
        return tuple(
            tuple(diagonal[i] if i == j else low[max(i, j)][min(i, j)] for j in range(size)) for i in range(size)
        )

    return draw_matrix()


@st.composite
def pedigrees(draw: st.DrawFn, name: str, files: Texts) -> PedigreeSpec:
    phantoms = draw(st.integers(0, 3))
    meta = None if phantoms else draw(matrices(2))  # a regression on groups needs the ones or the others
    switches = {k: draw(st.booleans()) for k in ("inbreeding", "selfing", "add_missing_parents", "probabilistic")}
    return PedigreeSpec(
        name,
        draw(files),
        **switches,
        phantomparents=phantoms,
        qfile=draw(st.sampled_from([None, "q.coocsv"])),
        metamatrix=meta,
        mgs=not switches["probabilistic"] and draw(st.booleans()),
        group_variance=draw(st.none() | numbers) if phantoms else None,
    )


@st.composite
def jobs(draw: st.DrawFn) -> tuple[JobSpec, ...]:
    values = {
        "rtol": 1e-7, "xtol": 1e-5, "max_it": 7, "method": "direct", "factor": ("g", "x_y"), "levels": ("1", "é"),
        "nrhs": 3, "samples": 20, "REML": False, "start": "simpler", "max_rounds": 9, "write_ai": True,
    }  # fmt: skip
    chosen = draw(st.lists(st.sampled_from(["solve", "pev", "reml", "yhat", "residuals"]), min_size=1, unique=True))
    specs = []
    for job in chosen:
        known = [k for k in values if k in OPTIONS[job] and (job, k) != ("reml", "method")]
        options = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
        specs.append(JobSpec(job, tuple(sorted((k, values[k]) for k in options))))  # type: ignore[arg-type]
        if job == "solve" and draw(st.booleans()):  # by two solvers, one after the other
            specs.append(JobSpec(job, (("max_it", 30),)))
    return tuple(specs)


@st.composite
def models(draw: st.DrawFn, names: Texts = names, files: Texts = files) -> ModelSpec:
    """Valid models with every part of the specification, names of all kinds."""
    ped, own = draw(st.lists(names, min_size=2, max_size=2, unique=True))
    traits = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    variance_names = sorted(draw(st.lists(names.filter(lambda n: n != "res"), max_size=3, unique=True)))
    sizes = dict.fromkeys(variance_names, 0)
    columns = names | st.tuples(names, names).map(":".join)
    terms: dict[str, list[Term]] = {t: [] for t in traits}
    subfactors = []
    made = draw(st.lists(names, min_size=len(variance_names) + 1, max_size=len(variance_names) + 4, unique=True))
    gammas = {v: draw(st.sampled_from(["identity", "pedigree", "matrix"])) for v in variance_names}
    for number_, name in enumerate(made):
        variance = variance_names[number_] if number_ < len(variance_names) else None
        if variance is None and variance_names and draw(st.booleans()):
            variance = draw(st.sampled_from(variance_names))
        related = variance is not None and gammas[variance] != "identity"
        kind = draw(st.sampled_from(["class", "covariate"] if related else ["class", "covariate", "group"]))
        expansion = tuple(draw(st.lists(st.integers(1, 5), max_size=3, unique=True))) if kind == "covariate" else ()
        nested = kind == "covariate" and (related or draw(st.booleans()))
        centred = kind == "covariate" and variance is None and 1 not in expansion and draw(st.booleans())
        places: tuple[int, ...] = ()
        if variance is not None:
            places = tuple(range(sizes[variance] + 1, sizes[variance] + 1 + max(1, len(expansion))))
            sizes[variance] += len(places)
        subfactors.append(SubFactor(name, variance, places))
        for trait in draw(st.lists(st.sampled_from(traits), min_size=1, unique=True)):
            ones = kind == "class" and not related and draw(st.booleans())
            where = draw(st.lists(st.tuples(names, names | st.just("1") | st.just("007")), max_size=2))
            terms[trait].append(
                Term(
                    ONE if ones else draw(columns if kind == "class" else names.filter(lambda n: ":" not in n)),
                    name,
                    kind,  # type: ignore[arg-type]
                    nested_in=draw(columns) if nested else None,
                    polynomials=expansion,
                    integer=kind == "covariate" and draw(st.booleans()),
                    centred=centred,
                    pedigree=ped if kind == "group" else None,
                    where=tuple(where),
                )
            )
    for trait in traits:
        if not terms[trait]:
            extra = draw(names.filter(lambda n: n not in {s.name for s in subfactors}))
            subfactors.append(SubFactor(extra))
            terms[trait].append(Term(ONE, extra))
    variances = [
        draw(variance_specs(v, sizes[v], GammaSpec(gammas[v], {"pedigree": ped, "matrix": own}.get(gammas[v]))))  # type: ignore[arg-type]
        for v in variance_names
    ]
    pedigree = draw(pedigrees(ped, files))
    for k, v in enumerate(variances):
        uses = [t for each in terms.values() for t in each if subfactor_of(subfactors, t).variance == v.name]
        plain = all(t.kind != "group" and (t.level_variable or ONE) != ONE for t in uses)
        grouped = v.gamma.kind == "pedigree" and are_fixed(pedigree)
        if plain and not grouped and not any(":" in (t.level_variable or "") for t in uses):
            one = len({t.level_variable for t in uses}) == 1
            variances[k] = draw(own_sigmas(v, sizes[v.name], names, files, by=one))
    residual = draw(own_sigmas(draw(variance_specs("res", len(traits), GammaSpec())), len(traits), names, files))
    return ModelSpec(
        data=DataSpec(
            tuple(draw(st.lists(files, min_size=1, max_size=2))),
            draw(st.none() | st.floats(-1e5, 1e5, allow_nan=False)),
            draw(st.none() | names),
            tuple(sorted(draw(st.lists(names, max_size=2, unique=True)))),
            draw(st.none() | files),
            draw(st.none() | checks(traits, names)),
        ),
        equations=tuple(Equation(t, tuple(terms[t])) for t in traits),
        subfactors=tuple(sorted(subfactors, key=lambda s: s.name)),
        variances=(*variances, residual),
        polynomials=POLYNOMIALS,
        pedigrees=(pedigree,),
        matrices=(MatrixSpec(own, draw(files), draw(st.booleans()), draw(st.booleans())),),
        jobs=draw(jobs()),
        functions=tuple((n, "res[1,1]/(res[1,1]+2)") for n in draw(st.lists(names, max_size=2, unique=True))),
        validation=draw(st.none() | st.builds(ValidationSpec, st.none() | names, st.none() | names)),
        indices=draw(indices(subfactors, {t.subfactor: t for each in terms.values() for t in each}, names)),
        lmt_files=draw(st.booleans()),
    )


@st.composite
def indices(
    draw: st.DrawFn, subfactors: list[SubFactor], terms: dict[str, Term], names: Texts
) -> tuple[IndexSpec, ...]:
    taken = {s.name for s in subfactors}
    found = []
    for variance in sorted({s.variance for s in subfactors if s.variance is not None}):
        mine = [s.name for s in subfactors if s.variance == variance]
        printed = [n for s in mine for n in ([f"{s}_{k}" for k in terms[s].polynomials] or [s])]
        if len(set(printed)) < len(printed) or taken & {p for p in printed if p not in mine}:
            continue  # c_1 of c(p(1)), and another sub-factor of that name
        chosen = sorted(draw(st.lists(st.sampled_from(printed), unique=True)))
        name = draw(names.filter(lambda n, others=taken | {*printed}: n not in others))  # type: ignore[misc]
        if chosen:
            found.append(IndexSpec(name, variance, tuple((c, draw(numbers)) for c in chosen)))
            taken.add(name)
    return tuple(sorted(found, key=lambda i: i.name))


@st.composite
def checks(draw: st.DrawFn, traits: list[str], names: Texts) -> ChecksSpec:
    chosen = st.lists(st.sampled_from(traits), unique=True).map(sorted)
    return ChecksSpec(
        draw(st.sampled_from(["warn", "drop", "error"])),  # type: ignore[arg-type]
        tuple((t, *sorted(draw(st.tuples(numbers, numbers)))) for t in draw(chosen)),  # type: ignore[misc]
        tuple((t, draw(numbers)) for t in draw(chosen)),
        draw(st.none() | names),
        tuple((c, draw(st.integers(1, 9))) for c in sorted(draw(st.lists(names, max_size=2, unique=True)))),
        draw(st.sampled_from([0.99, 0.5])),
        draw(st.none() | names),
        draw(st.sampled_from([0.0, 1.5])),
    )


@st.composite
def variance_specs(draw: st.DrawFn, name: str, size: int, gamma: GammaSpec) -> VarianceSpec:
    structure = draw(st.sampled_from(["us", "us", "diag", "corgh", "id"]))
    sigma = draw(matrices(size))
    if structure in ("diag", "id"):
        sigma = tuple(
            tuple((v if structure == "diag" else 2.5) if i == j else 0.0 for j, v in enumerate(row))
            for i, row in enumerate(sigma)
        )
    fix = draw(st.none() | st.just(tuple(tuple(i == j for j in range(size)) for i in range(size))))
    equal = (((1, 1), (2, 2)),) if size > 1 and sigma[0][0] == sigma[1][1] and structure == "us" else ()
    ranked = structure == "us" and fix is None and not equal
    rank = draw(st.none() | st.integers(1, size)) if ranked else None
    return VarianceSpec(name, sigma, structure, gamma, fix, equal=equal, rank=rank)  # type: ignore[arg-type]


def subfactor_of(subfactors: list[SubFactor], term: Term) -> SubFactor:
    return next(s for s in subfactors if s.name == term.subfactor)


@st.composite
def own_sigmas(
    draw: st.DrawFn, variance: VarianceSpec, size: int, names: Texts, files: Texts, by: bool = True
) -> VarianceSpec:
    """The variance, or the same with a Sigma for each class or level."""
    kind = draw(st.sampled_from(["one", "one", "blocks", *["by"] * by]))
    if kind == "by":
        levels = sorted(draw(st.lists(names, max_size=2, unique=True)))
        classes = tuple((level, draw(matrices(size))) for level in levels)
        return dataclasses.replace(variance, by=draw(names), classes=classes, structure="us", equal=())
    if kind == "one":
        return variance
    file = draw(files) + draw(st.sampled_from([".blkcsv", ".coocsv", ".bin"]))
    blocks = BlocksSpec(file, draw(st.booleans()), draw(st.sampled_from([1.0, 0.25])))
    if draw(st.booleans()):
        return VarianceSpec(variance.name, None, gamma=variance.gamma, blocks=blocks)
    return dataclasses.replace(variance, blocks=blocks)


@QUIET
@given(spec=models())
def test_random_models_read_as_they_were_written(tmp_path: Path, spec: ModelSpec) -> None:
    path = tmp_path / "m.toml"
    path.write_text(write_toml(spec), encoding="utf-8", newline="\n")
    assert load(path) == spec


def identity(spec: ModelSpec, variance: str) -> tuple[tuple[float, ...], ...]:
    n = sum(len(s.positions) for s in spec.subfactors if s.variance == variance)
    return tuple(tuple(float(i == j) for j in range(n)) for i in range(n))


def as_lmt_can_say(spec: ModelSpec) -> ModelSpec:
    """The model without what lmt has not."""
    new = dataclasses.replace
    equations = tuple(new(e, terms=tuple(new(t, where=()) for t in e.terms)) for e in spec.equations)
    interactions = any(":" in f"{t.variable}{t.nested_in}" for e in equations for t in e.terms)
    if interactions:
        equations = tuple(
            new(
                e,
                terms=tuple(
                    new(t, variable=t.variable.replace(":", ""), nested_in=t.nested_in and t.nested_in.replace(":", ""))
                    for t in e.terms
                ),
            )
            for e in equations
        )
    keep = {"rtol", "max_it", "factor", "levels", "nrhs", "write_ai", "max_rounds"}
    return new(
        spec,
        data=DataSpec(spec.data.records[:1], spec.data.missing, missing_file=spec.data.missing_file),
        equations=equations,
        pedigrees=tuple(
            new(p, inbreeding=True, add_missing_parents=False, mgs=False, group_variance=None) for p in spec.pedigrees
        ),
        matrices=tuple(new(m, inverse=False) for m in spec.matrices),
        variances=tuple(
            VarianceSpec(v.name, None, gamma=v.gamma, blocks=new(v.blocks, inverse=True))
            if v.blocks is not None and v.gamma.kind != "pedigree"  # whose groups are fixed now
            else VarianceSpec(
                v.name,
                v.sigma or identity(spec, v.name),
                gamma=v.gamma,
                fix=v.fix if v.structure != "corgh" else None,
            )
            for v in spec.variances
        ),
        jobs=tuple(
            JobSpec(j.name, tuple(o for o in ((("method", "ai"),) if j.name == "reml" else ()) + tuple(
                o for o in j.options if o[0] in keep and (j.name, o[0]) != ("reml", "rtol"))))
            for j in spec.jobs
        ),
        functions=(),
    )  # fmt: skip


@QUIET
@given(spec=models(plain_names, plain_files))
def test_random_models_say_what_lmt_has_not(spec: ModelSpec) -> None:
    lost = None
    try:
        write_xml(spec)
    except ModelError as e:
        lost = e
    if lost is not None:
        assert all("lmt" in p.message or "cannot be" in p.message for p in lost.problems)


@QUIET
@given(spec=models(plain_names, plain_files).map(as_lmt_can_say))
def test_random_models_as_xml_read_as_they_were_written(tmp_path: Path, spec: ModelSpec) -> None:
    written = write_xml(spec)
    (tmp_path / "m.xml").write_text(written.text, encoding="utf-8")
    for name, mask in written.files.items():
        (tmp_path / name).write_text(mask, encoding="utf-8")
    read = load(tmp_path / "m.xml")
    for part in ("equations", "subfactors", "polynomials", "pedigrees", "data"):
        assert getattr(read, part) == getattr(spec, part)
    # lmt names matrices by their files
    assert {m.file for m in read.matrices} <= {m.file for m in spec.matrices}
    assert [(v.name, v.sigma, v.gamma.kind, v.blocks) for v in read.variances] == [
        (v.name, v.sigma, v.gamma.kind, v.blocks) for v in spec.variances
    ]
    held = [v.fix if v.fix and any(map(any, v.fix)) else None for v in spec.variances]
    assert [v.fix for v in read.variances] == held
    assert [j.name for j in read.jobs] == [j.name for j in spec.jobs]
    assert [dict(j.options) for j in read.jobs if j.name != "pev"] == [
        dict(j.options) for j in spec.jobs if j.name != "pev"
    ]


@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**12), 10**12))
@example(-0.0)
@example(1e15)
def test_numbers_keep_every_bit(value: float) -> None:
    assert str(float(number(value))) == str(float(value))


@pytest.mark.parametrize("bad", ["a`b", "a\nb", "a#b"])
def test_names_that_equations_cannot_say_are_refused(bad: str) -> None:
    spec = ModelSpec(
        DataSpec(("r.csv",)), (Equation("y", (Term(bad, "b"),)),), (SubFactor("b"),), (VarianceSpec("res", ((1.0,),)),)
    )
    with pytest.raises(ModelError, match="cannot be written in an equation"):
        write_toml(spec)


def test_long_equations_are_broken_between_terms(tmp_path: Path) -> None:
    terms = tuple(Term(f"column_{k}", f"sub factor + {k}") for k in range(20))
    subfactors = tuple(sorted((SubFactor(t.subfactor) for t in terms), key=lambda s: s.name))
    spec = ModelSpec(DataSpec(("r.csv",)), (Equation("y", terms),), subfactors, (VarianceSpec("res", ((1.0,),)),))
    written = write_toml(spec)
    assert max(map(len, written.splitlines())) <= WIDTH + 2
    (tmp_path / "m.toml").write_text(written, encoding="utf-8")
    assert load(tmp_path / "m.toml") == spec
    assert text('a"b\\\x7f\n') == '"a\\"b\\\\\\u007f\\n"'


FIELDS = {
    DataSpec: {"records", "missing", "missing_file", "weights", "classes", "checks", "cutoff"},
    PedigreeSpec: {
        "name", "file", "inbreeding", "selfing", "add_missing_parents", "probabilistic", "phantomparents", "qfile",
        "metafile", "metamatrix", "mgs", "group_variance",
    },
    MatrixSpec: {"name", "file", "inverse", "diagonal"},
    Term: {"variable", "subfactor", "kind", "nested_in", "polynomials", "integer", "centred", "pedigree", "where"},
    SubFactor: {"name", "variance", "positions"},
    GammaSpec: {"kind", "name", "options"},
    BlocksSpec: {"file", "inverse", "scale"},
    VarianceSpec: {
        "name", "sigma", "structure", "gamma", "fix", "by", "equal", "rank", "classes", "type", "options", "blocks",
    },
    IndexSpec: {"name", "variance", "weights"},
    ModelSpec: {
        "data", "equations", "subfactors", "variances", "polynomials", "pedigrees", "matrices", "jobs", "functions",
        "lmt_files", "source", "validation", "indices",
    },
}  # fmt: skip


@pytest.mark.parametrize("part", FIELDS)
def test_the_writers_know_every_field(part: type) -> None:
    """A new field has to be written, in TOML and in XML or among what lmt cannot say, and drawn by `models`."""
    assert {f.name for f in dataclasses.fields(part)} == FIELDS[part]
