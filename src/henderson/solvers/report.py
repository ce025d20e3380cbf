"""How a solve ended: the solution cannot be had without the reason beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from henderson.solvers.volume import CommunicationVolume

S = TypeVar("S")


class StopReason(Enum):
    """Why a solver stopped; the value says what it means and, if it failed, what to do next."""

    CONVERGED = "converged: the true residual is below rtol"
    SMALL_CHANGE = "converged: the last change of the solutions is below xtol"
    DIRECT = "solved directly"
    RHS_ZERO = "the right-hand side is zero, so the solution is"
    MAX_ITERATIONS = "not converged within max_it iterations: raise max_it, or look at the model's smallest variances"
    STAGNATED = "rounding keeps the residual above rtol: raise rtol, or rescale covariates and variances"
    BREAKDOWN = "the equations are not positive definite: check the variances and the relationship matrices"
    INTERRUPTED = "told to stop: a checkpoint was written, and the same command continues from it"
    NOT_FINITE = "an infinite or undefined number appeared: check responses, covariates, weights and variances"

    @property
    def converged(self) -> bool:
        """Return whether the solution may be used."""
        return self in (StopReason.CONVERGED, StopReason.SMALL_CHANGE, StopReason.DIRECT, StopReason.RHS_ZERO)


@dataclass(frozen=True)
class SolveReport(Generic[S]):
    """The end of one solve.

    residual_norms: ||r|| / ||b|| after each iteration, as the recurrence has it (the first entry is before any);
    relative_residual: ||b - C x|| / ||b|| computed from the solution itself;
    largest_change: largest |change| of a solution in the last iteration;
    communication: of a solve over several processes, what they sent and where the time went.
    """

    solution: S
    reason: StopReason
    iterations: int
    relative_residual: float
    residual_norms: tuple[float, ...] = field(default=())
    largest_change: float = 0.0
    communication: CommunicationVolume | None = None

    @property
    def converged(self) -> bool:
        """Return whether the solution may be used."""
        return self.reason.converged
