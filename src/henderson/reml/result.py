"""What a fit of variance components leaves behind."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.language.spec import ModelSpec
from henderson.solvers.solutions import Dropped, SubfactorSolutions
from henderson.store.model_data import ModelData

if TYPE_CHECKING:
    from henderson.solvers.cholesky import SparseCholesky

Floats = NDArray[np.float64]
Constraint = Literal["free", "fixed", "boundary", "equal", "not estimable"]


class RemlStop(enum.Enum):
    """Why the rounds ended; the value says what to do next."""

    CONVERGED = "converged: log-likelihood, parameters and gradient agree"
    BOUNDARY = "converged at the boundary: a covariance matrix is singular there; leave out the terms marked boundary"
    ALL_FIXED = "nothing to estimate: every parameter is held; the log-likelihood is that of the values given"
    MAX_ROUNDS = "not converged: no round left; raise max_rounds, continue from the checkpoint, or simplify the model"
    NO_ASCENT = (
        "not converged: no step raises the log-likelihood although its gradient is not zero; rescale the traits to "
        "similar variances, or look for columns that carry the same information"
    )
    NOT_FINITE = "not converged: the log-likelihood is not a number; check the data for extreme values"

    @property
    def converged(self) -> bool:
        """Return whether the estimates are a maximum (or were given)."""
        return self in (RemlStop.CONVERGED, RemlStop.BOUNDARY, RemlStop.ALL_FIXED)


@dataclass(frozen=True)
class RemlOptions:
    """How to fit.

    method: ``ai`` or ``em``; reml: False for maximum likelihood; start: ``given`` (values of the model where there are
    any, else from the data), ``data``, or ``simpler`` (diagonal, then bivariate models first); tolerance: bound of the
    distance to the maximum of the log-likelihood; checkpoint: file that is written each round and read at the start;
    memory: bytes that the factor may take, None: no limit.
    """

    method: Literal["ai", "em"] = "ai"
    reml: bool = True
    max_rounds: int = 200
    tolerance: float = 1e-8
    start: Literal["given", "data", "simpler"] = "given"
    checkpoint: str | None = None
    threads: int | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Round:
    """One round: log-likelihood, values of the free parameters, kind of step that led there, decrement, seconds."""

    loglik: float
    parameters: tuple[float, ...]
    step: str
    decrement: float
    seconds: float


@dataclass(frozen=True)
class Parameter:
    """One reported parameter: element (row, col), counted from 1, of a variance; `label` is the class of a residual by.

    kind: ``variance``, ``covariance`` or ``correlation``; constraint: ``free``, ``fixed``, ``boundary``,
    ``equal``, or ``not estimable`` where the records hold no information on it.
    """

    variance: str
    row: int
    col: int
    kind: Literal["variance", "covariance", "correlation"]
    name: str
    value: float
    se: float | None
    constraint: Constraint = "free"
    label: str | None = None

    @property
    def z_ratio(self) -> float | None:
        """Return value / se, None where there is no standard error."""
        return self.value / self.se if self.se else None


@dataclass(frozen=True)
class SigmaEstimate:
    """A covariance matrix with standard errors (NaN where withheld) of its elements and correlations."""

    positions: tuple[str, ...]
    sigma: Floats
    se: Floats
    correlation: Floats
    correlation_se: Floats


@dataclass(frozen=True)
class FunctionValue:
    """The value of a function of the components and its delta-method standard error (NaN where withheld)."""

    value: float
    se: float


@dataclass(frozen=True)
class Ordering:
    """The fill-reducing order of the factor: its name, equations, non-zeros of C and of L, and flops to factor."""

    name: str
    n_equations: int
    nnz: int
    nnz_factor: int
    flops: float


@dataclass(frozen=True)
class RemlFit:
    """A fit. `spec` holds the estimates in its variances.

    sigma: estimate by variance name; residual by class: key (``res``, class label). covariance: (n, n) sampling
    covariance of `parameters`, zero rows for those without a standard error. solutions: at the estimates, with se.
    rank: of X; n_observations: observed responses.
    """

    spec: ModelSpec
    parameters: tuple[Parameter, ...]
    covariance: Floats
    sigma: Mapping[tuple[str, str | None], SigmaEstimate]
    loglik: float
    loglik_full: float
    n_parameters: int
    rounds: int
    stop_reason: RemlStop
    history: tuple[Round, ...]
    functions: Mapping[str, FunctionValue]
    design: Design
    data: ModelData
    solutions: tuple[SubfactorSolutions, ...]
    dropped: tuple[Dropped, ...]
    number: tuple[NDArray[np.int64], ...]
    n_observations: int
    rank: int
    method: Literal["REML", "ML"]
    ordering: Ordering
    factor: SparseCholesky = field(repr=False, compare=False)

    def inverse_columns(self, rhs: Floats) -> Floats:
        """Return C^-1 rhs, rhs float64 (n_equations, k); `number` has the row of each (level, position) per group."""
        return self.factor.solve(rhs)
