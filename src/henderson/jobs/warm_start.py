"""Solutions of an earlier run as the start of another one."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.errors import InputFileError, Problem
from henderson.partitions.agree import agreed
from henderson.partitions.communicator import Communicator
from henderson.results.solution_files import EffectReader, places, solution_file
from henderson.results.solution_tables import labels_to_arrow
from henderson.solvers.solutions import printed_positions
from henderson.solvers.start import Start

log = logging.getLogger(__name__)


def start_files(out: Path) -> list[Path]:
    """Return the files that the solutions in a folder of results are in. Raises `InputFileError` if there are none."""
    path = solution_file(out)
    return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())


def start_values(operator: Operator, out: Path, communicator: Communicator) -> Start:
    """Return the solutions in a folder of results that belong to this process, matched by name and id. **Collective**.

    Raises `InputFileError` if no process finds a level of its own.
    """
    start, *counts = agreed(communicator, lambda: _read(operator, out))
    found, of = np.sum(communicator.gather_all(counts), axis=0)
    if not found:
        message = "none of its solutions belongs to a level of this model"
        remedy = "name the --out folder of an earlier run of this model, or leave --start out"
        raise InputFileError(Problem(message, file=str(solution_file(out)), remedy=remedy))
    if communicator.rank == 0:
        log.info("%d of %d solutions start from those in %s", found, of, out)
    return start


def _read(operator: Operator, out: Path) -> tuple[Start, int, int]:
    """Return the solutions that there are, how many, and of how many; one sub-factor is in memory at a time."""
    reader, design = EffectReader(out), operator.design
    x = operator.zeros()
    known = [np.zeros(n, np.bool_) for n in operator.n_owned]
    here: list[NDArray[np.int64]] = []
    last, found, of = None, 0, 0
    for g, k in printed_positions(design):
        position, labels = design.groups[g].positions[k], design.groups[g].labels
        assert position is not None
        levels = [partition.layout.groups[g].owned_levels() for partition in operator.partitions]
        of += sum(map(len, levels))
        effect = reader.read(position.factor, position.subfactor)
        if effect is None:
            continue
        if last is None or last[0] != g or not effect.levels.equals(last[1]):
            here = [places(effect.levels, labels_to_arrow(labels.take(owned))) for owned in levels]
            last = (g, effect.levels)
        for p, (partition, rows) in enumerate(zip(operator.partitions, here, strict=True)):
            had, local = np.flatnonzero(rows >= 0), partition.layout.groups[g]
            at = local.first_owned + had * local.width + k
            x[p][at] = effect.value[rows[had]]
            known[p][at] = True
            found += len(had)
    return Start(x, known), found, of
