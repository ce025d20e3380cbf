"""The job `reml`: variance components of a parameter file, and the solutions at the estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from henderson.errors import NotConvergedError
from henderson.language.spec import JobSpec, ModelSpec
from henderson.reml.fit import fit_reml
from henderson.reml.result import RemlFit, RemlOptions, Round
from henderson.results.stages import available_bytes
from henderson.solvers.report import SolveReport, StopReason
from henderson.solvers.solutions import Solutions
from henderson.store.model_data import ModelData

CHECKPOINT = "reml.checkpoint.json"


@dataclass(frozen=True)
class FittedSolutions(Solutions):
    """The solutions at the estimates of a fit."""

    fit: RemlFit


def options_of(job: JobSpec, out: Path | None = None) -> RemlOptions:
    """Return the options of a reml job; its checkpoint lies in `out`."""
    rounds, tolerance = job.get("max_rounds"), job.get("rtol")
    start = job.get("start", "given")
    return RemlOptions(
        method="em" if job.get("method") == "em" else "ai",
        reml=job.get("REML", True) is not False,
        max_rounds=int(rounds) if isinstance(rounds, int) else RemlOptions.max_rounds,
        tolerance=float(tolerance) if isinstance(tolerance, float) else RemlOptions.tolerance,
        start=start if start in ("data", "simpler") else "given",  # type: ignore[arg-type]
        checkpoint=None if out is None else str(out / CHECKPOINT),
        memory=available_bytes(),
    )


def run_reml(
    job: JobSpec, spec: ModelSpec, data: ModelData, out: Path, progress: Callable[[str, int, int], None] | None = None
) -> FittedSolutions:
    """Return the fit of a reml job with its solutions; the caller has to look at `report.converged`.

    An interrupted job continues from its checkpoint in `out`, which is removed at the end.
    """
    options = options_of(job, out)

    def show(number: int, _: Round) -> None:
        if progress is not None:
            progress("reml", number, options.max_rounds)

    fit = fit_reml(spec, data, options=options, callback=show)
    if fit.stop_reason.converged:
        (out / CHECKPOINT).unlink(missing_ok=True)
    return solutions_of(fit)


def solutions_of(fit: RemlFit) -> FittedSolutions:
    """Return the solutions at the estimates as those of a solve."""
    reason = StopReason.DIRECT if fit.stop_reason.converged else StopReason.MAX_ITERATIONS
    values = [np.zeros((g.n_levels, g.width)) for g in fit.design.groups]
    report = SolveReport(values, reason, fit.rounds, 0.0)
    return FittedSolutions(fit.solutions, fit.dropped, report, len(fit.covariance), (), fit.design, fit)


def reml_record(job: JobSpec, solutions: FittedSolutions) -> dict[str, Any]:
    """Return the entry of a reml job in `run.json`."""
    fit = solutions.fit
    return {
        "job": job.name,
        "method": fit.method,
        "equations": fit.ordering.n_equations,
        "ordering": {
            "name": fit.ordering.name,
            "nnz": fit.ordering.nnz,
            "nnz_factor": fit.ordering.nnz_factor,
            "flops": fit.ordering.flops,
        },
        "rounds": fit.rounds,
        "stop_reason": fit.stop_reason.value,
        "loglik": fit.loglik,
        "history": [
            {
                "loglik": r.loglik,
                "parameters": list(r.parameters),
                "step": r.step,
                "decrement": r.decrement,
                "seconds": r.seconds,
            }
            for r in fit.history
        ],
        "dropped": [[d.factor, d.subfactor, d.level] for d in fit.dropped],
    }


def reml_failure(solutions: FittedSolutions, out: Path) -> NotConvergedError:
    """Return what is raised for rounds that did not converge."""
    fit = solutions.fit
    return NotConvergedError(
        f"job 'reml' stopped after {fit.rounds} rounds at a log-likelihood of {fit.loglik:.4f}: "
        f"{fit.stop_reason.value}; run.json in {out} has its history, {CHECKPOINT} its last values"
    )
