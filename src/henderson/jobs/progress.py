"""Who is told how far a run has come."""

from __future__ import annotations

import math
from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # stage, done, all


def of_stage(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """Return what tells `progress` how much of one stage is done."""
    return lambda done, total: progress(stage, done, total)


def solve_progress(progress: Progress | None, rtol: float) -> Callable[[int, float], None]:
    """Return what shows iterations as the share of the way to `rtol`, in logarithms."""

    def show(_: int, residual: float) -> None:
        if progress is not None and residual > 0:
            share = min(1.0, max(0.0, math.log(residual) / math.log(rtol)))
            progress("solve", int(1000 * share), 1000)

    return show
