"""Everything that a finished run writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.approximate_solutions import ApproximateSolutions
from henderson.accuracy.pev import PevSolutions, SampledSolutions
from henderson.accuracy.pev_columns import PevReport
from henderson.accuracy.pev_samples import SampledPev
from henderson.errors import ModelError
from henderson.jobs.background import background_of
from henderson.jobs.reml import FittedSolutions, reml_record
from henderson.jobs.sequence import rtol_of
from henderson.language.printing import print_equations
from henderson.language.spec import JobSpec, ModelSpec
from henderson.results.background import Background
from henderson.results.lmt_files import from_lmt
from henderson.results.report import Report, write_report
from henderson.results.solution_tables import write_lmt_results, write_solutions
from henderson.results.stages import Stage
from henderson.results.summary import Digest, digest_effects
from henderson.results.variances import loglik_text, write_variances
from henderson.solvers.indices import indices_of, printed_groups
from henderson.solvers.solutions import Solutions
from henderson.store.model_data import ModelData


def job_record(job: JobSpec, solutions: Solutions) -> dict[str, Any]:
    """Return the entry of a job in `run.json`."""
    if isinstance(solutions, FittedSolutions):
        return reml_record(job, solutions)
    if isinstance(solutions, PevSolutions):
        return pev_record(job, solutions.pev, solutions.n_equations)
    if isinstance(solutions, SampledSolutions):
        return sampled_record(job, solutions.pev, solutions.n_equations)
    if isinstance(solutions, ApproximateSolutions):
        return {
            "job": job.name,
            "method": "approximate",
            "equations": solutions.n_equations,
            "rounds": solutions.pev.rounds,
            "exact": solutions.pev.exact,
        }
    report = solutions.report
    return {
        "job": job.name,
        "equations": solutions.n_equations,
        "iterations": report.iterations,
        "stop_reason": report.reason.value,
        "relative_residual": report.relative_residual,
        "history": list(report.residual_norms),
        "dropped": [[d.factor, d.subfactor, d.level] for d in solutions.dropped],
        "stages": [{"name": s.name, "seconds": s.seconds} for s in solutions.stages],
    }


def pev_record(job: JobSpec, report: PevReport, n_equations: int) -> dict[str, Any]:
    """Return the entry in `run.json` of prediction error variances of chosen levels."""
    return {
        "job": job.name,
        "equations": n_equations,
        "right_hand_sides": report.n_columns,
        "products": report.products,
        "relative_residual": report.relative_residual,
        "levels": sum(len(b.chosen.levels) for b in report.blocks),
    }


def sampled_record(job: JobSpec, found: SampledPev, n_equations: int) -> dict[str, Any]:
    """Return the entry in `run.json` of prediction error variances from samples."""
    return {
        "job": job.name,
        "method": "sampling",
        "equations": n_equations,
        "samples": found.n_samples,
        "products": found.products,
    }


def write_results(
    spec: ModelSpec,
    data: ModelData,
    done: Sequence[tuple[JobSpec, Solutions]],
    stages: Sequence[Stage],
    out: Path,
    store: Path,
) -> tuple[Path, ...]:
    """Return the files written: the solutions of the last job, lmt's `results.csv` if wanted, and `report.html`."""
    _, last = done[-1]
    orders = file_orders(spec, data)
    files = [write_solutions(last.printed, out, orders=orders)]
    if from_lmt(spec):
        files.append(write_lmt_results(last.printed, out, orders=orders))
    files += [write_variances(s.fit, out) for _, s in done if isinstance(s, FittedSolutions)][-1:]
    background = background_of(spec, store)
    groups = printed_groups(last.design, indices_of(spec, last.design))
    groupings = [background.groupings.get(last.design.groups[g].pedigree or "") for g in groups]
    effects = digest_effects(last.printed, groupings)
    return (*files, write_page(spec, done, effects, stages, out, background))


def write_page(
    spec: ModelSpec,
    done: Sequence[tuple[JobSpec, Solutions]],
    effects: Sequence[Digest],
    stages: Sequence[Stage],
    out: Path,
    background: Background | None = None,
) -> Path:
    """Return the path of `report.html` about the jobs that are done."""
    _, last = done[-1]
    iterated = next((s for j, s in done if len(s.report.residual_norms) > 1), None)
    fit = next((s.fit for _, s in reversed(done) if isinstance(s, FittedSolutions)), None)
    report = Report(
        title=spec.source.name if spec.source else "henderson",
        facts=_facts(done, last),
        equations=equations_text(spec),
        effects=effects,
        stages=stages,
        history=iterated.report.residual_norms if iterated else (),
        rtol=rtol_of(done[0][0]),
        notes=_notes(last),
        fit=fit,
        spec=spec if fit is None else fit.spec,
        background=background,
    )
    return write_report(report, out)


def file_orders(spec: ModelSpec, data: ModelData) -> dict[str, NDArray[np.int64]]:
    """Return, for each factor related by a pedigree, the store rows of its animals in the order of their file."""
    orders = {}
    for variance in spec.variances:
        pedigree = data.pedigrees.get(variance.gamma.name or "")
        if pedigree is not None and pedigree.row is not None:
            orders[variance.name] = np.argsort(pedigree.row, kind="stable")
    return orders


def equations_text(spec: ModelSpec) -> str:
    """Return the equations, or the terms of a formula that equations cannot say."""
    try:
        return print_equations(spec)
    except ModelError:
        return "\n".join(
            f"{e.trait} = " + " + ".join(f"{t.variable}*{t.subfactor}" for t in e.terms) for e in spec.equations
        )


def _facts(done: Sequence[tuple[JobSpec, Solutions]], last: Solutions) -> list[tuple[str, str]]:
    facts = [("equations", f"{last.n_equations:,}")]
    for job, solutions in done:
        if isinstance(solutions, FittedSolutions):
            fit = solutions.fit
            facts.append(("reml", f"{fit.rounds} rounds, log-likelihood {loglik_text(fit)}; {fit.stop_reason.value}"))
            continue
        if isinstance(solutions, PevSolutions):
            pev = solutions.pev
            facts.append((job.name, f"{pev.n_columns} right-hand sides, {pev.products} products"))
            continue
        if isinstance(solutions, SampledSolutions):
            facts.append((job.name, f"{solutions.pev.n_samples} samples, {solutions.pev.products} products"))
            continue
        if isinstance(solutions, ApproximateSolutions):
            rounds, exact = solutions.pev.rounds, solutions.pev.exact
            by = f", calibrated by {exact} animals" if exact else ""
            facts.append((job.name, f"approximate, {rounds} round{'s' * (rounds > 1)} over the pedigree{by}"))
            continue
        report = solutions.report
        steps = f"{report.iterations} iterations, " if report.iterations else ""
        facts.append((job.name, f"{steps}relative residual {report.relative_residual:.2e}; {report.reason.value}"))
    return facts


def name_dropped(solutions: Solutions, most: int) -> str:
    """Return the names of at most `most` columns of X that were left out, and how many more there are."""
    dropped = solutions.dropped
    names = ", ".join(f"{d.subfactor}[{d.level}]" for d in dropped[:most])
    return f"{names} and {len(dropped) - most} more" if len(dropped) > most else names


def _notes(last: Solutions) -> list[str]:
    return [f"Left out as dependent on other fixed effects: {name_dropped(last, 50)}."] if last.dropped else []
