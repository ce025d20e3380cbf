"""Which class equations all partitions solve for together: small fixed groups, and levels that partitions share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.equations.border import small_groups
from henderson.equations.operator import Operator

SHARED_LIMIT = 2000  # equations of shared levels: a solve with the classes of a partition for each that it has
Rows = NDArray[np.int32]


def border_places(operator: Operator, classes: frozenset[int], limit: int) -> tuple[list[Rows], int]:
    """Return the row in the border of each local element, per partition, and how many rows there are. **Collective**.

    Rows are -1 outside the border and where equations are left out of X; ghosts have those of their owners. The border
    has small fixed groups, `limit` equations in all, and of other classes the levels that are ghosts anywhere: all of
    such a group, or none if there are too many. Cost: 8 bytes a level of the classes, 4 a local element.
    """
    design = operator.design
    small = small_groups(design, limit)
    first: dict[int, NDArray[np.int64]] = {}
    n, room = 0, SHARED_LIMIT
    for g in sorted(classes):
        group = design.groups[g]
        levels = np.arange(group.n_levels) if g in small else _shared(operator, g, room // group.width)
        room -= 0 if g in small else len(levels) * group.width
        first[g] = np.full(group.n_levels, -1, np.int64)
        first[g][levels] = n + np.arange(len(levels)) * group.width
        n += len(levels) * group.width

    def part(p: int) -> Rows:
        layout = operator.partitions[p].layout
        place = np.full(layout.n_local, -1, np.int32)
        for g, rows in first.items():
            local, kept = layout.groups[g], design.kept[g]
            for begin, levels in ((local.first_owned, local.owned_levels()), (local.first_ghost, local.ghosts)):
                at = np.flatnonzero(rows[levels] >= 0)
                row = rows[levels[at], None] + np.arange(local.width)
                if kept is not None:
                    row[~kept[levels[at]]] = -1
                place[begin + at[:, None] * local.width + np.arange(local.width)] = row
        return place

    return operator.team.run(part, operator.n_partitions), n


def _shared(operator: Operator, g: int, most: int) -> NDArray[np.int64]:
    """Return the levels of a group that are ghosts anywhere, none if they are more than `most`. **Collective**."""
    marks = [np.zeros(operator.design.groups[g].n_levels) for _ in operator.partitions]
    for partition, mine in zip(operator.partitions, marks, strict=True):
        mine[partition.layout.groups[g].ghosts] = 1.0
    levels = np.flatnonzero(operator.exchange.sum_arrays(marks))
    return levels if len(levels) <= most else levels[:0]
