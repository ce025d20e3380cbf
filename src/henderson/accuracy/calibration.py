"""What approximate error variances lack, learnt from the exact ones of a few animals.

Messages between relatives take the errors of parents as independent but for what two parents have in common. Where all
animals descend from few, the level of a generation is known less than that: the difference is a smooth function of the
generation. So it is taken from animals spread evenly over generations, whose exact blocks come from solves of the
equations, as a straight line in the generation, element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.chosen import Chosen
from henderson.accuracy.pev_columns import columns_for, solve_pev
from henderson.equations.operator import Operator
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]

ANIMALS = 24
SMALL = 200_000  # equations up to which animals are solved for unless the job says how many
COLUMNS = 16  # right-hand sides side by side
RTOL = 1e-2  # of the solves: variances have its square
LEAST = 1e-6  # of the variance without data: what is left of an error variance


@dataclass(frozen=True)
class Calibration:
    """What is added to the packed blocks of animals, in units of 1 + F.

    generation: float64 (n_animals,), less the mean of those solved for; n_exact: how many these were; lines: by packed
    element constant and slope.
    """

    generation: Floats
    n_exact: int
    lines: Mapping[int, tuple[float, float]]

    def add_to(self, blocks: Floats, scale: Floats, sigma: Floats) -> None:
        """Add it to the packed blocks of all animals, each variance kept between nothing and that without any data.

        scale: 1 + F, (n_animals,); sigma: variances of the positions of a breeding value, which come first in a block.
        """
        for k, (constant, slope) in self.lines.items():
            blocks[:, k] += scale * (constant + slope * self.generation)
        for t, variance in enumerate(sigma):
            k, prior = t * (t + 3) // 2, scale * variance
            blocks[:, k] = np.clip(blocks[:, k], LEAST * prior, prior)


def calibrate(
    generation: NDArray[np.int32],
    scale: Floats,
    approximate: Callable[[NDArray[np.int64]], Floats],
    elements: Mapping[int, NDArray[np.int64]],
    operator: Operator,
    preconditioner: BlockPreconditioner,
    n_exact: int,
    memory: int | None = None,
) -> Calibration:
    """Return the lines that bring approximate blocks nearest to the exact ones of `n_exact` animals (least squares).

    scale: 1 + F of all animals; approximate: returns packed blocks of some; elements: per genetic group where the lower
    triangle of its block lies in them; memory: bytes for the solves. Cost: a loose solve for each of the animals and
    positions, `COLUMNS` side by side if there is memory for them.

    Raises
    ------
    NotConvergedError
        A solve did not converge.

    """
    order = np.argsort(generation, kind="stable")
    sample = np.sort(order[np.linspace(0, len(order) - 1, min(n_exact, len(order))).round().astype(np.int64)])
    centred = generation - generation[sample].mean()
    chosen = [Chosen(g, sample, tuple(range(operator.design.groups[g].width))) for g in elements]
    n_columns = COLUMNS if memory is None else min(COLUMNS, columns_for(operator, memory))
    report = solve_pev(operator, preconditioner, chosen, n_columns=n_columns, rtol=RTOL)
    near = approximate(sample)
    X = np.column_stack([np.ones(len(sample)), centred[sample]])
    lines: dict[int, tuple[float, float]] = {}
    for block, columns in zip(report.blocks, elements.values(), strict=True):
        t, u = np.tril_indices(block.values.shape[1])
        off = (block.values[:, t, u] - near[:, columns]) / scale[sample, None]
        constants, slopes = np.linalg.lstsq(X, off, rcond=None)[0].tolist()
        lines |= dict(zip(columns.tolist(), zip(constants, slopes, strict=True), strict=True))
    return Calibration(centred, len(sample), lines)
