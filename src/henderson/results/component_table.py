"""The variance components of a fit as rows of a table, named as ASReml-R names them."""

from __future__ import annotations

from dataclasses import dataclass

from henderson.language.spec import RESIDUAL, ModelSpec
from henderson.reml.result import Parameter, RemlFit

CODES = {"fixed": "F", "boundary": "B", "equal": "C", "not estimable": "N"}
LEGEND = {
    "P": "positive",
    "U": "unconstrained",
    "B": "at the boundary",
    "F": "fixed",
    "C": "equal to another",
    "N": "not estimable: the records hold no information on it",
}


@dataclass(frozen=True)
class Component:
    """One row: std_error and z_ratio are None where withheld; constraint is P, U, B, F, C or N (`LEGEND`)."""

    name: str
    value: float
    std_error: float | None
    z_ratio: float | None
    constraint: str


def components(fit: RemlFit) -> list[Component]:
    """Return the components in the order of the variances, the residual last."""
    return [
        Component(component_name(p, fit), p.value, p.se, p.z_ratio, _code(p))
        for p in sorted(fit.parameters, key=lambda p: p.variance == RESIDUAL)
    ]


def component_name(p: Parameter, fit: RemlFit) -> str:
    """Return ``Block``, ``Family!bden:bden``, ``Family!veloc:bden.cor``, ``units!R``, ``sex_F!R``."""
    by = fit.spec.residual.by
    stem = p.variance if p.variance != RESIDUAL else "units" if by is None else f"{by}_{p.label}"
    names = position_names(fit.spec, p.variance)
    structure = fit.spec.variance(p.variance).structure
    if len(names) == 1:
        return f"{stem}!R" if p.variance == RESIDUAL else stem
    if structure == "id":
        return f"{stem}!R" if p.variance == RESIDUAL else stem
    if structure == "cs":
        return f"{stem}!{'var' if p.row == p.col else 'cov'}"
    row, column = names[p.row - 1], names[p.col - 1]
    if p.kind == "correlation":
        return f"{stem}!{row}:{column}.cor"
    return f"{stem}!{row}" if structure in ("diag", "corgh") else f"{stem}!{row}:{column}"


def position_names(spec: ModelSpec, variance: str) -> list[str]:
    """Return the names of the positions of a variance: traits, or sub-factors without the name of the variance."""
    if variance == RESIDUAL:
        return list(spec.traits)
    expansion = {t.subfactor: t.polynomials for e in spec.equations for t in e.terms}
    names: dict[int, str] = {}
    for s in spec.subfactors:
        if s.variance != variance:
            continue
        polynomials = expansion.get(s.name, ())
        for k, position in enumerate(s.positions):
            name = f"{s.name}_{polynomials[k]}" if polynomials and len(s.positions) > 1 else s.name
            names[position] = name.removeprefix(f"{variance}_")
    return [names[k] for k in sorted(names)]


def _code(p: Parameter) -> str:
    return CODES.get(p.constraint) or ("P" if p.kind == "variance" else "U")
