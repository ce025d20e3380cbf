"""From a model and its data to solutions: design, rank, operator, preconditioner, solver."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal

from henderson.equations.absorbed_groups import full_rank_with_groups
from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.language.spec import ModelSpec
from henderson.partitions.clock import Clock
from henderson.partitions.threads import Team
from henderson.solvers.checkpoint import Checkpointing
from henderson.solvers.direct import direct_solver
from henderson.solvers.indices import combined, indices_of
from henderson.solvers.pcg import Callback, pcg
from henderson.solvers.preconditioner import BlockPreconditioner, Kind
from henderson.solvers.report import SolveReport
from henderson.solvers.solutions import Floats, Solutions, StageTime, by_subfactor, dropped_columns
from henderson.solvers.start import Start, completed
from henderson.solvers.sweep import kind_for_many, preconditioner_of
from henderson.solvers.trace import Trace
from henderson.store.model_data import ModelData

ONE_THREAD = 20_000  # records and individuals up to which a second thread costs more than it saves


@dataclass
class Stages:
    """The seconds of each stage, in order."""

    times: list[StageTime] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as stage `name`."""
        clock = Clock()
        try:
            yield
        finally:
            self.times.append(StageTime(name, clock.seconds, clock.alone))


def n_threads_for(data: ModelData, threads: int | None = None) -> int:
    """Return the number of threads: `threads`, else one for small data and one per core for large."""
    if threads is not None:
        return max(1, threads)
    size = len(data.records) + max((len(p) for p in data.pedigrees.values()), default=0)
    return 1 if size <= ONE_THREAD else len(os.sched_getaffinity(0))


def set_up(spec: ModelSpec, data: ModelData, team: Team, stages: Stages, n_partitions: int | None = None) -> Operator:
    """Return the operator of the model, its X of full column rank; `stages` gets the times of the parts."""
    with stages.stage("design"):
        design = build_design(spec, data)
    with stages.stage("rank"):
        design = full_rank_with_groups(design, spec, data)
    with stages.stage("partitions"):
        return build_operator(design, data, team, n_partitions)


class Equations:
    """The equations of a model on its data, set up once for all that is computed from them; a context manager.

    Parameters
    ----------
    spec
        The model, with a value for every variance.
    data
        Its records, pedigrees and matrices.
    threads
        Threads; None: one for small problems, else one per core.
    n_partitions
        Partitions; None: one per thread.

    """

    def __init__(
        self, spec: ModelSpec, data: ModelData, threads: int | None = None, n_partitions: int | None = None
    ) -> None:
        self.spec, self.data = spec, data
        self.stages = Stages()
        self.team = Team(n_threads_for(data, threads))
        try:
            self.operator = set_up(spec, data, self.team, self.stages, n_partitions)
        except BaseException:
            self.team.close()
            raise
        self.indices = indices_of(spec, self.operator.design)
        self._preconditioners: dict[Kind, BlockPreconditioner] = {}

    def __enter__(self) -> Equations:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def let_go_of_records(self) -> None:
        """Keep of the records what solves need: their partitions and responses."""
        self.operator.design = self.operator.design.without_records()
        self.data = self.data.without_records()

    def close(self) -> None:
        """End the threads."""
        self.team.close()

    def preconditioner(self, kind: Kind = "border") -> BlockPreconditioner:
        """Return the preconditioner, made when it is asked for first."""
        if kind not in self._preconditioners:
            self._preconditioners[kind] = preconditioner_of(self.operator, kind)
        return self._preconditioners[kind]

    def preconditioner_for_many(self) -> BlockPreconditioner:
        """Return the preconditioner for many right-hand sides."""
        return self.preconditioner(kind_for_many(self.operator))

    def solutions(self, report: SolveReport[list[Floats]]) -> Solutions:
        """Return what a solve has found, with the seconds of all stages since this was called before."""
        design = self.operator.design
        times, self.stages.times = tuple(self.stages.times), []
        parts = by_subfactor(design, report.solution)
        indices = combined(self.indices, design, parts)
        return Solutions(parts, dropped_columns(design), report, design.n_equations, times, design, indices=indices)

    def solve(
        self,
        *,
        rtol: float = 1e-8,
        xtol: float | None = None,
        max_it: int = 5000,
        method: Literal["pcg", "direct"] = "pcg",
        preconditioner: Kind = "border",
        memory: int | None = None,
        callback: Callback | None = None,
        checkpointing: Checkpointing | None = None,
        trace: Trace | None = None,
        start: Start | None = None,
    ) -> Solutions:
        """Return the solutions of the mixed model equations.

        The caller has to look at `report.reason`: a solve that did not converge returns what it has, and says so.

        Parameters
        ----------
        method
            ``pcg`` (matrix-free, any size) or ``direct`` (a sparse factor).
        rtol
            Bound of ||b - C x|| / ||b||; the direct method does not use it.
        xtol
            Bound of ||change of x|| / ||x|| in the last iteration; None: `rtol`.
        max_it
            Products after which the iteration gives up.
        preconditioner
            ``border`` (one dense block per level, and one for all small fixed groups), ``block`` or ``diagonal``.
        memory
            Bytes that the direct method may take, None for any.
        callback
            Called as callback(iteration, relative_residual).
        checkpointing
            Where ``pcg`` keeps its state from time to time.
        trace
            Gets every step of ``pcg``.
        start
            Where ``pcg`` starts, what it lacks filled in (`solvers.start`); it is overwritten. None: at zero.

        """
        if method == "direct":
            with self.stages.stage("setup"):
                solver, _ = direct_solver(self.operator, memory)
            with self.stages.stage("solve"):
                report = solver.solve()
            return self.solutions(report)
        with self.stages.stage("setup"):
            M = self.preconditioner(preconditioner)
        with self.stages.stage("solve"):
            local = pcg(
                self.operator,
                M,
                lambda out: self.operator.right_hand_side(out=out),
                rtol=rtol,
                xtol=xtol,
                max_it=max_it,
                x0=None if start is None else completed(self.operator, start, M),
                callback=callback,
                checkpointing=checkpointing,
                trace=trace,
            )
        return self.solutions(replace(local, solution=self.operator.to_levels(local.solution)))


def solve_model(
    spec: ModelSpec,
    data: ModelData,
    *,
    threads: int | None = None,
    rtol: float = 1e-8,
    max_it: int = 5000,
    method: Literal["pcg", "direct"] = "pcg",
    preconditioner: Kind = "border",
    callback: Callback | None = None,
    checkpointing: Checkpointing | None = None,
) -> Solutions:
    """Return the solutions of the mixed model equations of `spec` on `data`: see `Equations`."""
    with Equations(spec, data, threads) as equations:
        return equations.solve(
            rtol=rtol,
            max_it=max_it,
            method=method,
            preconditioner=preconditioner,
            callback=callback,
            checkpointing=checkpointing,
        )
