"""When PETSc's iteration ends: as `solvers.pcg` ends, with checkpoints on the way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from henderson.partitions.exchange import Exchange
from henderson.solvers.pcg import SURE, Callback
from henderson.solvers.petsc.library import PETSc
from henderson.solvers.trace import WatchedTrace

Floats = NDArray[np.float64]
Keep = Callable[[int, Floats], bool]

NEAR = 1e3  # times rtol: from here on the last solution is kept, to know the last step
SMALL = 1_000_000  # equations up to which it is always kept
Reason = PETSc.KSP.ConvergedReason


class ConvergenceTest:
    """The residual below rtol ||b|| and the last step below xtol ||x||, or a residual far below.

    PETSc solves C d = r for the rest r of the right-hand side that `base` leaves; the solution is base + d.

    Parameters
    ----------
    exchange
        For sums over the processes.
    norm_b
        ||b||.
    rtol, xtol, max_it
        As in `solvers.pcg`.
    n_global
        Equations of all processes.
    callback
        Called as callback(iteration, relative_residual) after each iteration.
    keep
        Called after each iteration with its number and the solution d; writes a checkpoint when it is time, and
        returns whether to stop.

    """

    def __init__(
        self,
        exchange: Exchange,
        norm_b: float,
        rtol: float,
        xtol: float,
        max_it: int,
        n_global: int,
        callback: Callback | None,
        keep: Keep,
    ) -> None:
        self._exchange, self._norm_b, self._rtol, self._max_it = exchange, norm_b, rtol, max_it
        self._xtol = xtol
        self._always = n_global <= SMALL
        self._callback, self._keep = callback, keep
        self._before: Floats | None = None
        self._base: Floats | None = None
        self.history: list[float] = []
        self.largest = 0.0
        self.interrupted = False
        self.small_step = False
        self.trace: WatchedTrace | None = None
        self.change = math.nan  # ||change|| / ||x|| of the last step that was looked at
        self._first = 0

    @property
    def iterations(self) -> int:
        """Return the number of iterations so far, restarts included."""
        return len(self.history) - 1

    def start(self, base: Floats | None) -> None:
        """Begin another cycle; `base` are the owned elements of the solution before it, None for zero."""
        self._base = base
        self._before = None
        self._first = self.iterations

    def __call__(self, ksp: PETSc.KSP, its: int, norm: float) -> int:
        """Return PETSc's reason to stop, or zero. **Collective**."""
        relative = norm / self._norm_b
        if its:
            known = self.iterations - self._first
            self.history.extend([relative] * max(1, its - known))  # some methods tell only every second norm
            if self._callback is not None:
                self._callback(self.iterations, relative)
        if not math.isfinite(norm):
            return int(Reason.DIVERGED_NANORINF)
        d = ksp.getSolution().getArray(readonly=True)
        if its:
            near = relative <= self._rtol
            self.small_step = (near or self.trace is not None) and self._step_is_small(d, relative)
            if self.trace is not None:
                self.trace.tested(self.change, relative)
            if near and self.small_step:
                return int(Reason.CONVERGED_RTOL)
        if self.iterations >= self._max_it:
            return int(Reason.DIVERGED_MAX_IT)
        if its and self._keep(self.iterations, d):
            self.interrupted = True
            return int(Reason.CONVERGED_ITS)
        if self._always or self.trace is not None or relative <= NEAR * self._rtol:
            if self._before is None:
                self._before = np.empty_like(d)
            self._before[:] = d
        return 0

    def _step_is_small(self, d: Floats, relative: float) -> bool:
        if self._before is None:
            return relative <= SURE * self._xtol
        change = d - self._before
        self.largest = float(np.abs(change).max(initial=0.0))
        x = self._before if self._base is None else self._before + self._base
        step, size = self._exchange.sum_arrays([np.array([change @ change, x @ x])])
        self.change = math.sqrt(step / size) if size > 0.0 else math.inf
        return self.change <= self._xtol or relative <= SURE * self._xtol
