"""Solutions of an earlier run as the start of another one."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.errors import InputFileError, Problem
from henderson.results.solution_files import places, read_effects, solution_file
from henderson.results.solution_tables import labels_to_arrow
from henderson.solvers.solutions import printed_positions

log = logging.getLogger(__name__)


def start_files(out: Path) -> list[Path]:
    """Return the files that the solutions in a folder of results are in. Raises `InputFileError` if there are none."""
    path = solution_file(out)
    return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())


def start_values(design: Design, out: Path) -> list[NDArray[np.float64]]:
    """Return the solutions in a folder of results as one array (n_levels, width) per group, matched by name and id.

    What the earlier run did not have starts at zero. Raises `InputFileError` if it shares no level with this one.
    """
    effects = read_effects(out)
    values = [np.zeros((g.n_levels, g.width)) for g in design.groups]
    found, of = 0, 0
    for g, k in printed_positions(design):
        group = design.groups[g]
        position = group.positions[k]
        assert position is not None
        of += group.n_levels
        effect = effects.get((position.factor, position.subfactor))
        if effect is None:
            continue
        at = places(effect.levels, labels_to_arrow(group.labels))
        known = at >= 0
        values[g][known, k] = effect.value[at[known]]
        found += int(known.sum())
    if not found:
        message = "none of its solutions belongs to a level of this model"
        remedy = "name the --out folder of an earlier run of this model, or leave --start out"
        raise InputFileError(Problem(message, file=str(solution_file(out)), remedy=remedy))
    log.info("%d of %d solutions start from those in %s", found, of, out)
    return values
