"""Equations printed from a model, in the language from which they were parsed."""

from __future__ import annotations

import re

from henderson.errors import ModelError
from henderson.language.spec import ONE, ModelSpec, SubFactor, Term

_PLAIN = re.compile(r"[^\W\d][\w.]*")


def print_equations(spec: ModelSpec) -> str:
    """Return the equations, one a line, that parse to the same terms and sub-factors.

    Raises
    ------
    ModelError
        The model came from formulas and has what equations cannot say: a name or level with a backtick, a # or a line
        break in it.

    """
    subfactors = {s.name: s for s in spec.subfactors}
    lines = []
    for equation in spec.equations:
        pairs = [(t, subfactors[t.subfactor]) for t in equation.terms]
        lines.append(f"{_name(equation.trait)} = {' + '.join(f'{_variable(t, s)}*{_subfactor(s)}' for t, s in pairs)}")
    return "\n".join(lines)


def _name(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    if not name.strip() or set("`#\n") & set(name):
        raise ModelError(f"{name!r} cannot be written in an equation")
    return f"`{name}`"


def _subfactor(s: SubFactor) -> str:
    if s.variance is None:
        return _name(s.name)
    return f"{_name(s.name)}(v({_name(s.variance)}({','.join(map(str, s.positions))})))"


def _level(level: str) -> str:
    return level if level.isdecimal() else _name(level)


def _variable(term: Term, subfactor: SubFactor) -> str:
    name = term.variable if term.variable == ONE else _name(term.variable)
    where = ",".join(f"{_name(column)}={_level(level)}" for column, level in term.where)
    parts = [_kind(term, subfactor), f"w({where})" if where else ""]
    inner = ";".join(part for part in parts if part)
    return f"{name}({inner})" if inner else name


def _kind(term: Term, subfactor: SubFactor) -> str:
    if term.kind == "class":
        return ""
    if term.kind == "group":
        return f"t(gg({_name(term.pedigree or '')}))"
    items = [
        "t(i)" if term.integer else "",
        f"p({','.join(map(str, term.polynomials))})" if term.polynomials else "",
        f"n({_name(term.nested_in)})" if term.nested_in else "",
        "" if term.centred or subfactor.variance is not None else "c(n)",
    ]
    inner = ";".join(item for item in items if item)
    return f"t(co({inner}))" if inner else "t(co)"
