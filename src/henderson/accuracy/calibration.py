"""What approximate error variances lack, learnt from the exact ones of a few animals.

Messages between relatives take the errors of parents as independent but for what two parents have in common. Where all
animals descend from few, the level of a generation is known less than that: the difference is a smooth function of the
generation. So it is taken from animals spread evenly over generations, whose exact blocks come from solves of the
equations, as a straight line in the generation, element by element.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.chosen import Chosen
from henderson.accuracy.pev_columns import columns_for, solve_pev
from henderson.equations.operator import Operator
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.store.model_data import Pedigree

Floats = NDArray[np.float64]

ANIMALS = 24
SMALL = 200_000  # equations up to which animals are solved for unless the job says how many
COLUMNS = 16  # right-hand sides side by side
RTOL = 1e-2  # of the solves: variances have its square


@dataclass(frozen=True)
class Calibration:
    """What is added to the blocks of animals, in units of 1 + F.

    generation: float64 (n_animals,), less the mean of those solved for; lines: per group (2, width, width), constant
    and slope; n_animals: how many were solved for.
    """

    generation: Floats
    n_animals: int
    lines: Mapping[int, Floats]

    def of(self, group: int) -> Floats:
        """Return what is added to the block of each animal without inbreeding, (n_animals, width, width)."""
        constant, slope = self.lines[group]
        return np.asarray(constant + self.generation[:, None, None] * slope)


def calibrate(
    operator: Operator,
    preconditioner: BlockPreconditioner,
    pedigree: Pedigree,
    approximate: Mapping[int, Floats],
    scale: Floats,
    n_animals: int,
    memory: int | None = None,
) -> Calibration:
    """Return the lines that bring approximate blocks nearest to the exact ones of `n_animals` animals (least squares).

    approximate: per genetic group (n, width, width) of all animals; scale: their 1 + F; memory: bytes for the solves.
    Cost: a loose solve for each of the animals and positions, `COLUMNS` side by side if there is memory for them.

    Raises
    ------
    NotConvergedError
        A solve did not converge.

    """
    order = np.argsort(pedigree.generation, kind="stable")
    sample = np.sort(order[np.linspace(0, len(order) - 1, min(n_animals, len(order))).round().astype(np.int64)])
    generation = pedigree.generation - pedigree.generation[sample].mean()
    chosen = [Chosen(g, sample.astype(np.int64), tuple(range(a.shape[1]))) for g, a in approximate.items()]
    n_columns = COLUMNS if memory is None else min(COLUMNS, columns_for(operator, memory))
    report = solve_pev(operator, preconditioner, chosen, n_columns=n_columns, rtol=RTOL)
    X = np.column_stack([np.ones(len(sample)), generation[sample]])
    lines = {}
    for block in report.blocks:
        near = approximate[block.chosen.group][sample]
        off = np.nan_to_num((block.values - near) / scale[sample, None, None])
        found = np.linalg.lstsq(X, off.reshape(len(sample), -1), rcond=None)[0]
        lines[block.chosen.group] = found.reshape(2, *near.shape[1:])
    return Calibration(generation, len(sample), lines)
