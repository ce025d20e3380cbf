"""From a model and its data to solutions: design, rank, operator, preconditioner, solver."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from henderson.equations.absorbed_groups import full_rank_with_groups
from henderson.equations.assembly import assemble
from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.language.spec import ModelSpec
from henderson.partitions.threads import Team
from henderson.solvers.checkpoint import Checkpointing
from henderson.solvers.direct import DirectSolver
from henderson.solvers.pcg import Callback, pcg
from henderson.solvers.preconditioner import BlockPreconditioner, Kind
from henderson.solvers.solutions import Solutions, StageTime, by_subfactor, dropped_columns
from henderson.store.model_data import ModelData

ONE_THREAD = 20_000  # records and individuals up to which a second thread costs more than it saves


@dataclass
class Stages:
    """The seconds of each stage, in order."""

    times: list[StageTime] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times.append(StageTime(name, time.perf_counter() - start))


def n_threads_for(data: ModelData, threads: int | None = None) -> int:
    """Return the number of threads: `threads`, else one for small data and one per core for large."""
    if threads is not None:
        return max(1, threads)
    size = len(data.records) + max((len(p) for p in data.pedigrees.values()), default=0)
    return 1 if size <= ONE_THREAD else len(os.sched_getaffinity(0))


def set_up(spec: ModelSpec, data: ModelData, team: Team, stages: Stages) -> Operator:
    """Return the operator of the model, its X of full column rank; `stages` gets the times of the parts."""
    with stages.stage("design"):
        design = build_design(spec, data)
    with stages.stage("rank"):
        design = full_rank_with_groups(design, spec, data)
    with stages.stage("partitions"):
        return build_operator(design, data, team)


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
    """Return the solutions of the mixed model equations of `spec` on `data`.

    The caller has to look at `report.reason`: a solve that did not converge returns what it has, and says so.

    Parameters
    ----------
    spec
        The model, with a value for every variance.
    data
        Its records, pedigrees and matrices.
    threads
        Threads, and partitions; None: one for small problems, else one per core.
    method
        ``pcg`` (matrix-free, any size) or ``direct`` (assembled, small problems).
    rtol
        Bound of ||b - C x|| / ||b||; the direct method does not use it.
    max_it
        Products after which the iteration gives up.
    preconditioner
        ``border`` (one dense block per level, and one for all small fixed groups), ``block`` or ``diagonal``.
    callback
        Called as callback(iteration, relative_residual).
    checkpointing
        Where ``pcg`` keeps its state from time to time.

    """
    stages = Stages()
    with Team(n_threads_for(data, threads)) as team:
        operator = set_up(spec, data, team, stages)
        if method == "direct":
            with stages.stage("setup"):
                solver = DirectSolver(assemble(operator))
            with stages.stage("solve"):
                report = solver.solve()
        else:
            with stages.stage("setup"):
                M = BlockPreconditioner(operator, preconditioner)
                rhs = operator.right_hand_side()
            with stages.stage("solve"):
                local = pcg(operator, M, rhs, rtol=rtol, max_it=max_it, callback=callback, checkpointing=checkpointing)
            report = replace(local, solution=operator.to_levels(local.solution))
    design = operator.design
    return Solutions(
        by_subfactor(design, report.solution),
        dropped_columns(design),
        report,
        design.n_equations,
        tuple(stages.times),
        design,
    )
