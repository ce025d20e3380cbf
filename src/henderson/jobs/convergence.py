"""When an iteration will end, from how it has converged so far."""

from __future__ import annotations

import math

import numpy as np

LEAST = 8  # points from which something can be said
SLOWEST = 0.5  # of the mean rate so far: conjugate gradients stand still for a while, and then fall again


class Convergence:
    """The residuals of an iteration with their times."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._logs: list[float] = []
        self._times: list[float] = []

    def add(self, number: int, residual: float, seconds: float) -> None:
        """Take the residual after iteration `number`, which was known at `seconds`."""
        if 0.0 < residual < math.inf:
            self._numbers.append(number)
            self._logs.append(math.log(residual))
            self._times.append(seconds)

    def remaining(self, rtol: float) -> float | None:
        """Return the seconds until the residual is below `rtol`, None if that cannot be said.

        The lowest residual so far is taken as falling at the rate of the later half of the iterations, by least
        squares, and at no less than `SLOWEST` of the mean rate. Cost: the number of iterations.
        """
        if len(self._logs) < LEAST or not 0.0 < rtol < math.inf:
            return None
        lowest = np.minimum.accumulate(self._logs)
        half = slice(len(lowest) // 2, None)
        numbers = np.asarray(self._numbers[half], np.float64)
        slope = float(np.polyfit(numbers - numbers[0], lowest[half], 1)[0])
        left = float(lowest[-1]) - math.log(rtol)
        if left <= 0.0:
            return 0.0
        mean = float(lowest[-1] - lowest[0]) / max(1, self._numbers[-1] - self._numbers[0])
        slope = min(slope, SLOWEST * mean)
        if not slope < 0.0:
            return None
        pace = (self._times[-1] - self._times[half][0]) / max(1.0, float(numbers[-1] - numbers[0]))
        return left / -slope * pace
