"""The job `reml`: variance components of a parameter file, and the solutions at the estimates."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.errors import NotConvergedError
from henderson.jobs.progress import reml_progress
from henderson.language.spec import JobSpec, ModelSpec
from henderson.partitions.communicator import Communicator
from henderson.reml.fit import fit_reml
from henderson.reml.fit_sampled import fit_operator
from henderson.reml.result import RemlFit, RemlOptions, Sampling
from henderson.results.files import finite
from henderson.results.stages import available_bytes
from henderson.solvers.indices import combined, indices_of
from henderson.solvers.report import SolveReport, StopReason
from henderson.solvers.solutions import Solutions
from henderson.store.model_data import ModelData

CHECKPOINT = "reml.checkpoint.json"
UNUSED = ("rtol", "convtype", "burnin", "chains", "sampler")  # by Monte Carlo rounds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedSolutions(Solutions):
    """The solutions at the estimates of a fit."""

    fit: RemlFit


def options_of(job: JobSpec, out: Path | None = None) -> RemlOptions:
    """Return the options of a reml job; its checkpoint lies in `out`."""
    rounds, tolerance = job.get("max_rounds"), job.get("rtol")
    start = job.get("start", "given")
    names = {"samples": "samples", "most_samples": "most", "mc_error": "mc_error", "seed": "seed"}
    names |= {"solver_rtol": "solver_rtol", "solver_max_it": "solver_max_it"}
    sampling: dict[str, Any] = {ours: v for name, ours in names.items() if (v := job.get(name)) is not None}
    method = job.get("method", "ai")
    assert method in ("ai", "em", "mc-ai", "mc-em", "auto")
    if method in ("mc-ai", "mc-em"):
        for name in [n for n in UNUSED if job.get(n) is not None]:
            log.warning("job 'reml': %s is not used, rounds end by their Monte Carlo error (mc_error, samples)", name)
    return RemlOptions(
        method=method,  # type: ignore[arg-type]
        reml=job.get("REML", True) is not False,
        max_rounds=int(rounds) if isinstance(rounds, int) else RemlOptions.max_rounds,
        tolerance=float(tolerance) if isinstance(tolerance, float) else RemlOptions.tolerance,
        start=start if start in ("data", "simpler") else "given",  # type: ignore[arg-type]
        checkpoint=None if out is None else str(out / CHECKPOINT),
        memory=available_bytes(),
        sampling=Sampling(**sampling),
    )


def run_reml(
    job: JobSpec,
    spec: ModelSpec,
    data: ModelData,
    out: Path,
    progress: Callable[[str, int, int], None] | None = None,
    memory: int | None = None,
) -> FittedSolutions:
    """Return the fit of a reml job with its solutions; the caller has to look at `report.converged`.

    memory: bytes that it may take, if that is less than there are. An interrupted job continues from its checkpoint in
    `out`, which is removed at the end.
    """
    options = options_of(job, out)
    if memory is not None:
        options = replace(options, memory=memory)

    fit = fit_reml(spec, data, options=options, callback=reml_progress(progress, spec, options.max_rounds))
    if fit.stop_reason.converged:
        (out / CHECKPOINT).unlink(missing_ok=True)
    found = solutions_of(fit)
    return replace(found, indices=combined(indices_of(spec, fit.design), fit.design, fit.solutions))


def run_reml_together(
    job: JobSpec,
    spec: ModelSpec,
    operator: Operator,
    out: Path,
    communicator: Communicator,
    memory: int,
    progress: Callable[[str, int, int], None] | None,
) -> tuple[RemlFit, NDArray[np.float64]]:
    """Return the fit of a reml job by several processes, and the solutions of this one. **Collective**.

    memory: bytes that a process may take, the same on all of them.
    """
    options = replace(options_of(job, out), memory=memory)

    fit = fit_operator(spec, operator, options, communicator, reml_progress(progress, spec, options.max_rounds))
    if communicator.rank == 0 and fit.found.converged:
        (out / CHECKPOINT).unlink(missing_ok=True)
    return fit.found, fit.x[0]


def solutions_of(fit: RemlFit) -> FittedSolutions:
    """Return the solutions at the estimates as those of a solve."""
    reason = StopReason.DIRECT if fit.stop_reason.converged else StopReason.MAX_ITERATIONS
    values: list[NDArray[np.float64]] = []  # they are those of the fit
    report = SolveReport(values, reason, fit.rounds, 0.0)
    return FittedSolutions(fit.solutions, fit.dropped, report, fit.n_equations, (), fit.design, fit)


def reml_record(job: JobSpec, solutions: FittedSolutions) -> dict[str, Any]:
    """Return the entry of a reml job in `run.json`."""
    fit = solutions.fit
    ordering = {} if fit.ordering is None else {"ordering": asdict(fit.ordering)}
    return {
        "job": job.name,
        "method": fit.method,
        "algorithm": fit.algorithm,
        "equations": fit.n_equations,
        **ordering,
        "rounds": fit.rounds,
        "stop_reason": fit.stop_reason.value,
        "loglik": finite(fit.loglik),
        "history": [
            {
                "loglik": finite(r.loglik),
                "parameters": list(r.parameters),
                "step": r.step,
                "decrement": r.decrement,
                "seconds": r.seconds,
            }
            | ({} if r.noise is None else asdict(r.noise))
            for r in fit.history
        ],
        "dropped": [[d.factor, d.subfactor, d.level] for d in fit.dropped],
    }


def at_loglik(fit: RemlFit) -> str:
    """Return where the log-likelihood is, nothing where it is not known."""
    return "" if math.isnan(fit.loglik) else f" at a log-likelihood of {fit.loglik:.4f}"


def reml_failure(solutions: FittedSolutions, out: Path) -> NotConvergedError:
    """Return what is raised for rounds that did not converge."""
    fit = solutions.fit
    return NotConvergedError(
        f"job 'reml' stopped after {fit.rounds} rounds{at_loglik(fit)}: "
        f"{fit.stop_reason.value}; run.json in {out} has its history, {CHECKPOINT} its last values"
    )
