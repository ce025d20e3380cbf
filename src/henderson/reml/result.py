"""What a fit of variance components leaves behind."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.errors import NotSupportedError
from henderson.language.spec import ModelSpec
from henderson.reml.sampled_value import Sampled
from henderson.solvers.solutions import Dropped, SubfactorSolutions
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]
Constraint = Literal["free", "fixed", "boundary", "equal", "not estimable"]
ELSEWHERE = "a fit by several processes holds no records and no equations: predict and test with the embedded engine"
Method = Literal["ai", "em", "mc-ai", "mc-em", "auto"]


class RemlStop(enum.Enum):
    """Why the rounds ended; the value says what to do next."""

    CONVERGED = "converged: log-likelihood, parameters and gradient agree"
    SAMPLED = (
        "converged: the step that is left is small beside the Monte Carlo error, and that beside the standard errors"
    )
    SAMPLES = (
        "converged, but the Monte Carlo error is a larger part of some standard error than mc_error asks for: raise "
        "samples, or mc_error"
    )
    BOUNDARY = "converged at the boundary: a covariance matrix is singular there; leave out the terms marked boundary"
    ALL_FIXED = "nothing to estimate: every parameter is held; the log-likelihood is that of the values given"
    UNSOLVED = (
        "not converged: the equations could not be solved by iteration within solver_max_it products; raise it, or "
        "give start values nearer to the solution"
    )
    MAX_ROUNDS = "not converged: no round left; raise max_rounds, continue from the checkpoint, or simplify the model"
    NO_ASCENT = (
        "not converged: no step raises the log-likelihood although its gradient is not zero; rescale the traits to "
        "similar variances, or look for columns that carry the same information"
    )
    NOT_FINITE = "not converged: the log-likelihood is not a number; check the data for extreme values"

    @property
    def converged(self) -> bool:
        """Return whether the estimates are a maximum (or were given)."""
        return self in _CONVERGED


_CONVERGED = frozenset({
    RemlStop.CONVERGED, RemlStop.SAMPLED, RemlStop.SAMPLES, RemlStop.BOUNDARY, RemlStop.ALL_FIXED
})  # fmt: skip


@dataclass(frozen=True)
class Sampling:
    """How Monte Carlo REML samples.

    samples: at the start; most: up to which samples are added; mc_error: the part of every standard error that the
    Monte Carlo error may be; seed: of the signs; solver_rtol, solver_max_it: of the last, tightest solves, None: what
    suits the size of the problem (`sampled`).
    """

    samples: int = 16
    most: int = 1024
    mc_error: float = 0.1
    seed: int = 1
    solver_rtol: float | None = None
    solver_max_it: int = 5000


@dataclass(frozen=True)
class RemlOptions:
    """How to fit.

    method: ``ai`` or ``em`` (both exact), ``mc-ai`` or ``mc-em`` (Monte Carlo), or ``auto``: exact where the factor of
    the equations is affordable, else ``mc-ai``; reml: False for maximum likelihood; start: ``given`` (values of the
    model where there are any, else from the data), ``data``, or ``simpler`` (diagonal, then bivariate models first);
    tolerance: bound of the distance to the maximum of the log-likelihood, not used by Monte Carlo; checkpoint: file
    that is written each round and read at the start; memory: bytes that may be taken, None: no limit.
    """

    method: Method = "ai"
    reml: bool = True
    max_rounds: int = 200
    tolerance: float = 1e-8
    start: Literal["given", "data", "simpler"] = "given"
    checkpoint: str | None = None
    threads: int | None = None
    memory: int | None = None
    sampling: Sampling = Sampling()

    @property
    def sampled(self) -> bool:
        """Return whether the method is a Monte Carlo one."""
        return self.method in ("mc-ai", "mc-em")


@dataclass(frozen=True)
class Noise:
    """What Monte Carlo rounds know of their own noise.

    expected: the decrement that other samples would find here, on average; ratio: the largest Monte Carlo error of a
    parameter relative to its standard error, None where that is not known; samples: their number; rtol: of the solves;
    products: passes over the equations; errors: Monte Carlo errors of the values of the free parameters, or none.
    """

    expected: float
    ratio: float | None
    samples: int
    rtol: float
    products: int
    errors: tuple[float, ...]


@dataclass(frozen=True)
class Round:
    """One round: log-likelihood, values of the free parameters, kind of step that led there, decrement, seconds.

    The log-likelihood of Monte Carlo rounds is NaN.
    """

    loglik: float
    parameters: tuple[float, ...]
    step: str
    decrement: float
    seconds: float
    noise: Noise | None = None


@dataclass
class Rounds:
    """Where Monte Carlo rounds are: what a checkpoint keeps. `tight`: whether the solves are."""

    sigmas: list[Floats]
    samples: int
    history: list[Round] = field(default_factory=list)
    damping: float = 0.0
    tight: bool = False


@dataclass(frozen=True)
class Parameter:
    """One reported parameter: element (row, col), counted from 1, of a variance; `label` is the class of a residual by.

    kind: ``variance``, ``covariance`` or ``correlation``; constraint: ``free``, ``fixed``, ``boundary``, ``equal``, or
    ``not estimable`` where the records hold no information on it; mc_se: the Monte Carlo error of its value, None if it
    was not sampled.
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
    mc_se: float | None = None

    @property
    def z_ratio(self) -> float | None:
        """Return value / se, None where there is no standard error."""
        return self.value / self.se if self.se else None


@dataclass(frozen=True)
class SigmaEstimate:
    """A covariance matrix with standard errors (NaN where withheld) of its elements and correlations.

    mc_se: Monte Carlo errors of the elements, None if they were not sampled.
    """

    positions: tuple[str, ...]
    sigma: Floats
    se: Floats
    correlation: Floats
    correlation_se: Floats
    mc_se: Floats | None = None


@dataclass(frozen=True)
class FunctionValue:
    """The value of a function of the components and its delta-method standard error (NaN where withheld).

    mc_se: the Monte Carlo error of the value, None if it was not sampled.
    """

    value: float
    se: float
    mc_se: float | None = None


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
    covariance of `parameters`, zero rows for those without a standard error. solutions: at the estimates, with se if
    the fit is exact. rank: of X; n_observations: observed responses. algorithm: what was used; ordering: of its factor.
    Sampled fits have mc_covariance, that of the Monte Carlo errors of `parameters`, and samples of `loglik`.
    held, inverse: the data, and what applies C^-1; None where several processes have them in parts.
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
    solutions: tuple[SubfactorSolutions, ...]
    dropped: tuple[Dropped, ...]
    number: tuple[NDArray[np.int64], ...]
    n_equations: int
    n_observations: int
    rank: int
    method: Literal["REML", "ML"]
    algorithm: Method
    ordering: Ordering | None = None
    mc_covariance: Floats | None = None
    sampled: Sampled | None = None
    held: ModelData | None = field(default=None, repr=False, compare=False)
    inverse: Callable[[Floats], Floats] | None = field(default=None, repr=False, compare=False)

    @property
    def loglik_mc_se(self) -> float | None:
        """Return the Monte Carlo error of the log-likelihood, None if it was not sampled."""
        return None if self.sampled is None else self.sampled.mc_se

    @property
    def converged(self) -> bool:
        """Return whether the estimates are a maximum (or were given)."""
        return self.stop_reason.converged

    @property
    def data(self) -> ModelData:
        """Return the data that were fitted."""
        if self.held is None:
            raise NotSupportedError(ELSEWHERE)
        return self.held

    def inverse_columns(self, rhs: Floats) -> Floats:
        """Return C^-1 rhs, rhs float64 (n_equations, k); `number` has the row of each (level, position) per group."""
        if self.inverse is None:
            raise NotSupportedError(ELSEWHERE)
        return self.inverse(rhs)
