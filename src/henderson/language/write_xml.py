"""A model written as lmt's parameter file (XML), with what lmt cannot say and what it needs besides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from henderson.errors import ModelError, Problem
from henderson.language.printing import print_equations
from henderson.language.spec import ONE, RESIDUAL, Matrix, MatrixSpec, ModelSpec, PedigreeSpec, VarianceSpec
from henderson.language.write_toml import aligned, number
from henderson.language.write_xml_jobs import write_jobs

_WORD = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_PLAIN = re.compile(r"[^\W\d][\w.]*")
_BAD_IN_VALUE = re.compile(r"[,#<>&\s]")
GLOB = re.compile(r"[*?\[]")
ESTIMATING = ("reml", "sample")


@dataclass
class XmlText:
    """An lmt parameter file: its text, files that lie beside it by name, and notes on what lmt does otherwise."""

    text: str = ""
    files: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_xml(spec: ModelSpec) -> XmlText:
    """Return the model as lmt's parameter file.

    Raises
    ------
    ModelError
        With everything in the model that lmt cannot say and that would change its answer.

    """
    spec, renamed = _with_plain_names(spec)
    lost = [*_lost_data(spec), *_lost_terms(spec), *_lost_variances(spec)]
    result = XmlText(notes=[*renamed, *_notes(spec)])
    jobs, lost_jobs, job_notes = write_jobs(spec.jobs)
    if problems := [Problem(m, str(spec.source) if spec.source else None) for m in (*lost, *lost_jobs)]:
        raise ModelError(problems)
    result.notes += job_notes
    matrices = {m.name: m for m in spec.matrices}
    names = [v.name for v in spec.variances if v.name != RESIDUAL]
    variances = [_variance(v, matrices, result) for v in spec.variances if v.name == RESIDUAL]
    variances += [[f"vars: {','.join(names)}"]] if names else []
    variances += [_variance(v, matrices, result) for v in spec.variances if v.name != RESIDUAL]
    parts = [
        element("data", _data(spec)),
        _pedigrees(spec.pedigrees),
        element("vars", [line for part in variances for line in part]),
        element("models", _models(spec)),
        jobs,
    ]
    result.text = "\n".join(element("root", [line for part in parts for line in part])) + "\n"
    return result


def _with_plain_names(spec: ModelSpec) -> tuple[ModelSpec, list[str]]:
    """Return the model with names of sub-factors and variances that lmt can read, and a note for each new one."""
    notes: list[str] = []

    def rename(what: str, names: Sequence[str], pattern: re.Pattern[str]) -> dict[str, str]:
        new = {n: n for n in names if pattern.fullmatch(n)}
        for old in names:
            if old not in new:
                plain = re.sub(r"\W+", "_", old, flags=re.ASCII).strip("_")
                name = stem = plain if plain and not plain[0].isdigit() else f"x{plain}"
                number = 1
                while name in new.values():
                    number += 1
                    name = f"{stem}_{number}"
                new[old] = name
                notes.append(f"{what} {old!r} is called {name!r}")
        return new

    subfactors = rename("sub-factor", [s.name for s in spec.subfactors], _PLAIN)
    variances = rename("variance", [v.name for v in spec.variances], _WORD)
    equations = tuple(
        replace(e, terms=tuple(replace(t, subfactor=subfactors[t.subfactor]) for t in e.terms)) for e in spec.equations
    )
    renamed = replace(
        spec,
        equations=equations,
        subfactors=tuple(
            replace(s, name=subfactors[s.name], variance=variances[s.variance] if s.variance else None)
            for s in spec.subfactors
        ),
        variances=tuple(replace(v, name=variances[v.name]) for v in spec.variances),
    )
    return renamed, notes


def element(name: str, lines: Sequence[str], escape: str = "") -> list[str]:
    """Return the lines of an element around `lines`."""
    start = f'<{name} attributes="{escape}">' if escape else f"<{name}>"
    return [start, *(f"  {line}" for line in lines), f"</{name}>"]


def _rows(matrix: Matrix) -> list[str]:
    return aligned([[number(v) for v in row] for row in matrix])


def _data(spec: ModelSpec) -> list[str]:
    lines = [f"datafile: {spec.data.records[0]}"]
    lines += [] if spec.data.missing is None else [f"missingthreshold: {number(spec.data.missing)}"]
    return lines if spec.data.missing_file is None else [*lines, f"missingfile: {spec.data.missing_file}"]


def _pedigrees(pedigrees: Sequence[PedigreeSpec]) -> list[str]:
    if not pedigrees:
        return []
    lines = [f"pedigrees: {','.join(p.name for p in pedigrees)}"]
    for p in pedigrees:
        inner = [f"file: {p.file}"]
        if switches := [s for s in ("selfing", "probabilistic", "mgs") if getattr(p, s)]:
            inner.append(f"switch: {','.join(switches)}")
        if p.phantomparents:
            inner.append(f"phantomparents: {p.phantomparents}")
        inner += [f"{k}: {v}" for k in ("qfile", "metafile") if (v := getattr(p, k)) is not None]
        if p.group_variance is not None:
            inner.append(f"group_variance: {number(p.group_variance)}")
        if p.metamatrix is not None:
            inner += element("metamatrix", _rows(p.metamatrix), "array")
        lines += element(p.name, inner)
    return element("pedigrees", lines)


def _models(spec: ModelSpec) -> list[str]:
    lines = element("eqn", print_equations(spec).splitlines(), "strings")
    return [*lines, *element("poly", spec.polynomials, "strings")] if spec.polynomials else lines


def _variance(variance: VarianceSpec, matrices: dict[str, MatrixSpec], result: XmlText) -> list[str]:
    lines: list[str] = []
    if variance.sigma is not None:
        sigma = element("matrix", _rows(variance.sigma), "array")
        held = variance.fix
        n = len(variance.sigma)
        if held is None and variance.structure == "diag" and n > 1:
            held = tuple(tuple(i != j for j in range(n)) for i in range(n))
        if held is not None and any(map(any, held)):
            name = f"{variance.name}.mask.csv"
            result.files[name] = "".join(",".join("T" if v else "F" for v in row) + "\n" for row in held)
            result.notes.append(f"variance {variance.name!r}: elements that are held constant are in {name}")
            sigma = [f"mask: {name}", *sigma]
        lines += element("sigma", sigma)
    elif variance.blocks is not None:
        blocks = variance.blocks
        scale = [f"scale: {number(blocks.scale)}"] if blocks.scale != 1.0 else []
        lines += element("sigma", ["type: block", f"file: {blocks.file}", *scale])
    gamma = variance.gamma
    if gamma.kind == "pedigree":
        lines += element("gamma", element("A", [f"pedigree: {gamma.name}"]))
    elif gamma.kind == "matrix":
        matrix = matrices[gamma.name or ""]
        lines += element("gamma", element("D" if matrix.diagonal else "E", [f"file: {matrix.file}"]))
    return element(variance.name, lines)


def _lost_data(spec: ModelSpec) -> Iterator[str]:
    if len(spec.data.records) > 1 or GLOB.search(spec.data.records[0]):
        yield "[data]: lmt reads one data file; join the records into one"
    if spec.data.checks is not None and spec.data.checks.action == "drop":
        yield "[checks]: lmt drops no values; change the data"
    if spec.data.cutoff is not None:
        yield "[data]: lmt does not leave out later records; change the data"
    if spec.data.weights is not None:
        yield f"[data]: lmt has no weights column ({spec.data.weights!r})"
    files = [*spec.data.records[:1], *(p.file for p in spec.pedigrees), *(m.file for m in spec.matrices)]
    files += [v.blocks.file for v in spec.variances if v.blocks is not None]
    files += [spec.data.missing_file] if spec.data.missing_file is not None else []
    for file in files:
        if _BAD_IN_VALUE.search(file):
            yield f"lmt cannot read a file of the name {file!r}: it has a blank or one of , # < > &"
    for p in spec.pedigrees:
        if not _WORD.fullmatch(p.name):
            yield f"the name of pedigree {p.name!r} cannot be one of an element; use letters and digits"
        if not p.inbreeding:
            yield f"pedigree {p.name!r}: lmt always counts inbreeding (inbreeding = false)"
        if p.add_missing_parents:
            yield f"pedigree {p.name!r}: lmt needs a row for every parent (add_missing_parents = true)"
        if p.mgs:
            yield f"pedigree {p.name!r}: lmt has no pedigrees of sires and maternal grandsires (mgs = true)"
        if p.group_variance is not None:
            yield f"pedigree {p.name!r}: in lmt, groups in the relationships are fixed (group_variance)"
    yield from (f"matrix {m.name!r}: lmt reads relationships, not their inverse" for m in spec.matrices if m.inverse)


def _lost_terms(spec: ModelSpec) -> Iterator[str]:
    names = [e.trait for e in spec.equations]
    for equation in spec.equations:
        for term in equation.terms:
            names += [n for n in (term.variable, term.nested_in) if n is not None and n != ONE]
            if term.where:
                yield f"sub-factor {term.subfactor!r}: lmt has no term for one level of {term.where[0][0]!r}"
    for name in dict.fromkeys(names):
        if not _PLAIN.fullmatch(name):
            yield f"lmt has no name {name!r}, only letters and digits; an interaction needs a column of its own"


def _lost_variances(spec: ModelSpec) -> Iterator[str]:
    estimated = any(job.name in ESTIMATING for job in spec.jobs)
    for v in spec.variances:
        title = f"variance {v.name!r}"
        if v.type is not None or v.options or v.gamma.kind in ("H", "G"):
            yield f"{title}: relationships from markers cannot be written"
        if v.by is not None:
            yield f"{title}: lmt has no variances by class ({v.by!r})"
        if v.blocks is not None and not v.blocks.inverse:
            yield f"{title}: lmt's files of a Sigma for each level hold inverses ({v.blocks.file!r})"
        if v.blocks is not None and v.sigma is not None:
            yield f"{title}: lmt has no sigma beside a file of one for each level"
        if v.sigma is None and v.blocks is None:
            yield f"{title}: lmt needs sigma, at least as a start value"
        elif not estimated or v.sigma is None or len(v.sigma) == 1:
            continue
        elif v.structure in ("cs", "id"):
            yield f"{title}: lmt cannot estimate structure {v.structure!r}"
        elif v.rank is not None and v.rank < len(v.sigma):
            yield f"{title}: lmt cannot estimate a Sigma of rank {v.rank}"
        elif v.equal:
            yield f"{title}: lmt cannot keep elements equal"
        elif v.structure == "corgh" and v.fix is not None and any(map(any, v.fix)):
            yield f"{title}: lmt cannot hold a correlation"


def _notes(spec: ModelSpec) -> Iterator[str]:
    subfactors = {s.name: s for s in spec.subfactors}
    terms = [t for e in spec.equations for t in e.terms]
    if any(ONE in (t.variable, t.nested_in) for t in terms):
        yield "lmt has no literal 1: add a column of ones to the records and write its name instead"
    if any(t.kind == "covariate" and not t.centred and subfactors[t.subfactor].variance is None for t in terms):
        yield "lmt can leave a fixed covariate uncentred, but says nowhere how: c(n) is henderson's word"
    yield "lmt reads numbers only, with a first line of column names that begins with #"
    if spec.validation is not None:
        yield "[validation] is left out, lmt has none"
    if spec.indices:
        yield f"indices are left out, lmt has none: {', '.join(i.name for i in spec.indices)}"
    if spec.functions:
        yield f"functions are left out: {', '.join(name for name, _ in spec.functions)}"
