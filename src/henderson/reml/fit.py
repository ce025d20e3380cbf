"""REML (or ML) of a model: start, rounds, standard errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design
from henderson.errors import ModelError, ResourceError
from henderson.language.spec import ModelSpec
from henderson.reml.checkpoint import label_of, read_checkpoint
from henderson.reml.fit_sampled import fit_sampled
from henderson.reml.inference import function_value, infer
from henderson.reml.likelihood import Likelihood, Point
from henderson.reml.optimise import Callback, Climb, climb
from henderson.reml.result import Ordering, RemlFit, RemlOptions, RemlStop
from henderson.reml.setup import Problem, estimates, set_up, size_of, with_covariances
from henderson.reml.simpler import simpler_starts
from henderson.solvers.cholesky import Symbolic
from henderson.solvers.solutions import SubfactorSolutions, by_subfactor, dropped_columns
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]
Key = tuple[str, str | None]

QUICK_ROUNDS, QUICK_TOLERANCE = 25, 1e-3  # of fits for start values
WORTH_A_LINE = 1e10  # flops
MOST_ANALYSED = 5_000_000  # equations above which method auto does not even look at the fill
AFFORDABLE = 3e11  # flops of a factorisation up to which method auto is exact: less than some minutes a fit

log = logging.getLogger(__name__)
DEFAULTS = RemlOptions()

__all__ = ["Callback", "RemlFit", "RemlOptions", "RemlStop", "fit_reml"]


def fit_reml(
    spec: ModelSpec, data: ModelData, *, options: RemlOptions = DEFAULTS, callback: Callback | None = None
) -> RemlFit:
    """Return the estimates of every parameter that is not held, by REML (or ML): exact, or by Monte Carlo.

    The caller has to look at `stop_reason`: rounds that did not converge return where they are, and say so.

    Parameters
    ----------
    spec
        The model; its variances are start values, and the values of elements that are held.
    data
        Its records, pedigrees and matrices.
    options
        How to fit.
    callback
        Called as callback(number of the round, round).

    Raises
    ------
    ModelError
        There is nothing to estimate from, the likelihood cannot be computed at the start values, or the method does not
        do the model.

    """
    if options.method == "auto" and options.reml and animal_equations(spec, data) > MOST_ANALYSED:
        log.info("more than %d equations of animals: Monte Carlo REML", MOST_ANALYSED)
        return fit_sampled(spec, data, options=options, callback=callback)
    if options.sampled:
        return fit_sampled(spec, data, options=options, callback=callback)
    if options.method == "em" and (lacking := [v.name for v in spec.variances if v.n_bound(size_of(spec, v))]):
        raise ModelError(f"steps of EM leave variance {lacking[0]!r} of reduced rank where it is; take method 'ai'")
    if options.start == "simpler":
        spec = simpler_starts(spec, _quick_fit(data, options))
    problem = set_up(spec, data, reml=options.reml, from_data=options.start == "data")
    for name, text in spec.functions:  # before the rounds, not after them
        function_value(text, name, problem.keys, problem.starts)
    if options.method == "auto":
        symbolic, n = problem.likelihood.factor.symbolic, problem.design.n_equations
        if (why := too_dear(symbolic, options.memory)) is not None and options.reml:
            log.info("%s: Monte Carlo REML", why)
            del problem
            return fit_sampled(spec, data, options=options, callback=callback)
        log.info("%d equations, %.1f GFlop a factorisation: exact REML", n, symbolic.flops / 1e9)
        options = replace(options, method="ai")
    check_memory(problem.likelihood.factor.symbolic, options.memory)
    label = label_of(problem) if options.checkpoint else ""
    before = read_checkpoint(Path(options.checkpoint), label) if options.checkpoint else None
    found = climb(problem.likelihood, problem.structures, before or problem.starts, options, callback, label)
    if before is not None and found.stop is RemlStop.NOT_FINITE:
        found = climb(problem.likelihood, problem.structures, problem.starts, options, callback, label)
    if found.stop is RemlStop.NOT_FINITE:
        raise ModelError(
            "the likelihood cannot be computed at the start values: the equations are not positive definite there; "
            "check the variances and the relationship matrices, or leave sigma out"
        )
    return _fit(spec, data, problem, found, options)


def _quick_fit(data: ModelData, options: RemlOptions) -> Callable[[ModelSpec], dict[Key, Floats]]:
    """Return a function that fits a model well enough for start values."""

    def fit(spec: ModelSpec) -> dict[Key, Floats]:
        problem = set_up(spec, data, reml=options.reml, from_data=True)
        quick = replace(options, max_rounds=QUICK_ROUNDS, tolerance=QUICK_TOLERANCE, checkpoint=None)
        found = climb(problem.likelihood, problem.structures, problem.starts, quick)
        sigmas = found.point.sigmas or problem.starts
        return dict(zip(problem.keys, sigmas, strict=True))

    return fit


def animal_equations(spec: ModelSpec, data: ModelData) -> int:
    """Return the number of equations of individuals that a pedigree relates."""
    related = [v for v in spec.variances if v.gamma.kind == "pedigree" and v.gamma.name in data.pedigrees]
    return sum(len(data.pedigrees[v.gamma.name or ""]) * size_of(spec, v) for v in related)


def too_dear(symbolic: Symbolic, limit: int | None) -> str | None:
    """Return why the equations are not factored, None if they should be."""
    if limit is not None and symbolic.bytes > limit:
        return f"the factor would take {symbolic.bytes / 2**30:.1f} GiB, {limit / 2**30:.1f} GiB are there"
    if symbolic.flops > AFFORDABLE:
        return f"a factorisation would take {symbolic.flops / 1e9:,.0f} GFlop, more than {AFFORDABLE / 1e9:,.0f}"
    return None


def check_memory(symbolic: Symbolic, limit: int | None) -> None:
    """Log what the factor will take; raise `ResourceError` with the estimate if that is more than `limit` bytes."""
    sentence = (
        f"exact REML factors {symbolic.n:,} equations into {symbolic.nnz_factor:,} non-zeros: about "
        f"{symbolic.bytes / 2**30:.1f} GiB, {3.0 * symbolic.flops / 1e9:,.0f} GFlop a round"
    )
    if limit is not None and symbolic.bytes > limit:
        raise ResourceError(
            f"{sentence}; {limit / 2**30:.1f} GiB are there. Use method = 'mc-ai' (Monte Carlo REML, which needs no "
            "factor), a machine with more memory, or a smaller model"
        )
    if symbolic.flops > WORTH_A_LINE:
        log.info(sentence)


def _fit(spec: ModelSpec, data: ModelData, problem: Problem, found: Climb, options: RemlOptions) -> RemlFit:
    likelihood, point = problem.likelihood, found.point
    inference = infer(spec, likelihood, problem.keys, problem.structures, found.phis, point)
    design = with_covariances(problem.design, point.sigmas)
    return RemlFit(
        spec=estimates(spec, problem.keys, point.sigmas),
        parameters=inference.parameters,
        covariance=inference.covariance,
        sigma=inference.sigma,
        loglik=point.loglik,
        loglik_full=point.loglik + likelihood.constant(),
        n_parameters=inference.n_parameters,
        rounds=max(0, len(found.history) - 1),
        stop_reason=found.stop,
        history=tuple(found.history),
        functions=inference.functions,
        design=design,
        solutions=_solutions(design, likelihood, point),
        dropped=dropped_columns(design),
        number=likelihood.pattern.number,
        n_equations=likelihood.pattern.n,
        n_observations=likelihood.n_observations,
        rank=likelihood.n_fixed,
        method="REML" if options.reml else "ML",
        algorithm=options.method,
        ordering=_ordering(likelihood),
        held=data,
        inverse=likelihood.factor.solve,
    )


def _ordering(likelihood: Likelihood) -> Ordering:
    symbolic = likelihood.factor.symbolic
    n, nnz = likelihood.pattern.n, likelihood.factor.nnz
    return Ordering(symbolic.ordering, n, nnz, symbolic.nnz_factor, symbolic.flops)


def _solutions(design: Design, likelihood: Likelihood, point: Point) -> tuple[SubfactorSolutions, ...]:
    """Return the solutions at the estimates with their standard errors, the roots of the diagonal of C^-1."""
    pattern = likelihood.pattern
    variances = likelihood.factor.inverse()[pattern.indptr[:-1]]
    extended = np.append(np.sqrt(np.maximum(variances, 0.0)), 0.0)
    values = np.append(point.solution, 0.0)
    return by_subfactor(design, [values[n] for n in pattern.number], [extended[n] for n in pattern.number])
