"""A model written as a TOML parameter file, which reads as the same `ModelSpec`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import zip_longest

from henderson.errors import ModelError, Problem
from henderson.language.jobs import ALIASES
from henderson.language.printing import print_equations
from henderson.language.spec import (
    RESIDUAL,
    GammaSpec,
    IndexSpec,
    JobSpec,
    Matrix,
    MatrixSpec,
    ModelSpec,
    Option,
    PedigreeSpec,
    VarianceSpec,
)

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
WIDTH = 100


def write_toml(spec: ModelSpec, comments: Sequence[str] = ()) -> str:
    """Return the text of a TOML parameter file, `comments` (lines) on top of it.

    Raises
    ------
    ModelError
        The model came from an lmt XML and has what TOML cannot say (relationships built from markers), or from formulas
        with names that equations cannot say.

    """
    if problems := [Problem(m, str(spec.source) if spec.source else None) for m in _unsayable(spec)]:
        raise ModelError(problems)
    head = [f"# {line}".rstrip() for comment in comments for line in comment.splitlines()]
    blocks = [head, _data(spec), *map(_pedigree, spec.pedigrees), *map(_matrix, spec.matrices), _model(spec)]
    blocks += [_variance(v) for v in spec.variances]
    validation = [] if spec.validation is None else ["[validation]", *_given(spec.validation)]
    blocks += [_jobs(spec), _functions(spec), _checks(spec), validation, *map(_index, spec.indices)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _unsayable(spec: ModelSpec) -> Iterator[str]:
    if spec.data.cutoff is not None:
        yield "[data]: TOML does not leave out later records; `henderson validate` does"
    for v in spec.variances:
        if v.gamma.kind in ("H", "G"):
            yield f"variance {v.name!r}: TOML has no gamma of kind {v.gamma.kind}; build the matrix and name its file"
        if v.type is not None or v.options:
            yield f"variance {v.name!r}: TOML has no type {v.type!r}"


def key(name: str) -> str:
    """Return a key of TOML, in quotes if it must be."""
    return name if _BARE.fullmatch(name) else text(name)


def text(value: str) -> str:
    """Return a text of TOML on one line."""
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_CONTROL.sub(_escape, plain)}"'


def long_text(value: str) -> str:
    """Return a text of TOML whose lines stand on lines of their own."""
    plain = value.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    lines = (_wrap(_CONTROL.sub(_escape, line)) for line in plain.split("\n"))
    return '"""\n' + "\n".join(lines) + '\n"""'


def _wrap(line: str) -> str:
    """Return a long line in several; a backslash at the end of a line takes the blanks after it, so TOML joins them."""
    lines = [""]
    for number, part in enumerate(line.split(" + ")):
        if number and len(lines[-1]) + len(part) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append(f"    + {part}")
        else:
            lines[-1] += f" + {part}" if number else part
    return "\n".join(lines)


def _escape(match: re.Match[str]) -> str:
    return _SHORT.get(match[0], f"\\u{ord(match[0]):04x}")


def number(value: float) -> str:
    """Return a number as short as it reads back the same."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15 and str(value) != "-0.0"):
        return str(int(value))
    return repr(value)


def matrix(rows: Matrix) -> str:
    """Return a matrix, its columns one below the other."""
    cells = [[number(v) for v in row] for row in rows]
    if len(cells) == 1:
        return f"[[{', '.join(cells[0])}]]"
    return "[\n" + "".join(f"  [{line}],\n" for line in aligned(cells)) + "]"


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of texts as lines, columns one below the other."""
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    return [", ".join(c.rjust(w) for c, w in zip(row, widths, strict=False)) for row in cells]


def value(option: Option) -> str:
    """Return a single value, or a list of them."""
    if isinstance(option, bool):
        return "true" if option else "false"
    if isinstance(option, str):
        return text(option)
    if isinstance(option, tuple):
        return f"[{', '.join(map(value, option))}]"
    return number(option)


def _data(spec: ModelSpec) -> list[str]:
    records = spec.data.records
    lines = ["[data]", f"records = {value(records[0] if len(records) == 1 else records)}"]
    lines += _given(spec.data, "records", "checks", "cutoff")
    return lines


def _checks(spec: ModelSpec) -> list[str]:
    checks = spec.data.checks
    if checks is None:
        return []
    lines = ["[checks]", *_given(checks, "range", "outliers", "smallest")]
    for name, entries in (
        ("range", [(c, value((low, high))) for c, low, high in checks.range]),
        ("outliers", [(c, number(k)) for c, k in checks.outliers]),
        ("smallest", [(c, number(n)) for c, n in checks.smallest]),
    ):
        if entries:
            lines.append(f"{name} = {{ {', '.join(f'{key(c)} = {text}' for c, text in entries)} }}")
    return lines


def _given(part: object, *other: str) -> list[str]:
    """Return the fields of a dataclass that differ from their default, a line each, without those named."""
    lines = []
    for f in fields(part):  # type: ignore[arg-type]
        option = getattr(part, f.name)
        if f.name not in other and option != f.default:
            lines.append(f"{f.name} = {value(option)}")
    return lines


def _pedigree(pedigree: PedigreeSpec) -> list[str]:
    lines = [f"[pedigree.{key(pedigree.name)}]", *_given(pedigree, "name", "metamatrix")]
    if pedigree.metamatrix is not None:
        lines.append(f"metamatrix = {matrix(pedigree.metamatrix)}")
    return lines


def _matrix(spec: MatrixSpec) -> list[str]:
    return [f"[matrix.{key(spec.name)}]", *_given(spec, "name")]


def _model(spec: ModelSpec) -> list[str]:
    lines = ["[model]", f"equations = {long_text(print_equations(spec))}"]
    if spec.polynomials:
        lines.append(f"polynomials = {value(spec.polynomials)}")
    return lines


def _variance(variance: VarianceSpec) -> list[str]:
    title = f"[variance.{key(variance.name)}]"
    lines = []
    if variance.sigma is not None:
        lines.append(f"sigma = {matrix(variance.sigma)}")
    if variance.blocks is not None:
        inner = ", ".join(_given(variance.blocks))
        lines.append(f"sigmas = {{ {inner} }}")
    if variance.structure != "us":
        lines.append(f"structure = {text(variance.structure)}")
    lines += _gamma(variance.gamma)
    if variance.fix is not None:
        lines.append(f"fix = {value(variance.fix)}")  # type: ignore[arg-type]
    if variance.rank is not None:
        lines.append(f"rank = {variance.rank}")
    if variance.equal:
        groups = (tuple(f"{i},{j}" for i, j in group) for group in variance.equal)
        lines.append(f"equal = {value(tuple(groups))}")  # type: ignore[arg-type]
    if variance.by is not None:
        lines.append(f"by = {text(variance.by)}")
    if variance.classes:
        lines += ["", f"[variance.{key(variance.name)}.classes]"]
        lines += [f"{key(level)} = {matrix(sigma)}" for level, sigma in variance.classes]
    return [title, *lines] if lines or variance.name != RESIDUAL else []


def _gamma(gamma: GammaSpec) -> list[str]:
    if gamma.kind == "pedigree":
        return [f"gamma = {{ A = {{ pedigree = {text(gamma.name or '')} }} }}"]
    if gamma.kind == "matrix":
        return [f"gamma = {{ matrix = {text(gamma.name or '')} }}"]
    return []


def _jobs(spec: ModelSpec) -> list[str]:
    jobs = spec.jobs
    if tuple(jobs) == (JobSpec("solve"),) and not spec.lmt_files:
        return []
    lines, solvers = ["[jobs]", f"run = {value(tuple(name for name, _ in grouped(jobs)))}"], []
    lines += ["lmt_files = true"] if spec.lmt_files else []
    for name, same in grouped(jobs):
        if len(same) > 1:  # a solve by several solvers, one after the other
            names = [f"{name}_{number}" for number in range(1, len(same) + 1)]
            for solver, job in zip(names, same, strict=True):
                solvers += ["", f"[solvers.{solver}]", *(f"{key(k)} = {value(option)}" for k, option in job.options)]
            lines.append(f"{key(name)} = {{ solver = {value(tuple(names))} }}")
        elif same[0].options:
            options = ", ".join(f"{key(k)} = {value(option)}" for k, option in same[0].options)
            lines.append(f"{key(name)} = {{ {options} }}")
    return [*lines, *solvers]


def grouped(jobs: Sequence[JobSpec]) -> list[tuple[str, list[JobSpec]]]:
    """Return the jobs by name, in order: several solves together, a second job of another kind under its alias."""
    found: dict[str, list[JobSpec]] = {}
    for job in jobs:
        of_kind = {alias: set(implied.items()) for alias, (kind, implied) in ALIASES.items() if kind == job.name}
        aliases = [alias for alias, implied in of_kind.items() if implied <= set(job.options)]
        free = [name for name in (job.name, *aliases) if name not in found]
        found.setdefault(free[0] if free and job.name != "solve" else job.name, []).append(job)
    return list(found.items())


def _functions(spec: ModelSpec) -> list[str]:
    if not spec.functions:
        return []
    return ["[functions]", *(f"{key(name)} = {text(function)}" for name, function in spec.functions)]


def _index(index: IndexSpec) -> list[str]:
    weights = (f"{key(name)} = {number(weight)}" for name, weight in index.weights)
    return [f"[index.{key(index.name)}.weights]", *weights]
