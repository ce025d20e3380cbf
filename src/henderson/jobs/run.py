"""From a parameter file to results: understand the model, ingest, solve, write."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from henderson.errors import MAX_PRINTED, HendersonError, InterruptedRunError, NotConvergedError, NotSupportedError
from henderson.ingest.cluster import Cluster
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.jobs.checkpoints import FOLDER, checkpoints_of
from henderson.jobs.cutoff import with_cutoff
from henderson.jobs.embedded import EmbeddedJobs
from henderson.jobs.inputs import input_files
from henderson.jobs.known_variances import with_variances
from henderson.jobs.memory import check_memory
from henderson.jobs.out_of_core import OutOfCore, out_of_core
from henderson.jobs.progress import Progress, stages_told
from henderson.jobs.reml import FittedSolutions, reml_failure
from henderson.jobs.seeds import seeds
from henderson.jobs.sequence import JobDone, levels_of, with_preconditioners, with_solves
from henderson.jobs.stopping import Stopping
from henderson.jobs.write import name_dropped, write_results
from henderson.language.load import load_model
from henderson.language.spec import JobSpec, ModelSpec
from henderson.language.support import unsupported
from henderson.reml.result import RemlFit
from henderson.results.group_files import write_group_files
from henderson.results.lmt_files import from_lmt, write_lmt_files
from henderson.results.manifest import write_manifest
from henderson.results.run_record import How, describe_inputs, effective_config, write_run_record
from henderson.results.solution_files import variances_file
from henderson.results.stages import Stages, available_bytes
from henderson.results.summary import Digest
from henderson.solvers.report import SolveReport, StopReason
from henderson.solvers.solutions import SubfactorSolutions
from henderson.solvers.solve import n_threads_for
from henderson.store.reader import open_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How to run: `jobs` replaces those of the parameter file; None elsewhere means the default.

    rtol, preconditioner: instead of those of the solve job; method: instead of that of the reml job; memory: bytes of a
    node that may be taken, if that is less than there are; scratch: folder of what solves keep in a file to hold to
    that, None: that of the results; checkpoint_every: seconds, None: no checkpoints; operator to compare: for the petsc
    engine alone, as in `solvers.petsc`; start: results of an earlier run, where solves start; before: a column of dates
    and where they are cut: see `jobs.cutoff`;
    variances: results of an earlier run, whose estimates are taken as known.
    """

    out: Path | None = None
    store: Path | None = None
    engine: str = "embedded"
    threads: int | None = None
    jobs: tuple[str, ...] | None = None
    rtol: float | None = None
    preconditioner: str | None = None
    method: str | None = None
    memory: int | None = None
    scratch: Path | None = None
    checkpoint_every: float | None = None
    operator: str = "matrix-free"
    petsc: str = ""
    petsc_file: Path | None = None
    compare: bool = False
    start: Path | None = None
    before: tuple[str, str] | None = None
    variances: Path | None = None

    def folders(self, file: Path) -> tuple[Path, Path]:
        """Return the folders of the results and of the store."""
        out = self.out or Path(f"{file.stem}.out")
        return out, self.store or out / "store.zarr"

    def command(self, file: Path) -> dict[str, Any]:
        """Return what `run.json` keeps of how the run was started."""
        return {"directory": Path.cwd(), "file": file, "settings": asdict(self)}

    def applied_to(self, spec: ModelSpec) -> ModelSpec:
        """Return the model with `rtol` and `preconditioner` in its solve jobs, `method` in its reml jobs; cut `before`.

        A preconditioner that neither the file nor the settings name is chosen: see `sequence.with_preconditioners`.

        Raises `ModelError`: see `jobs.cutoff`; `InputFileError`: see `jobs.known_variances`.
        """
        names = {"solve": ("rtol", "preconditioner"), "reml": ("method",)}

        def changed(job: JobSpec) -> JobSpec:
            given = {k: v for k in names.get(job.name, ()) if (v := getattr(self, k)) is not None}
            return replace(job, options=tuple({**dict(job.options), **given}.items())) if given else job

        spec = spec if self.before is None else with_cutoff(spec, *self.before)
        spec = spec if self.variances is None else with_variances(spec, self.variances)
        return with_preconditioners(replace(spec, jobs=tuple(changed(job) for job in spec.jobs)))


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: its folder and files, the run record (`run.json`), the model and the solutions.

    Of several processes none has all solutions: `parts` is empty, and `effects` tell of them.
    """

    out: Path
    files: tuple[Path, ...]
    record: dict[str, Any]
    spec: ModelSpec
    parts: tuple[SubfactorSolutions, ...]
    effects: tuple[Digest, ...] = ()
    fits: tuple[RemlFit, ...] = ()


def understand(file: Path, jobs: tuple[str, ...] | None = None) -> ModelSpec:
    """Return the model of a parameter file; `jobs` replaces the jobs it lists.

    Raises `ModelError` for all its mistakes at once, `NotSupportedError` for what this version cannot compute.
    """
    spec = load_model(file, read_schema, read_levels)
    if jobs is not None:
        listed = {j.name: j for j in spec.jobs}
        chosen = tuple(listed.get(name, JobSpec(name)) for name in jobs)
        spec = replace(spec, jobs=chosen)
    if problems := unsupported(spec):
        raise NotSupportedError(problems)
    for job in spec.jobs:
        levels_of(job, spec)  # its file is there
    return spec


def ingest_only(
    file: Path, settings: Settings, progress: Progress | None = None, cluster: Cluster | None = None
) -> Path:
    """Return the store, made from the files that the parameter file names, or found whole; by a `cluster`, if given."""
    spec = understand(file)
    _, store = settings.folders(file)
    store.parent.mkdir(parents=True, exist_ok=True)
    workers = settings.threads or os.cpu_count() or 1
    ingest(spec, store, workers=workers, memory=settings.memory, progress=progress, cluster=cluster)
    return store


def run(file: Path, settings: Settings, progress: Progress | None = None, stopping: Stopping | None = None) -> Outcome:
    """Return what the jobs of the parameter file `file` left in the folder of results.

    `stopping`: what signals act upon.

    Raises a `HendersonError` for what is wrong in the parameter file, in the files it names, in the store, or with the
    iteration; then no file of solutions is written.
    """
    stages = stages_told(progress)
    with stages.stage("model"):
        spec = settings.applied_to(understand(file, settings.jobs))
        started = [] if settings.variances is None else describe_inputs([variances_file(settings.variances)])
        if settings.start is not None:
            from henderson.jobs.warm_start import start_files

            started += describe_inputs(start_files(settings.start))  # now: `out` may be the same
    out, store = settings.folders(file)
    out.mkdir(parents=True, exist_ok=True)
    with stages.stage("ingest"):
        workers = settings.threads or os.cpu_count() or 1
        ingest(spec, store, workers=workers, memory=settings.memory, progress=progress)
    todo = with_solves(spec.jobs)
    scratch = settings.scratch or out
    how = out_of_core(spec, todo, store, scratch, settings.memory, workers)
    with how.memory:
        return _solved(file, spec, todo, settings, stages, how, started, progress, stopping)


def _solved(
    file: Path,
    spec: ModelSpec,
    todo: Sequence[JobSpec],
    settings: Settings,
    stages: Stages,
    how: OutOfCore,
    started: list[dict[str, Any]],
    progress: Progress | None,
    stopping: Stopping | None,
) -> Outcome:
    """Return what the jobs `todo` left, from the store on."""
    out, store = settings.folders(file)
    with stages.stage("read store"):
        data = open_store(store)
    if not how.in_file:
        check_memory(spec, data, settings.memory)
    did: list[JobDone] = []
    threads = n_threads_for(data, settings.threads)
    embedded = EmbeddedJobs(
        spec,
        data,
        out,
        threads=threads,
        memory=settings.memory,
        progress=progress,
        start=settings.start,
        lean=all(job.name == "solve" for job in todo),
        n_partitions=how.n_partitions,
    )  # its variances become the estimates
    del data  # the jobs keep what they need of it
    with embedded as jobs:
        for job in todo:
            if stopping is not None:
                stopping.patient = job.name == "solve"
            with stages.stage(job.name):
                checkpoints = checkpoints_of(jobs.spec, store, out, settings.checkpoint_every, stopping)
                did.append(jobs.do(job, checkpoints))
            if not did[-1].converged:
                break
    if stopping is not None:
        stopping.patient = True
    done = [(d.job, d.solutions) for d in did if d.solutions is not None]
    job, last = done[-1]
    files = tuple(dict.fromkeys(f for d in did for f in d.files))
    fits = tuple(s.fit for _, s in done if isinstance(s, FittedSolutions))
    if last.report.converged:
        if last.dropped:
            log.warning("dropped as dependent on other fixed effects: %s", name_dropped(last, MAX_PRINTED))
        with stages.stage("write"):
            files += write_results(spec, embedded.data, done, stages.done, out, store)
            files += write_group_files(spec, store, out)
            if from_lmt(spec):
                files += write_lmt_files(spec, store, out, fits, available_bytes())
    with stages.stage("checksums"):
        inputs = describe_inputs(input_files(spec)) + started
    jobs_done = [(d.job, d.record) for d in did]
    record = write_run_record(
        out,
        How(settings.command(file), settings.engine, 1, threads, seeds=seeds(jobs_done)),
        inputs=inputs,
        config=effective_config(spec, {"engine": settings.engine, "threads": settings.threads, "store": store}),
        stages=stages.done,
        jobs=[entry for _, entry in jobs_done],
    )
    files += (out / "run.json",)
    files += (write_manifest(out, files),)
    if not last.report.converged:
        raise reml_failure(last, out) if isinstance(last, FittedSolutions) else failed(job, last.report, out)
    return Outcome(out, files, record, embedded.spec, last.printed, fits=fits)


def failed(job: JobSpec, report: SolveReport[Any], out: Path) -> HendersonError:
    """Return what is raised for a job that did not converge, or was told to stop."""
    if report.reason is StopReason.INTERRUPTED:
        return InterruptedRunError(
            f"job {job.name!r} stopped after {report.iterations} iterations at a relative residual of "
            f"{report.relative_residual:.2e}: {report.reason.value} in {out / FOLDER}"
        )
    return NotConvergedError(
        f"job {job.name!r} stopped after {report.iterations} iterations at a relative residual of "
        f"{report.relative_residual:.2e}: {report.reason.value}; run.json in {out} has its history"
    )
