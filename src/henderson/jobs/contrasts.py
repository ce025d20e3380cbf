"""How far predictions from the earlier data may differ from those from all, by the model itself.

Of a linear function k'u of the random effects Var(k'u_p - k'u_w) = k' C_p^-1 k - k' C_w^-1 k, as cov(u_p, u_w) =
var(u_p) (Henderson 1975; Legarra & Reverter 2018): also what families have in common counts, which no resampling of
them shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from henderson.accuracy.pev_columns import solve_all
from henderson.equations.columns import ColumnOperator
from henderson.jobs.run import Settings, understand
from henderson.results.solution_files import places
from henderson.results.solution_tables import labels_to_arrow
from henderson.solvers.indices import indices_of
from henderson.solvers.solutions import printed_positions
from henderson.solvers.solve import Equations
from henderson.store.reader import open_store

Floats = NDArray[np.float64]
Key = tuple[str, str]  # factor, sub-factor

RTOL = 1e-5  # relative errors of the variances are about its square
MAX_IT = 5000


def contrast_variances(
    file: Path, settings: Settings, contrasts: Mapping[Key, tuple[pa.Array, Floats]]
) -> dict[Key, Floats]:
    """Return k'C^-1 k of the columns k of contrasts among levels, from the store of a run that is done.

    contrasts: by factor and sub-factor (or index) ids, and float64 (n_ids, n_columns). Cost: the equations are set up
    again, and solved for all columns side by side.
    """
    spec = settings.applied_to(understand(file, settings.jobs))
    data = open_store(settings.folders(file)[1])
    with Equations(spec, data, settings.threads) as equations:
        operator = equations.operator
        design = operator.design
        weights: dict[Key, tuple[int, Floats]] = {}
        for g, k in printed_positions(design):
            position = design.groups[g].positions[k]
            assert position is not None
            weights[position.factor, position.subfactor] = g, np.eye(design.groups[g].width)[k]
        weights |= {(i.factor, i.name): (i.group, i.weights) for i in indices_of(spec, design)}
        n_columns = sum(values.shape[1] for _, values in contrasts.values())
        columns = ColumnOperator(operator, n_columns)
        rhs = columns.zeros()
        start = 0
        for key, (ids, values) in contrasts.items():
            g, of = weights[key]
            group = design.groups[g]
            names = labels_to_arrow(group.labels.take(np.arange(group.n_levels)))
            of_level = np.zeros((group.n_levels, values.shape[1]))
            of_level[places(names, ids)] = values
            for partition, mine in zip(operator.partitions, rhs, strict=True):
                local = partition.layout.groups[g]
                block = of_level[local.owned_levels()][:, None, :] * of[:, None]
                rows = slice(local.first_owned, local.first_owned + local.n_owned * local.width)
                mine[rows, start : start + values.shape[1]] = block.reshape(-1, values.shape[1])
            start += values.shape[1]
        solved = solve_all(columns, equations.preconditioner(), rhs, RTOL, MAX_IT).solution
        total = np.zeros(n_columns)
        for b, x, owned in zip(rhs, solved, operator.n_owned, strict=True):
            total += np.einsum("ij,ij->j", b[:owned], x[:owned])
    found, start = {}, 0
    for key, (_, values) in contrasts.items():
        found[key] = total[start : start + values.shape[1]]
        start += values.shape[1]
    return found
