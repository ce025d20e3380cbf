"""The model of a parameter file as it was understood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.jobs.write import equations_text
from henderson.language.load import load_model
from henderson.language.spec import RESIDUAL, ModelSpec, VarianceSpec
from henderson.language.support import unsupported
from henderson.results.run_record import effective_config


@dataclass(frozen=True)
class Description:
    """A model in words: its equations, one row per factor (name, levels, Sigma, sub-factors), notes."""

    equations: str
    factors: tuple[tuple[str, str, str, str], ...]
    notes: tuple[str, ...]
    config: dict[str, Any]


def describe_model(file: Path) -> Description:
    """Return the description of a parameter file; raises `ModelError` for its mistakes, all at once."""
    spec = load_model(file, read_schema, read_levels)
    notes = [f"not computed by this version: {p.message}" for p in unsupported(spec)]
    return Description(equations_text(spec), tuple(_factors(spec)), tuple(notes), effective_config(spec, {}))


def _factors(spec: ModelSpec) -> list[tuple[str, str, str, str]]:
    kinds = {t.subfactor: t.kind for e in spec.equations for t in e.terms}
    fixed = [s.name for s in spec.subfactors if s.variance is None]
    rows = [
        (name, "fixed", "", ", ".join(s for s in fixed if (kinds[s] == "class") == (name == "fxcl")))
        for name in ("fxcl", "fxco")
    ]
    rows = [row for row in rows if row[3]]
    for variance in spec.variances:
        if variance.name == RESIDUAL:
            rows.append((RESIDUAL, "records", _size(variance), ", ".join(spec.traits)))
            continue
        mine = sorted((s for s in spec.subfactors if s.variance == variance.name), key=lambda s: s.positions)
        places = ", ".join(f"{s.name}({','.join(map(str, s.positions))})" for s in mine)
        gamma = variance.gamma
        related = gamma.kind if gamma.name is None else f"{gamma.kind} {gamma.name}"
        rows.append((variance.name, related, _size(variance), places))
    return rows


def _size(variance: VarianceSpec) -> str:
    if variance.sigma is None:
        return f"{variance.structure}, not given"
    n = len(variance.sigma)
    return f"{variance.structure} {n} x {n}"
