"""From a parameter file to results by several processes: each has its share of the equations, one speaks for all."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from henderson.equations.distributed import Share, take_share
from henderson.equations.operator import Operator
from henderson.errors import MAX_PRINTED, UsageError
from henderson.ingest.run import ingest
from henderson.jobs.background import background_of
from henderson.jobs.checkpoints import checkpoints_of
from henderson.jobs.distributed_jobs import DistributedJobs, refuse_direct
from henderson.jobs.inputs import input_files
from henderson.jobs.memory import check_memory_together
from henderson.jobs.progress import Progress, solve_progress, stages_told
from henderson.jobs.reml import FittedSolutions, reml_failure
from henderson.jobs.run import Outcome, Settings, failed, understand
from henderson.jobs.seeds import seeds
from henderson.jobs.sequence import RECORD_JOBS, JobDone, options_of, tolerances, with_solves
from henderson.jobs.shares import over_ranks, owned_groupings, owned_rows
from henderson.jobs.stopping import Stopping
from henderson.jobs.together import only_first
from henderson.jobs.warm_start import start_files, start_values
from henderson.jobs.write import name_dropped, write_page
from henderson.language.spec import JobSpec, ModelSpec
from henderson.reml.setup import with_values
from henderson.results.background import Background
from henderson.results.files import write_json
from henderson.results.group_files import write_group_files
from henderson.results.lmt_files import from_lmt, write_history, write_lmt_files
from henderson.results.manifest import write_manifest
from henderson.results.parallel_summary import digest_together
from henderson.results.parallel_tables import write_tables_together
from henderson.results.run_record import How, describe_inputs, effective_config, write_run_record
from henderson.results.solution_files import variances_file
from henderson.results.stages import Stages
from henderson.results.summary import Digest
from henderson.solvers.checkpoint import Checkpointing
from henderson.solvers.report import SolveReport
from henderson.solvers.start import Start
from henderson.solvers.trace import WatchedTrace

if TYPE_CHECKING:
    from henderson.partitions.mpi import MpiCommunicator
    from henderson.solvers.petsc.compare import LadderRow
    from henderson.solvers.petsc.options import PetscOptions

log = logging.getLogger(__name__)

COMPARISON = "preconditioners.json"


def require_petsc() -> None:
    """Raise `UsageError` that says how to install what the petsc engine needs, if that is not there."""
    missing = [name for name in ("mpi4py", "petsc4py") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the petsc engine needs {' and '.join(missing)}: pip install 'henderson[mpi]' (what that needs is in "
            "cluster/env/README.md), or use --engine embedded"
        )


def run_together(
    file: Path,
    settings: Settings,
    communicator: MpiCommunicator,
    stopping: Stopping,
    progress: Progress | None = None,
) -> Outcome:
    """Return what the jobs of `file` left, the same on all ranks but for the solutions. **Collective**.

    Rank 0 understands the model, ingests, and writes record and page; all solve and write the tables. The outcome
    has digests, no solutions. `progress` is called on rank 0.

    Raises
    ------
    HendersonError
        For what is wrong in the parameter file, in the files it names, in the store, or with the iteration; some
        errors on some ranks only: `together.one_voice` ends the others.

    """
    stages = stages_told(progress)
    out, store = settings.folders(file)
    started = only_first(communicator, lambda: _started_from(settings))  # now: `out` may be the same
    spec, share, limit = _set_up(file, settings, communicator, stages, progress)

    def solve(job: JobSpec, spec: ModelSpec, share: Share) -> SolveReport[NDArray[np.float64]]:
        checkpoints = checkpoints_of(spec, store, out, settings.checkpoint_every, stopping, communicator)
        traces.extend([WatchedTrace()] if from_lmt(spec) else [])
        trace = traces[-1] if traces else None
        options = _options(job, settings, limit)
        return _solve(share, options, communicator, checkpoints, progress, trace, settings.start)

    traces: list[WatchedTrace] = []
    did: list[JobDone] = []
    with DistributedJobs(spec, share, store, out, communicator, solve, limit, progress) as jobs:
        for job in with_solves(spec.jobs, factors=False):
            stopping.patient = job.name == "solve"
            with stages.stage(job.name):
                did.append(jobs.do(job))
            if not did[-1].converged:
                break
    stopping.patient = True
    done = [(d.job, d.solutions) for d in did if d.solutions is not None]
    _, solutions = done[-1]
    report, files = solutions.report, tuple(f for d in did for f in d.files)
    effects: tuple[Digest, ...] = ()
    background: Background | None = None
    if report.converged:
        if solutions.dropped and communicator.rank == 0:
            log.warning("dropped as dependent on other fixed effects: %s", name_dropped(solutions, MAX_PRINTED))
        with stages.stage("write"):
            assert jobs.report is not None
            rows = owned_rows(share, jobs.report.solution, store, jobs.accuracies, jobs.indices)
            files += write_tables_together(rows, out, communicator, lmt=from_lmt(spec))
            background = only_first(communicator, lambda: background_of(spec, store))
            groupings = owned_groupings(share, background.groupings, jobs.indices)
            effects = digest_together([r.part for r in rows], communicator, groupings)
    summed = over_ranks(stages.done, communicator)
    fits = tuple(s.fit for _, s in done if isinstance(s, FittedSolutions))
    nodes = communicator.gather_all(platform.node())
    jobs_done = [(d.job, d.record) for d in did]

    def conclude() -> tuple[tuple[Path, ...], dict[str, Any]]:
        pages: tuple[Path, ...] = ()
        if report.converged:
            assert background is not None
            pages = (write_page(spec, done, effects, summed, out, background), *write_group_files(spec, store, out))
            if from_lmt(spec):
                pages += (*(write_history(t.steps, out) for t in traces[-1:]),)
                pages += write_lmt_files(spec, store, out, fits, limit)
        given = [settings.petsc_file] if settings.petsc_file is not None else []
        given += [variances_file(settings.variances)] if settings.variances is not None else []
        record = write_run_record(
            out,
            How(settings.command(file), "petsc", communicator.size, 1, nodes, seeds(jobs_done)),
            inputs=describe_inputs(input_files(spec) + given) + started,
            config=effective_config(spec, _described(settings, store)),
            stages=summed,
            jobs=[entry for _, entry in jobs_done],
        )
        pages += (out / "run.json",)
        return (*pages, write_manifest(out, (*files, *pages))), record

    pages, record = only_first(communicator, conclude)
    if not report.converged:
        if isinstance(solutions, FittedSolutions):
            raise reml_failure(solutions, out)
        raise failed(did[-1].job, report, out)
    return Outcome(out, (*files, *pages), record, jobs.spec, (), effects, fits)


def _started_from(settings: Settings) -> list[dict[str, Any]]:
    """Return the files of the solutions that the solve starts from."""
    return [] if settings.start is None else describe_inputs(start_files(settings.start))


def compare_together(
    file: Path,
    settings: Settings,
    communicator: MpiCommunicator,
    stopping: Stopping,
    progress: Progress | None = None,
) -> list[LadderRow]:
    """Return what each preconditioner takes to solve the model of `file`; **Collective**, no solutions are written."""
    from henderson.solvers.petsc.compare import compare

    spec, share, limit = _set_up(file, settings, communicator, Stages(), progress)
    job = next(j for j in with_solves(spec.jobs, factors=False) if j.name == "solve")
    options = _options(job, settings, limit)
    stopping.patient = True
    rows = compare(share, communicator, options, stop=stopping.flag)
    out, _ = settings.folders(file)
    only_first(communicator, lambda: write_json(out / COMPARISON, [asdict(row) for row in rows]))
    return rows


def _set_up(
    file: Path, settings: Settings, communicator: MpiCommunicator, stages: Stages, progress: Progress | None
) -> tuple[ModelSpec, Share, int]:
    """Return the model, the share of this rank, and the bytes that it may take. **Collective**."""
    out, store = settings.folders(file)
    with stages.stage("model"):
        spec = only_first(communicator, lambda: _understand(file, settings, out))
    with stages.stage("ingest"):
        workers = settings.threads or os.cpu_count() or 1
        limit = settings.memory
        only_first(communicator, lambda: ingest(spec, store, workers=workers, memory=limit, progress=progress))
    with stages.stage("memory"):
        limit = check_memory_together(spec, store, communicator, communicator.on_this_node(), settings.memory)
    with stages.stage("read store"):
        known = with_values(spec) if spec.jobs[0].name == "reml" else spec
        return spec, take_share(known, store, communicator), limit


def _understand(file: Path, settings: Settings, out: Path) -> ModelSpec:
    spec = settings.applied_to(understand(file, settings.jobs))
    if others := [job.name for job in spec.jobs if job.name not in ("solve", "pev", "reml", *RECORD_JOBS)]:
        remedy = "use --engine embedded for them, or henderson solve to solve only"
        raise UsageError(f"the petsc engine cannot do the job{'s' * (len(others) > 1)} {', '.join(others)}; {remedy}")
    for job in spec.jobs:
        refuse_direct(job)
    out.mkdir(parents=True, exist_ok=True)
    return spec


def _options(job: JobSpec, settings: Settings, limit: int) -> PetscOptions:
    from henderson.solvers.petsc.options import PetscOptions

    chosen = tolerances(job) | options_of(job, "preconditioner", "max_it")
    return PetscOptions(
        operator=settings.operator,  # type: ignore[arg-type]
        arguments=settings.petsc,
        file=settings.petsc_file,
        memory_limit=limit,
        **chosen,
    )


def _solve(
    share: Share,
    options: PetscOptions,
    communicator: MpiCommunicator,
    checkpoints: Checkpointing | None,
    progress: Progress | None,
    trace: WatchedTrace | None,
    earlier: Path | None,
) -> SolveReport[NDArray[np.float64]]:
    from henderson.solvers.petsc.solve import solve_share

    rtol = options.xtol if options.xtol is not None and math.isinf(options.rtol) else options.rtol
    callback = solve_progress(progress, rtol) if communicator.rank == 0 else None

    def start(operator: Operator) -> Start:
        assert earlier is not None
        return start_values(operator, earlier, communicator)

    return solve_share(
        share,
        communicator,
        options,
        checkpointing=checkpoints,
        callback=callback,
        trace=trace,
        start=None if earlier is None else start,
    )


def _described(settings: Settings, store: Path) -> dict[str, Any]:
    return {
        "engine": "petsc",
        "threads": 1,
        "store": store,
        "operator": settings.operator,
        "petsc": settings.petsc,
        "petsc_file": settings.petsc_file,
        "checkpoint_every": settings.checkpoint_every,
    }
