"""The ladder of preconditioners: what each step costs and what it saves, measured on the equations at hand."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from henderson.equations.distributed import Share
from henderson.errors import HendersonError, InterruptedRunError, UsageError
from henderson.partitions.mpi import MpiCommunicator
from henderson.solvers.pcg import Callback
from henderson.solvers.petsc.library import PETSc, plain_error
from henderson.solvers.petsc.options import PREFIX, PetscOptions, read_options
from henderson.solvers.petsc.solve import Engine
from henderson.solvers.preconditioner import Kind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One step of the ladder: the project's own preconditioner, or options for one of PETSc's."""

    name: str
    operator: Literal["matrix-free", "assembled"] = "matrix-free"
    own: Kind = "border"
    arguments: str = ""


LADDER = (
    Step("diagonal", own="diagonal"),
    Step("block", own="block"),
    Step("border", own="border"),
    Step("border", "assembled"),
    Step("block Jacobi, ICC(0)", "assembled", arguments="pc_type bjacobi sub_pc_type icc"),
    Step("block Jacobi, ILU(0)", "assembled", arguments="pc_type bjacobi sub_pc_type ilu"),
    Step("additive Schwarz, ICC(0)", "assembled", arguments="pc_type asm sub_pc_type icc"),
    Step("algebraic multigrid", "assembled", arguments="pc_type gamg"),
    Step("BoomerAMG", "assembled", arguments="pc_type hypre pc_hypre_type boomeramg"),
)


@dataclass(frozen=True)
class LadderRow:
    """One row of the table; seconds are wall time, memory is that of the preconditioner and the matrix over all ranks.

    remark: empty, or why there are no numbers.
    """

    name: str
    operator: str
    rounds: int
    seconds_per_round: float
    set_up_seconds: float
    memory_bytes: int
    reason: str
    remark: str = ""

    @property
    def seconds(self) -> float:
        """Return the time to the solution, set-up included."""
        return self.set_up_seconds + self.rounds * self.seconds_per_round


def compare(
    share: Share,
    communicator: MpiCommunicator,
    options: PetscOptions,
    ladder: Sequence[Step] = LADDER,
    *,
    callback: Callback | None = None,
    stop: threading.Event | None = None,
) -> list[LadderRow]:
    """Return one row per step of the ladder, each solved to the same tolerance. **Collective**.

    Steps that this PETSc does not have, or whose matrix would take more than the memory limit of the options, have a
    remark instead of numbers. Cost: one solve each. If `stop` is set on any rank, all raise `InterruptedRunError` after
    the step.
    """
    if re.search(r"\bpc_type\b", read_options(options).replace(PREFIX, ""), re.IGNORECASE):
        raise UsageError("the table has preconditioners of its own; leave pc_type out")
    rows = []
    for step in ladder:
        if any(communicator.gather_all(stop is not None and stop.is_set())):
            raise InterruptedRunError("stopped by a signal before the table was complete")
        try:
            row = _measure(share, communicator, options, step, callback)
        except PETSc.Error as error:
            plain = plain_error(error)
            if not isinstance(plain, HendersonError) or isinstance(plain, InterruptedRunError):
                raise plain from None
            row = _without(step, str(plain))
        except InterruptedRunError:  # of this rank alone: the others are inside the step
            raise
        except HendersonError as error:
            row = _without(step, str(error))
        if communicator.rank == 0:
            log.info("%s, %s: %d rounds, %s", row.name, row.operator, row.rounds, row.remark or f"{row.seconds:.2f} s")
        rows.append(row)
    return rows


def _measure(
    share: Share,
    communicator: MpiCommunicator,
    options: PetscOptions,
    step: Step,
    callback: Callback | None,
) -> LadderRow:
    words = step.arguments.split()
    more = " ".join(f"-{PREFIX}{name} {value}" for name, value in zip(words[::2], words[1::2], strict=True))
    wanted = replace(
        options, preconditioner=step.own, operator=step.operator, arguments=f"{options.arguments} {more}".strip()
    )
    with Engine(share, communicator, wanted) as engine:
        report = engine.solve(callback=callback)
        assert report.communication is not None
        seconds = max(communicator.gather_all(engine.set_up_seconds))
        memory = sum(communicator.gather_all(engine.memory_bytes()))
    rounds = report.iterations
    each = report.communication.solve_seconds / max(1, rounds)
    return LadderRow(step.name, step.operator, rounds, each, seconds, memory, report.reason.name)


def _without(step: Step, remark: str) -> LadderRow:
    return LadderRow(step.name, step.operator, 0, 0.0, 0.0, 0, "", remark)
