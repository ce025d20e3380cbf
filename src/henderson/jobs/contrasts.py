"""How far predictions from the earlier data may differ from those from all, by the model itself.

Of a linear function k'u of the random effects Var(k'u_p - k'u_w) = k' C_p^-1 k - k' C_w^-1 k, as cov(u_p, u_w) =
var(u_p) (Henderson 1975; Legarra & Reverter 2018), and u_w - u_p does not depend on u_p, so that k may: bias, trend,
the regression of u_w on u_p and method III are all linear in u_w - u_p. What families have in common counts, too, which
no resampling of them shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from henderson.accuracy.pev_columns import solve_all
from henderson.equations.columns import ColumnOperator
from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.jobs.run import Settings, understand
from henderson.language.spec import ModelSpec
from henderson.partitions.exchange import Vectors
from henderson.results.solution_files import places
from henderson.results.solution_tables import labels_to_arrow
from henderson.solvers.indices import indices_of, places_of
from henderson.solvers.solve import Equations
from henderson.store.reader import open_store

Floats = NDArray[np.float64]

RTOL = 1e-5  # relative errors of the variances are about its square
MAX_IT = 5000
SIDE_BY_SIDE = 16


@dataclass(frozen=True)
class Contrasts:
    """Linear functions of the levels of one sub-factor (or index): its names, ids, float64 (n_ids, n_functions)."""

    factor: str
    subfactor: str
    ids: pa.Array = field(repr=False)
    weights: Floats = field(repr=False)


def contrast_variances(file: Path, settings: Settings, contrasts: Sequence[Contrasts]) -> list[Floats]:
    """Return k'C^-1 k of each function k of each of `contrasts`, from the store of a run that is done.

    Cost: the equations are set up again, and solved for all functions, `SIDE_BY_SIDE` at a time.
    """
    spec = settings.applied_to(understand(file, settings.jobs))
    with Equations(spec, open_store(settings.folders(file)[1]), settings.threads) as equations:
        operator = equations.operator
        design = operator.design
        of = _coefficients(spec, design)
        wanted = [(n, k) for n, each in enumerate(contrasts) for k in range(each.weights.shape[1])]
        at = [_levels(design, of[c.factor, c.subfactor][0], c.ids) for c in contrasts]
        total = []
        for start in range(0, len(wanted), SIDE_BY_SIDE):
            batch = wanted[start : start + SIDE_BY_SIDE]
            columns = ColumnOperator(operator, len(batch))
            rhs = columns.zeros()
            for column, (n, k) in enumerate(batch):
                each = contrasts[n]
                group, position_weights = of[each.factor, each.subfactor]
                of_level = np.zeros(design.groups[group].n_levels)
                of_level[at[n]] = each.weights[:, k]
                _fill(operator, rhs, column, group, of_level, position_weights)
            solved = solve_all(columns, equations.preconditioner_for_many(), rhs, RTOL, MAX_IT).solution
            parts = zip(rhs, solved, operator.n_owned, strict=True)
            total += sum(np.einsum("ij,ij->j", b[:m], x[:m]) for b, x, m in parts).tolist()
    found = iter(total)
    return [np.array([next(found) for _ in range(each.weights.shape[1])]) for each in contrasts]


def _coefficients(spec: ModelSpec, design: Design) -> dict[tuple[str, str], tuple[int, Floats]]:
    """Return the group of each sub-factor and index, and the weights of its positions."""
    found = {(i.factor, i.name): (i.group, i.weights) for i in indices_of(spec, design)}
    for names, (g, k) in places_of(design).items():
        found[names] = g, np.eye(design.groups[g].width)[k]
    return found


def _levels(design: Design, g: int, ids: pa.Array) -> NDArray[np.int64]:
    labels = design.groups[g].labels
    return places(labels_to_arrow(labels.take(np.arange(len(labels)))), ids)


def _fill(operator: Operator, rhs: Vectors, column: int, g: int, of_level: Floats, weights: Floats) -> None:
    """Set a column to the products of values by level and weights by position, over the owned elements of a group."""
    for partition, mine in zip(operator.partitions, rhs, strict=True):
        local = partition.layout.groups[g]
        mine[local.elements, column] = np.outer(of_level[local.owned_levels()], weights).ravel()
