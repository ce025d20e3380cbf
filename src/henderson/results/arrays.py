"""Solutions of a factor as labelled arrays: level by effect by trait, for xarray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from henderson.errors import UsageError

if TYPE_CHECKING:
    import xarray

DIMS = ("effect", "trait")


def cells_of(model: Mapping[str, Any], subfactors: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the sub-factor in each (effect, trait), of those given as they are printed.

    The effect is what a solution is a coefficient of: a class column (``mean`` if there is none), a covariate, or
    ``covariate.k`` for its polynomial k; an index is an effect of its own, of trait ``""``. `model`: as in `run.json`.
    """
    cells: dict[tuple[str, str], str] = {}
    wanted = set(subfactors)
    for equation in model["equations"]:
        trait, seen = equation["trait"], set()
        for term in equation["terms"]:
            numbers = term["polynomials"]
            names = [f"{term['subfactor']}_{k}" for k in numbers] or [term["subfactor"]]
            labels = [f"{term['variable']}.{k}" for k in numbers] or [_label(term)]
            for name, label in zip(names, labels, strict=True):
                if name in wanted and name not in seen:
                    seen.add(name)
                    label = label if (label, trait) not in cells else f"{label}:{name}"
                    cells[label, trait] = name
    for name in subfactors:
        if name not in cells.values():
            cells[name, ""] = name
    return cells


def _label(term: Mapping[str, Any]) -> str:
    where = "".join(f"[{column}={level}]" for column, level in term["where"])
    return ("mean" if term["variable"] == "1" else str(term["variable"])) + where


def relation_of(model: Mapping[str, Any], factor: str) -> str:
    """Return the name of the dimension of the levels of a factor: ``animal`` if a pedigree relates them."""
    kinds = {v["name"]: v["gamma"]["kind"] for v in model["variances"]}
    return "animal" if kinds.get(factor) == "pedigree" else "level"


def dataset(
    model: Mapping[str, Any],
    factor: str,
    columns: Mapping[str, Mapping[str, Any]],
    levels: Sequence[str] | None,
) -> xarray.Dataset:
    """Return the solutions of a factor with dimensions (animal or level, effect, trait), NaN where there is no effect.

    columns: by variable (``value``, ...) and sub-factor an array (n,), or what is indexed like one; levels: their
    names, None: no coordinate.
    """
    from xarray import Dataset

    from henderson.results.lazy_grid import grid_variable

    names = list(columns["value"])
    cells = cells_of(model, names)
    effects, traits = (list(dict.fromkeys(cell[k] for cell in cells)) for k in (0, 1))
    grid = [[cells.get((e, t)) for t in traits] for e in effects]
    dims = (relation_of(model, factor), *DIMS)
    coordinates: dict[str, Any] = {
        "effect": effects,
        "trait": traits,
        "subfactor": (DIMS, np.array([[name or "" for name in row] for row in grid])),
    }
    if levels is not None:
        coordinates[dims[0]] = np.asarray(levels, object)
    variables = {
        name: grid_variable(dims, [[of.get(cell) if cell else None for cell in row] for row in grid])
        for name, of in columns.items()
    }
    return Dataset(variables, coordinates, {"factor": factor})


def require_xarray() -> None:
    """Raise `UsageError` with the remedy if xarray is not there."""
    try:
        import xarray  # noqa: F401
    except ImportError:
        raise UsageError("xarray is not installed: pip install 'henderson[xarray]', or use to_pandas()") from None
