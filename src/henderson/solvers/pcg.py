"""Preconditioned conjugate gradients on partitioned vectors (Hestenes & Stiefel 1952; Saad 2003, algorithm 9.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from henderson.kernels import vectors as kernels
from henderson.partitions.exchange import Exchange, Vectors
from henderson.partitions.threads import Team
from henderson.solvers.checkpoint import Checkpointing, State, fingerprint_of, require
from henderson.solvers.conjugation import Conjugation
from henderson.solvers.preconditioner import BlockPreconditioner, Preconditioner
from henderson.solvers.report import SolveReport, StopReason
from henderson.solvers.trace import Trace

RESTARTS = 5
SURE = 1e-4  # a residual this far below rtol is enough, whatever the last step was

Callback = Callable[[int, float], None]
Rhs = Vectors | Callable[[Vectors], Vectors]


class LinearOperator(Protocol):
    """What PCG needs of C: products, and where the owned elements of a local vector are."""

    team: Team
    exchange: Exchange
    n_partitions: int

    @property
    def n_owned(self) -> list[int]:
        """Return the number of owned elements per partition."""

    def zeros(self) -> Vectors:
        """Return a vector of zeros."""

    def apply(self, x: Vectors, out: Vectors) -> None:
        """Set `out` = C x."""


def pcg(
    operator: LinearOperator,
    preconditioner: Preconditioner,
    rhs: Rhs,
    *,
    rtol: float = 1e-8,
    xtol: float | None = None,
    max_it: int = 5000,
    x0: Vectors | None = None,
    callback: Callback | None = None,
    checkpointing: Checkpointing | None = None,
    trace: Trace | None = None,
) -> SolveReport[Vectors]:
    """Return the solution of C x = b with ||b - C x|| / ||b|| <= `rtol`, or the reason why it failed. **Collective**.

    Means of the responses make ||b|| large, and the residual of breeding values small beside it; so the last step has
    to be small too, ||change of x|| <= `xtol` ||x||, unless the residual is far below `xtol`. The residual of the
    recurrence drifts from the true one, so the latter is computed when the former has converged; if it is still above
    `rtol` the iteration restarts from it. Memory: four vectors, `rhs` if it is one, the directions of small problems
    (`solvers.conjugation`); each iteration reads or writes nine vectors, the preconditioner and what the product needs.

    Parameters
    ----------
    operator
        C, symmetric and positive definite.
    preconditioner
        M^-1, symmetric and positive definite.
    rhs
        b, left as it is; or what sets a vector to b and returns it, which is called whenever a true residual is
        computed: at the start, at every restart and at the end.
    rtol
        Relative to ||b||, on the norm (not its square); infinite: only the last step counts.
    xtol
        Relative to ||x||; None: `rtol`.
    max_it
        Products after which the iteration gives up.
    x0
        Where to start; it is overwritten and returned as the solution.
    callback
        Called as callback(iteration, relative_residual) after each iteration.
    checkpointing
        Where the state is kept from time to time; a solve that was cut off goes on from there, to the same bits.
    trace
        Gets every step.

    """
    xtol = rtol if xtol is None else xtol
    run = _Run(operator)
    q, r = operator.zeros(), operator.zeros()  # q is written most, and has to stay in memory (`partitions.scratch`)

    def right_hand_side() -> Vectors:
        return rhs(r) if callable(rhs) else rhs

    b = right_hand_side()
    norm_b = run.norm(b)
    x = operator.zeros() if x0 is None else x0
    if not math.isfinite(norm_b):
        return SolveReport(x, StopReason.NOT_FINITE, 0, math.inf)
    if norm_b == 0.0:
        return SolveReport(operator.zeros(), StopReason.RHS_ZERO, 0, 0.0)
    conjugation = Conjugation.of(operator.exchange, operator.n_owned)
    keeper = _Keeper(run, preconditioner, b, rtol, checkpointing, conjugation)
    p = operator.zeros()

    def true_residual() -> float:
        operator.apply(x, q)
        return run.subtract(right_hand_side(), q, r) / norm_b

    true = run.subtract(b, q, r) / norm_b if x0 is None else true_residual()
    norms = [true]
    largest = 0.0
    iterations = 0
    best = math.inf
    if (saved := keeper.load({"x": x, "r": r, "p": p})) is not None:
        rz, pp, xx, best = (saved.numbers[name] for name in ("rz", "pp", "xx", "best"))
        norms = list(saved.history)
        iterations = len(norms) - 1
    for _ in range(RESTARTS + 1):
        if saved is None:
            if not math.isfinite(true):
                return SolveReport(x, StopReason.NOT_FINITE, iterations, true, tuple(norms), largest)
            if true <= rtol and (iterations or math.isfinite(rtol)):
                reason = StopReason.CONVERGED if math.isfinite(rtol) else StopReason.SMALL_CHANGE
                return keeper.end(SolveReport(x, reason, iterations, true, tuple(norms), largest))
            if true > 0.5 * best:
                break
            best = true
            _, rz = preconditioner.descend(0.0, q, r, q)
            if conjugation is not None:
                conjugation.forget()
            pp, xx = run.advance(0.0, 0.0, q, p, x)  # p = M^-1 r
        saved = None
        while True:
            numbers = {"rz": rz, "pp": pp, "xx": xx, "best": best}
            if keeper.stops(iterations, {"x": x, "r": r, "p": p}, numbers, norms):
                return SolveReport(x, StopReason.INTERRUPTED, iterations, norms[-1], tuple(norms), largest)
            operator.apply(p, q)
            curvature = run.dot(p, q)
            if not (math.isfinite(curvature) and curvature > 0.0):
                reason = StopReason.BREAKDOWN if math.isfinite(curvature) else StopReason.NOT_FINITE
                return SolveReport(x, reason, iterations, true_residual(), tuple(norms), largest)
            alpha = rz / curvature
            if conjugation is not None:
                conjugation.remember(p, q)
            rr, rz_next = preconditioner.descend(alpha, q, r, q)
            iterations += 1
            norms.append(math.sqrt(rr) / norm_b)
            if callback is not None:
                callback(iterations, norms[-1])
            small_step = alpha * math.sqrt(pp) <= xtol * math.sqrt(xx) or norms[-1] <= SURE * xtol
            if trace is not None:
                change = alpha * math.sqrt(pp / xx) if xx > 0.0 else math.inf
                trace.add(alpha, rz, rz_next, change, norms[-1])
            if (norms[-1] <= rtol and small_step) or iterations >= max_it or not math.isfinite(rr):
                break
            if conjugation is not None:
                rz_next = conjugation.correct(r, q)
            pp, xx = run.advance(alpha, rz_next / rz, q, p, x)
            rz = rz_next
        largest = run.step(alpha, p, x)
        true = true_residual()
        if iterations >= max_it and not (true <= rtol and (small_step or math.isfinite(rtol))):
            reason = StopReason.MAX_ITERATIONS if math.isfinite(true) else StopReason.NOT_FINITE
            return SolveReport(x, reason, iterations, true, tuple(norms), largest)
    reason = StopReason.CONVERGED if true <= rtol else StopReason.STAGNATED
    return SolveReport(x, reason, iterations, true, tuple(norms), largest)


class _Keeper:
    """The checkpoints of one solve; does nothing without `checkpointing`."""

    def __init__(
        self,
        run: _Run,
        preconditioner: Preconditioner,
        rhs: Vectors,
        rtol: float,
        checkpointing: Checkpointing | None,
        conjugation: Conjugation | None,
    ) -> None:
        self._run, self._checkpointing, self._conjugation = run, checkpointing, conjugation
        if checkpointing is not None:
            blocks = preconditioner.arrays() if isinstance(preconditioner, BlockPreconditioner) else []
            of = [*run.owned(rhs), *blocks]
            self._fingerprint = fingerprint_of(of, checkpointing.communicator, method="pcg", rtol=rtol)

    def load(self, vectors: Mapping[str, Vectors]) -> State | None:
        """Fill `vectors` from the checkpoint and return it, if there is one. **Collective**."""
        if self._checkpointing is None or (state := self._checkpointing.load(self._fingerprint)) is None:
            return None
        for name, parts in vectors.items():
            for part, values in zip(self._run.owned(parts), state.arrays[name], strict=True):
                part[:] = values
        if self._conjugation is not None:
            self._conjugation.restore(state.arrays)
        return state

    def stops(
        self, iteration: int, vectors: Mapping[str, Vectors], numbers: Mapping[str, float], norms: Sequence[float]
    ) -> bool:
        """Write a checkpoint if it is time; return whether the solve is to stop. **Collective**."""
        if self._checkpointing is None:
            return False
        decision = self._checkpointing.decide(iteration)
        if decision.save:
            arrays = {name: self._run.owned(parts) for name, parts in vectors.items()}
            if self._conjugation is not None:
                arrays |= self._conjugation.arrays()
            saved = self._checkpointing.save(State(arrays, numbers, norms), self._fingerprint)
            if decision.stop:
                require(saved, self._checkpointing.folder)
        return decision.stop

    def end(self, report: SolveReport[Vectors]) -> SolveReport[Vectors]:
        """Return `report`, the checkpoint removed. **Collective**."""
        if self._checkpointing is not None:
            self._checkpointing.finished()
        return report


class _Run:
    """The vector passes, each over all partitions by the team."""

    def __init__(self, operator: LinearOperator) -> None:
        self._team, self._n, self._parts = operator.team, operator.n_owned, operator.n_partitions
        self._sum, self._sum_arrays = operator.exchange.sum, operator.exchange.sum_arrays

    def owned(self, a: Vectors) -> Vectors:
        return [part[:n] for part, n in zip(a, self._n, strict=True)]

    def dot(self, a: Vectors, b: Vectors) -> float:
        return self._sum(self._team.run(lambda i: kernels.dot(self._n[i], a[i], b[i]), self._parts))

    def norm(self, a: Vectors) -> float:
        return math.sqrt(self.dot(a, a))

    def subtract(self, b: Vectors, product: Vectors, r: Vectors) -> float:
        squares = self._team.run(lambda i: kernels.subtract(self._n[i], b[i], product[i], r[i]), self._parts)
        return math.sqrt(self._sum(squares))

    def advance(self, alpha: float, beta: float, z: Vectors, p: Vectors, x: Vectors) -> tuple[float, float]:
        pairs = self._team.run(lambda i: kernels.advance(self._n[i], alpha, beta, z[i], p[i], x[i]), self._parts)
        pp, xx = self._sum_arrays([np.array(pair) for pair in pairs]).tolist()
        return pp, xx

    def step(self, alpha: float, p: Vectors, x: Vectors) -> float:
        return max(self._team.run(lambda i: kernels.step(self._n[i], alpha, p[i], x[i]), self._parts))
