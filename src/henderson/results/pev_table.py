"""Prediction error variances and covariances of chosen levels: ``pev.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from henderson.accuracy.pev_columns import Blocks
from henderson.equations.model import Design
from henderson.results.files import replacing


def write_pev(design: Design, blocks: Sequence[Blocks], labels: Sequence[Sequence[str]], out: Path) -> Path:
    """Return the path of ``pev.csv``: factor, level, two sub-factors, and their prediction error covariance there.

    The block of a level is its lower triangle, row by row; of two different sub-factors it is their covariance.
    Equations that are left out have no rows. `labels` are those of the levels of each block.
    """
    path = out / "pev.csv"
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("factor", "level", "subfactor", "with", "value"))
        for block, names in zip(blocks, labels, strict=True):
            group = design.groups[block.chosen.group]
            positions = [p for k in block.chosen.positions if (p := group.positions[k]) is not None]
            for level, values in zip(names, block.values.tolist(), strict=True):
                for i, row in enumerate(positions):
                    for j, column in enumerate(positions[: i + 1]):
                        if values[i][j] == values[i][j]:
                            writer.writerow((row.factor, level, row.subfactor, column.subfactor, repr(values[i][j])))
    return path
