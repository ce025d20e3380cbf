"""Monte Carlo REML of a model: start, rounds, standard errors and Monte Carlo errors."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.assembly import number_equations
from henderson.equations.columns import ColumnOperator
from henderson.equations.model import Design
from henderson.equations.operator import Operator, build_operator
from henderson.errors import HendersonError, ModelError, NotConvergedError
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import ALONE, Communicator
from henderson.partitions.exchange import Vectors
from henderson.partitions.threads import Team
from henderson.reml.checkpoint import label_of_sampled, read_rounds, write_rounds
from henderson.reml.inference import function_value, infer
from henderson.reml.monte_carlo import BATCH, SampledLikelihood, SampledPoint, UnsolvedError
from henderson.reml.optimise import Callback
from henderson.reml.quadrature import sampled_log_likelihood
from henderson.reml.result import RemlFit, RemlOptions, Round, Rounds
from henderson.reml.sampled import MANY, SampledClimb, SampledRun, Unstarted
from henderson.reml.sampled_em import EmRun
from henderson.reml.sampled_setup import SampledProblem, sampled_problem
from henderson.reml.setup import Key, estimates, with_covariances, with_values
from henderson.reml.simpler import simpler_starts
from henderson.solvers.pcg import pcg
from henderson.solvers.pcg_columns import pcg_columns
from henderson.solvers.solutions import by_subfactor, dropped_columns
from henderson.solvers.solve import Stages, n_threads_for, set_up
from henderson.solvers.sweep import preconditioner_for_many
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]

QUICK_ERROR = 0.5  # Monte Carlo error of fits for start values
SOLUTION_RTOL = 1e-8  # of the solutions at the estimates
COLUMNS_RTOL = 1e-10  # of solves for predictions and tests

log = logging.getLogger(__name__)


def fit_sampled(spec: ModelSpec, data: ModelData, *, options: RemlOptions, callback: Callback | None = None) -> RemlFit:
    """Return the estimates by Monte Carlo REML on the data of one process; as `fit.fit_reml` otherwise."""
    if options.start == "simpler":
        spec = simpler_starts(spec, _quick_fit(data, options))
    with Team(n_threads_for(data, options.threads)) as team:
        operator = set_up(with_values(spec), data, team, Stages())
        fit = fit_operator(spec, operator, options, callback=callback)
        values = operator.to_levels(fit.x)
    design = fit.found.design
    number, _ = number_equations(design)

    def columns(rhs: Floats) -> Floats:
        return _inverse_columns(design, data, options, rhs)

    return replace(fit.found, solutions=by_subfactor(design, values), number=tuple(number), held=data, inverse=columns)


class SharedFit:
    """A fit of which each process has a part: `found` lacks solutions and data, `x` are the former as local vectors."""

    def __init__(self, found: RemlFit, x: Vectors) -> None:
        self.found, self.x = found, x


def fit_operator(
    spec: ModelSpec,
    operator: Operator,
    options: RemlOptions,
    communicator: Communicator = ALONE,
    callback: Callback | None = None,
) -> SharedFit:
    """Return the estimates by Monte Carlo REML on the equations of all processes. **Collective**.

    Raises
    ------
    ModelError
        There is nothing to estimate from, or the equations cannot be solved at the start values.

    """
    problem = sampled_problem(spec, operator, communicator, options.start == "data")
    if options.method == "auto":
        many = sum(s.n_free for s in problem.structures) > MANY
        options = replace(options, method="mc-em" if many else "mc-ai")
    for name, text in spec.functions:  # before the rounds, not after them
        function_value(text, name, problem.keys, problem.starts)
    label = label_of_sampled(operator.design, problem, options, communicator) if options.checkpoint else ""
    found, likelihood = _climb(problem, options, label, communicator, callback)
    point = found.point
    noise: Callable[..., Floats] = lambda directions: likelihood.gradient_noise(point, directions)  # noqa: E731
    inference = infer(spec, found.information, problem.keys, problem.structures, found.phis, point, noise)
    design = with_covariances(operator.design, point.sigmas)
    sampled = sampled_log_likelihood(likelihood, point)
    constant = -0.5 * (problem.n_observations - problem.n_fixed) * math.log(2.0 * math.pi)
    return SharedFit(
        RemlFit(
            spec=estimates(spec, problem.keys, point.sigmas),
            parameters=inference.parameters,
            covariance=inference.covariance,
            sigma=inference.sigma,
            loglik=sampled.value,
            loglik_full=sampled.value + constant,
            n_parameters=inference.n_parameters,
            rounds=max(0, len(found.history) - 1),
            stop_reason=found.stop,
            history=tuple(found.history),
            functions=inference.functions,
            design=design,
            solutions=(),
            dropped=dropped_columns(design),
            number=(),
            n_equations=design.n_equations,
            n_observations=problem.n_observations,
            rank=problem.n_fixed,
            method="REML",
            algorithm=options.method,
            mc_covariance=inference.mc_covariance,
            sampled=sampled,
        ),
        _polished(operator, problem, point),
    )


def _polished(operator: Operator, problem: SampledProblem, point: SampledPoint) -> Vectors:
    """Return the solutions at a point as those of a solve, fixed effects as they are. **Collective**."""
    final = Operator(
        with_covariances(operator.design, point.sigmas), operator.partitions, operator.exchange, operator.team
    )
    start = [a + b for a, b in zip(point.x, problem.fixed, strict=True)]
    return pcg(final, point.preconditioner, final.right_hand_side(), rtol=SOLUTION_RTOL, x0=start).solution


def _climb(
    problem: SampledProblem, options: RemlOptions, label: str, communicator: Communicator, callback: Callback | None
) -> tuple[SampledClimb, SampledLikelihood]:
    """Return the end of the rounds, from the checkpoint if there is one of this fit."""
    sampling = options.sampling
    likelihood = SampledLikelihood(
        problem.operator,
        n_samples=sampling.samples,
        seed=sampling.seed,
        max_it=sampling.solver_max_it,
        memory=None if options.memory is None else options.memory * communicator.size,
    )
    path = Path(options.checkpoint) if options.checkpoint else None

    def keep(number: int, rounds: Rounds) -> None:
        if communicator.rank == 0:
            log.info(_line(number, rounds.history[-1]))
            if path is not None:
                write_rounds(path, label, rounds)
        if callback is not None:
            callback(number, rounds.history[-1])

    before = None
    if path is not None:
        before = communicator.broadcast((read_rounds(path, label) if communicator.rank == 0 else None,))[0]
    if before is not None and communicator.rank == 0:
        log.info("continues with round %d from %s", len(before.history), path)
    for start in (before, Rounds(problem.starts, sampling.samples)):
        if start is None:
            continue
        try:
            kind = EmRun if options.method == "mc-em" else SampledRun
            return kind(likelihood, problem.structures, start, options, keep).climb(), likelihood
        except Unstarted:
            continue
        except UnsolvedError as error:
            raise NotConvergedError(f"the equations could not be solved at the start values: {error}") from error
    raise ModelError(
        "the equations cannot be solved at the start values: they are not positive definite there; check the variances "
        "and the relationship matrices, or leave sigma out"
    )


def _line(number: int, found: Round) -> str:
    """Return a round as one line of JSON."""
    assert found.noise is not None
    content = {
        "round": number,
        "step": found.step,
        "decrement": found.decrement,
        "noise": found.noise.expected,
        "mc_error": found.noise.ratio,
        "samples": found.noise.samples,
        "rtol": found.noise.rtol,
        "products": found.noise.products,
        "seconds": round(found.seconds, 3),
        "parameters": list(found.parameters),
        "errors": list(found.noise.errors),
    }
    return json.dumps(content)


def _quick_fit(data: ModelData, options: RemlOptions) -> Callable[[ModelSpec], dict[Key, Floats]]:
    """Return a function that fits a model well enough for start values."""
    sampling = replace(options.sampling, mc_error=QUICK_ERROR, solver_rtol=1e-4)
    quick = replace(options, sampling=sampling, max_rounds=25, start="data", checkpoint=None)

    def fit(spec: ModelSpec) -> dict[Key, Floats]:
        found = fit_sampled(spec, data, options=quick)
        return {key: estimate.sigma for key, estimate in found.sigma.items()}

    return fit


def _inverse_columns(design: Design, data: ModelData, options: RemlOptions, rhs: Floats) -> Floats:
    """Return C^-1 rhs by iteration, rhs (n_equations, k)."""
    number, n = number_equations(design)
    out = np.empty((n, rhs.shape[1]))
    with Team(n_threads_for(data, options.threads)) as team:
        operator = build_operator(design, data, team)
        preconditioner = preconditioner_for_many(operator)
        for first in range(0, rhs.shape[1], BATCH):
            part = rhs[:, first : first + BATCH]
            extended = np.concatenate([part, np.zeros((1, part.shape[1]))])
            columns = [operator.from_levels([extended[at, k] for at in number]) for k in range(part.shape[1])]
            sides = [np.stack([c[p] for c in columns], axis=1) for p in range(operator.n_partitions)]
            report = pcg_columns(ColumnOperator(operator, part.shape[1]), preconditioner, sides, rtol=COLUMNS_RTOL)
            if not report.converged:
                raise HendersonError(f"the equations of predictions or tests: {report.reason.value}")
            for k in range(part.shape[1]):
                levels = operator.to_levels([np.ascontiguousarray(v[:, k]) for v in report.solution])
                for at, values in zip(number, levels, strict=True):
                    out[at[at >= 0], first + k] = values[at >= 0]
    return out
