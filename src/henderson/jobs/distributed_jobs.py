"""The jobs of a run on several processes: each has its share of the equations, and keeps its solutions between jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.chosen import Chosen, choose, labels_of
from henderson.accuracy.gamma import of_store
from henderson.accuracy.pev_columns import PevReport, columns_for, reliabilities, solve_pev
from henderson.accuracy.pev_samples import SIDE_BY_SIDE, VECTORS, sample_pev
from henderson.equations.distributed import Share
from henderson.equations.matrix_root import with_roots
from henderson.equations.operator import Operator
from henderson.errors import ResourceError, UsageError
from henderson.jobs.progress import Progress, of_stage
from henderson.jobs.reml import run_reml_together, solutions_of
from henderson.jobs.sequence import (
    RECORD_JOBS,
    JobDone,
    factors_of,
    levels_of,
    options_of,
    pev_method,
    rtol_of,
    sampling_options,
)
from henderson.jobs.shares import Accuracies, records_before
from henderson.jobs.together import only_first
from henderson.jobs.write import job_record, pev_record, sampled_record
from henderson.language.spec import JobSpec, ModelSpec
from henderson.results.pev_table import write_pev
from henderson.results.record_tables import RecordValues, fitted_records, write_records
from henderson.results.variances import write_variances
from henderson.solvers.indices import indices_of
from henderson.solvers.preconditioner import BlockPreconditioner, Kind
from henderson.solvers.report import SolveReport
from henderson.solvers.solutions import Solutions, dropped_columns
from henderson.solvers.sweep import kind_for_many, preconditioner_of
from henderson.store.slices import StoreParts

if TYPE_CHECKING:
    from henderson.partitions.mpi import MpiCommunicator

Floats = NDArray[np.float64]
Solve = Callable[[JobSpec, ModelSpec, Share], SolveReport[Floats]]

MOST_SOLVED = 20_000  # equations up to which one solve each is taken for an answer to "all levels"


class DistributedJobs:
    """Does one job after the other; a context manager. All methods are **Collective**.

    `spec` is the model with the variances as they are now; `report` has the solutions of this process.

    Parameters
    ----------
    spec, share, store, out
        The model, what this process has of its equations, the store, the folder of the results.
    communicator
        The processes.
    solve
        Solves the equations of a model as a job says.
    memory
        Bytes that this process may take.
    progress
        Told on rank 0.

    """

    def __init__(
        self,
        spec: ModelSpec,
        share: Share,
        store: Path,
        out: Path,
        communicator: MpiCommunicator,
        solve: Solve,
        memory: int,
        progress: Progress | None,
    ) -> None:
        self.spec, self._share, self._store, self._out = spec, share, store, out
        self._communicator, self._solve, self._memory = communicator, solve, memory
        self._progress = progress if communicator.rank == 0 else None
        self.report: SolveReport[Floats] | None = None  # of the last solve, or fit
        self.indices = indices_of(spec, share.design)
        self.accuracies = Accuracies(share, self.indices, of_store(store))
        self._operator: Operator | None = None
        self._values: RecordValues | None = None
        self._closing = ExitStack()

    def __enter__(self) -> DistributedJobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:  # else other ranks may be elsewhere
            self._closing.close()

    def do(self, job: JobSpec) -> JobDone:
        """Return what a job has left; the caller has to look at `converged`."""
        if job.name in RECORD_JOBS:
            return self._records(job)
        if job.name == "pev":
            return self._pev(job)
        if job.name == "reml":
            return self._reml(job)
        self.report, self._values = self._solve(job, self.spec, self._share), None
        volume = self.report.communication
        sent = {} if volume is None else {"communication": volume.as_record()}
        design = self._share.design
        without: SolveReport[list[Floats]] = replace(self.report, solution=[])  # type: ignore[assignment,arg-type]
        found = Solutions((), dropped_columns(design), without, design.n_equations, (), design)
        return JobDone(job, job_record(job, found) | sent, found)

    def _reml(self, job: JobSpec) -> JobDone:
        fit, x = run_reml_together(
            job, self.spec, self._at_hand(), self._out, self._communicator, self._memory, self._progress
        )
        self._closing.close()
        self._operator = self._values = None
        self.spec, self._share = fit.spec, replace(self._share, design=fit.design)
        self.accuracies = Accuracies(self._share, self.indices, of_store(self._store))
        found = solutions_of(fit)
        report = found.report
        self.report = SolveReport(x, report.reason, report.iterations, report.relative_residual)
        files = (only_first(self._communicator, lambda: write_variances(fit, self._out)),) if fit.converged else ()
        return JobDone(job, job_record(job, found), found, files)

    def _at_hand(self) -> Operator:
        if self._operator is None:
            from henderson.partitions.threads import Team
            from henderson.solvers.petsc.exchange import PetscExchange

            exchange = PetscExchange(self._share.halo, self._communicator)
            self._closing.callback(exchange.close)
            team = self._closing.enter_context(Team(1))
            self._operator = Operator(self._share.design, [self._share.partition], exchange, team)
        return self._operator

    def _pev(self, job: JobSpec) -> JobDone:
        operator = self._at_hand()
        method = pev_method(job)
        many = operator.design.n_equations > MOST_SOLVED
        if method == "sampling" or (method == "direct" and many):
            return self._sampled_pev(job, operator)
        chosen = self._chosen(job, operator)
        kind: Kind = job.get("preconditioner", "border")  # type: ignore[assignment]
        report = solve_pev(
            operator,
            preconditioner_of(operator, kind),
            chosen,
            n_columns=self._n_columns(job, operator),
            progress=None if self._progress is None else of_stage(self._progress, "pev"),
            rtol=rtol_of(job),
            **options_of(job, "max_it"),
        )
        return self._keep(job, report, operator)

    def _sampled_pev(self, job: JobSpec, operator: Operator) -> JobDone:
        operator = with_roots(operator, self._communicator)
        fit = min(SIDE_BY_SIDE, columns_for(operator, self._memory // 2, VECTORS))
        blocks, kind = BlockPreconditioner(operator), kind_for_many(operator)
        found = sample_pev(
            operator,
            preconditioner_of(operator, kind) if kind == "sweep" else blocks,
            blocks,
            of_store(self._store),
            n_columns=int(self._communicator.minimum(np.array([fit]))[0]),
            progress=None if self._progress is None else of_stage(self._progress, "pev"),
            indices=self.indices,
            **sampling_options(job),
        )
        self.accuracies.add_sampled(found)
        return JobDone(job, sampled_record(job, found, operator.design.n_equations))

    def _keep(self, job: JobSpec, report: PevReport, operator: Operator) -> JobDone:
        """Keep the accuracies of what is owned here; write the blocks."""
        communicator, design = self._communicator, operator.design
        labels = labels_of(operator, [b.chosen for b in report.blocks], communicator)

        def conclude() -> tuple[Path, list[Floats | None]]:
            path = write_pev(design, report.blocks, labels, self._out)
            return path, reliabilities(design, report.blocks, of_store(self._store))

        path, shares = only_first(communicator, conclude)
        self.accuracies.add(report.blocks, shares)
        return JobDone(job, pev_record(job, report, design.n_equations), None, (path,))

    def _chosen(self, job: JobSpec, operator: Operator) -> tuple[Chosen, ...]:
        factors = factors_of(job)
        levels = only_first(self._communicator, lambda: (levels_of(job, self.spec),))[0]
        if factors or levels is not None:
            return choose(operator, factors, levels, self._communicator, self.indices)
        design = operator.design
        if design.n_equations > MOST_SOLVED and job.get("nrhs") is None:
            raise ResourceError(
                f"the petsc engine solves the equations once for each of {design.n_equations:,} standard errors; name "
                "those that are wanted, 'factor' and 'levels' of job pev, or take samples, method = 'sampling'"
            )
        everything = dict.fromkeys(p.factor for g in design.groups for p in g.positions if p is not None)
        return choose(operator, tuple(everything), None, self._communicator)

    def _n_columns(self, job: JobSpec, operator: Operator) -> int:
        nrhs = job.get("nrhs")
        fit = nrhs if isinstance(nrhs, int) else columns_for(operator, self._memory // 2)
        return int(self._communicator.minimum(np.array([fit]))[0])

    def _records(self, job: JobSpec) -> JobDone:
        assert self.report is not None  # `sequence.with_solves`
        operator, communicator = self._at_hand(), self._communicator
        if self._values is None:
            first = records_before(self._share, communicator)
            rows = StoreParts(self._store).array("records/row")[first : first + self._share.design.n_records]
            self._values = fitted_records(operator, [self.report.solution], rows)
        only = job.name == "residuals"
        path = write_records(job.name, self._values, self.spec.traits, self._out, communicator, observed_only=only)
        return JobDone(job, {"job": job.name, "file": path.name}, None, (path,))


def refuse_direct(job: JobSpec) -> None:
    """Raise `UsageError` for a job that asks for a factor of the equations."""
    if job.name == "reml":
        if (method := job.get("method", "ai")) in ("ai", "em"):
            raise UsageError(
                f"reml by method {method!r} factors the equations in one process: use --method mc-ai (Monte Carlo), "
                "or --engine embedded"
            )
        if job.get("start") == "simpler":
            raise UsageError("start values from simpler models need --engine embedded; use start = 'data'")
        return
    if pev_method(job) == "approximate":
        raise UsageError(
            "job 'pev', method 'approximate', follows the pedigree in one process: use --engine embedded, or "
            "method = 'sampling'"
        )
    if job.get("method") not in (None, "pcg", "sampling"):
        raise UsageError(f"the petsc engine iterates: method {job.get('method')!r} needs --engine embedded")
