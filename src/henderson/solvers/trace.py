"""The steps of conjugate gradients one by one, as lmt's history of convergence has them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """One iteration: lengths of its step and of the next direction's old part, r'M^-1 r after it, criteria, seconds.

    change: ||x_i - x_(i-1)|| / ||x_(i-1)||, of lmt's CD; residual: ||b - C x_i|| / ||b||, of its CR. What a method
    does not tell is NaN.
    """

    alpha: float
    beta: float
    product: float
    change: float
    residual: float
    seconds: float


@dataclass
class Trace:
    """The steps of a solve; of a resumed one those since it went on."""

    steps: list[Step] = field(default_factory=list)
    _last: float = field(default_factory=time.perf_counter)

    def add(self, alpha: float, rz_before: float, rz: float, change: float, residual: float) -> None:
        """Keep a step: r'M^-1 r before and after it."""
        now = time.perf_counter()
        beta = rz / rz_before if rz_before else math.nan
        self.steps.append(Step(alpha, beta, rz, change, residual, now - self._last))
        self._last = now
