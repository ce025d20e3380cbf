"""The jobs of a run in one process: equations and solutions are kept from one to the next."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from henderson.accuracy.chosen import labels_of
from henderson.accuracy.pev import all_levels, chosen_levels, sampled_levels
from henderson.errors import NotConvergedError, ResourceError
from henderson.jobs.memory import bytes_within
from henderson.jobs.progress import Progress, of_stage, solve_progress
from henderson.jobs.reml import run_reml
from henderson.jobs.sequence import (
    RECORD_JOBS,
    JobDone,
    factors_of,
    levels_of,
    options_of,
    pev_method,
    rtol_of,
    sampling_options,
    tolerances,
)
from henderson.jobs.write import job_record
from henderson.language.spec import JobSpec, ModelSpec
from henderson.partitions.communicator import ALONE
from henderson.results.lmt_files import from_lmt, write_history
from henderson.results.pev_table import write_pev
from henderson.results.record_tables import RecordValues, fitted_records, write_records
from henderson.solvers.checkpoint import Checkpointing
from henderson.solvers.solutions import Solutions, merged_accuracies, values_by_group
from henderson.solvers.solve import Equations
from henderson.solvers.trace import Trace
from henderson.store.model_data import ModelData

log = logging.getLogger(__name__)


class EmbeddedJobs:
    """Does one job after the other; a context manager.

    `spec` is the model with the variances as they are now; `fitted` what the last job with solutions has found, with
    the accuracies of those before it on the same variances. With `lean` there are only solves to do: `data` loses its
    records once the equations are set up.
    """

    def __init__(
        self,
        spec: ModelSpec,
        data: ModelData,
        out: Path,
        *,
        threads: int | None = None,
        memory: int | None = None,
        progress: Progress | None = None,
        start: Path | None = None,
        lean: bool = False,
        n_partitions: int | None = None,
    ) -> None:
        self._n_partitions = n_partitions
        self._lean = lean
        self._start = start  # results of an earlier run
        self.spec, self.data, self._out = spec, data, out
        self._threads, self._memory, self._progress = threads, memory, progress
        self.fitted: Solutions | None = None
        self._equations: Equations | None = None
        self._values: RecordValues | None = None
        self._closing = ExitStack()

    def __enter__(self) -> EmbeddedJobs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    def do(self, job: JobSpec, checkpoints: Checkpointing | None) -> JobDone:
        """Return what a job has left; the caller has to look at `converged`."""
        if job.name in RECORD_JOBS:
            return self._records(job)
        if job.name == "reml":
            return self._reml(job)
        if job.name == "pev":
            return self._pev(job)
        trace = Trace() if from_lmt(self.spec) else None
        found = self._solve(job, checkpoints, trace)
        files = (write_history(trace.steps, self._out),) if trace is not None and trace.steps else ()
        return JobDone(job, job_record(job, found), found, files)

    def _at_hand(self) -> Equations:
        if self._equations is None:
            self._equations = self._closing.enter_context(
                Equations(self.spec, self.data, self._threads, self._n_partitions)
            )
            if self._lean:
                self._equations.let_go_of_records()
                self.data = self._equations.data
        return self._equations

    def _available(self) -> int:
        return bytes_within(self._memory)

    def _keep(self, found: Solutions) -> Solutions:
        """Return `found` with the accuracies that earlier jobs have computed at the same variances."""
        if self.fitted is not None:
            found = replace(
                found,
                subfactors=merged_accuracies(found.subfactors, self.fitted.subfactors),
                indices=merged_accuracies(found.indices, self.fitted.indices),
            )
        self.fitted, self._values = found, None
        return found

    def _reml(self, job: JobSpec) -> JobDone:
        self._closing.close()
        self._equations = self.fitted = self._values = None
        found = run_reml(job, self.spec, self.data, self._out, self._progress, self._available())
        self.spec, self.fitted = found.fit.spec, found
        return JobDone(job, job_record(job, found), found)

    def _solve(self, job: JobSpec, checkpoints: Checkpointing | None, trace: Trace | None = None) -> Solutions:
        options = tolerances(job) | options_of(job, "method", "preconditioner", "max_it")
        callback = solve_progress(self._progress, rtol_of(job))
        equations = self._at_hand()
        start = None
        if self._start is not None:
            from henderson.jobs.warm_start import start_values

            start = start_values(equations.operator, self._start, ALONE)
        found = equations.solve(
            memory=self._available(), callback=callback, checkpointing=checkpoints, trace=trace, start=start, **options
        )
        return self._keep(found)

    def _pev(self, job: JobSpec) -> JobDone:
        method = pev_method(job)
        if method == "direct":
            try:
                found = self._keep(all_levels(self._at_hand(), memory=self._available()))
                return JobDone(job, job_record(job, found), found)
            except ResourceError as error:
                if job.get("method") == "direct":
                    raise
                log.info("job 'pev' takes samples: %s", error)
        if method == "approximate":
            return self._approximate_pev(job)
        if method != "pcg":
            return self._sampled_pev(job)
        assert self.fitted is not None  # `sequence.with_solves`
        nrhs = job.get("nrhs")
        pev = chosen_levels(
            self._at_hand(),
            self.fitted,
            factors_of(job),
            levels_of(job, self.spec),
            n_columns=int(nrhs) if isinstance(nrhs, int) else None,
            memory=self._available() // 2,
            progress=None if self._progress is None else of_stage(self._progress, "pev"),
            rtol=rtol_of(job),
            **options_of(job, "preconditioner", "max_it"),
        )
        self.fitted = pev
        blocks = pev.pev.blocks
        labels = labels_of(self._at_hand().operator, [b.chosen for b in blocks], ALONE)
        path = write_pev(pev.design, blocks, labels, self._out)
        return JobDone(job, job_record(job, pev), pev, (path,))

    def _approximate_pev(self, job: JobSpec) -> JobDone:
        from henderson.accuracy.approximate_levels import approximate_levels  # slow to import
        from henderson.results.contribution_table import write_contributions

        assert self.fitted is not None  # `sequence.with_solves`
        near, contributed = approximate_levels(
            self._at_hand(),
            self.fitted,
            with_contributions=job.get("contributions") is True,
            memory=self._available() // 2,
            **options_of(job, "exact"),
        )
        self.fitted = near
        files = () if contributed is None else (write_contributions(near.design, contributed, self._out),)
        return JobDone(job, job_record(job, near), near, files)

    def _sampled_pev(self, job: JobSpec) -> JobDone:
        if self.fitted is None and not self._solve(JobSpec("solve"), None).report.converged:
            raise NotConvergedError("job 'pev': the solve before it did not converge; raise max_it in a job solve")
        assert self.fitted is not None
        found = sampled_levels(
            self._at_hand(),
            self.fitted,
            memory=self._available() // 2,
            progress=None if self._progress is None else of_stage(self._progress, "pev"),
            **sampling_options(job),
        )
        self.fitted = found
        return JobDone(job, job_record(job, found), found)

    def _records(self, job: JobSpec) -> JobDone:
        assert self.fitted is not None
        if self._values is None:
            operator = self._at_hand().operator
            x = operator.from_levels(values_by_group(operator.design, self.fitted.subfactors))
            self._values = fitted_records(operator, x, self.data.records.row)
        only = job.name == "residuals"
        path = write_records(job.name, self._values, self.spec.traits, self._out, ALONE, observed_only=only)
        return JobDone(job, {"job": job.name, "file": path.name}, None, (path,))
