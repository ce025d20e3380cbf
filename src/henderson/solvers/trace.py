"""The steps of conjugate gradients one by one, as lmt's history of convergence has them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace


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


@dataclass
class WatchedTrace(Trace):
    """The steps of an iteration that runs elsewhere and is seen by its products, preconditionings and tests alone."""

    _rz: float = math.nan
    _alpha: float = math.nan
    _open: bool = False  # the last step waits for its r'M^-1 r

    def preconditioned(self, rz: float) -> None:
        """Take r'M^-1 r: it belongs to the last step, and the next begins from it."""
        if self._open:
            last = self.steps[-1]
            self.steps[-1] = replace(last, beta=rz / self._rz if self._rz else math.nan, product=rz)
            self._open = False
        self._rz = rz

    def multiplied(self, curvature: float) -> None:
        """Take p'C p of the next step."""
        self._alpha = self._rz / curvature if curvature else math.nan

    def tested(self, change: float, residual: float) -> None:
        """Take the criteria of a step."""
        self.add(self._alpha, math.nan, math.nan, change, residual)
        self._open = True
