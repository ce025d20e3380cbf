"""A solve over MPI: PETSc's Krylov method on the share that each process has of the equations."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from henderson.equations.assembly import BYTES_PER_TRIPLET, triplet_count
from henderson.equations.distributed import Halo, Share
from henderson.equations.operator import Operator
from henderson.errors import ResourceError, UsageError
from henderson.partitions.agree import agreed
from henderson.partitions.mpi import MpiCommunicator
from henderson.partitions.threads import Team
from henderson.solvers.checkpoint import Checkpointing, State, fingerprint_of, require
from henderson.solvers.conjugation import Conjugation
from henderson.solvers.pcg import RESTARTS, Callback
from henderson.solvers.petsc.contexts import Blocks, Preconditioning, Product, Solve
from henderson.solvers.petsc.convergence import ConvergenceTest
from henderson.solvers.petsc.exchange import PetscExchange
from henderson.solvers.petsc.library import PETSc, plain_error
from henderson.solvers.petsc.matrix import assemble_matrix
from henderson.solvers.petsc.options import PREFIX, OptionScope, PetscOptions, read_options
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.report import SolveReport, StopReason
from henderson.solvers.start import Start, completed
from henderson.solvers.sweep import preconditioner_of
from henderson.solvers.trace import WatchedTrace
from henderson.solvers.volume import Seconds, volume_of

Floats = NDArray[np.float64]
Reason = PETSc.KSP.ConvergedReason

REASONS = {
    Reason.DIVERGED_NANORINF: StopReason.NOT_FINITE,
    Reason.DIVERGED_MAX_IT: StopReason.MAX_ITERATIONS,
    Reason.DIVERGED_INDEFINITE_MAT: StopReason.BREAKDOWN,
    Reason.DIVERGED_INDEFINITE_PC: StopReason.BREAKDOWN,
    Reason.DIVERGED_BREAKDOWN: StopReason.BREAKDOWN,
}

REDUCTIONS = {  # of PETSc, in one iteration
    "cg": 3,
    "cg single reduction": 2,
    "groppcg": 2,
    "pipecg": 1,
    "pipecgrr": 1,
    "pipecg2": 0.5,
}


def solve_share(
    share: Share,
    communicator: MpiCommunicator,
    options: PetscOptions | None = None,
    *,
    checkpointing: Checkpointing | None = None,
    callback: Callback | None = None,
    trace: WatchedTrace | None = None,
    start: Callable[[Operator], Start] | None = None,
) -> SolveReport[Floats]:
    """Return the solution on the elements of this process, owned ones first, and how the solve ended. **Collective**.

    It ends as `solvers.pcg.pcg` does, with the same norms, whatever Krylov method the options choose; the report is the
    same on all ranks but for the solution. `share.partition.layout` tells which element is which equation. Memory of
    conjugate gradients: eight vectors besides the solution. `trace` gets every step, for two reductions more in each.
    `start` gives where the solve starts, what it lacks is filled in (`solvers.start`); None: at zero.

    Raises
    ------
    UsageError
        An option is misspelt or does not fit.
    HendersonError
        PETSc, or a preconditioner, cannot do what it was told.

    """
    try:
        with Engine(share, communicator, options or PetscOptions()) as engine:
            return engine.solve(checkpointing, callback, trace, start)
    except PETSc.Error as error:
        raise plain_error(error) from None


class Engine:
    """The equations of one process set up for PETSc; to be closed, or used as a context manager. **Collective**."""

    def __init__(self, share: Share, communicator: MpiCommunicator, options: PetscOptions) -> None:
        self.communicator, self._halo, self._options = communicator, share.halo, options
        self._closing = ExitStack()
        self._pc_bytes = 0
        start = time.perf_counter()
        try:
            self._set_up(share)
        except BaseException:
            self._closing.close()
            raise
        self.set_up_seconds = time.perf_counter() - start

    def _set_up(self, share: Share) -> None:
        options, communicator = self._options, self.communicator
        scope = self._scope = self._closing.enter_context(OptionScope(read_options(options)))
        team = self._closing.enter_context(Team(1))
        self.exchange = PetscExchange(self._halo, communicator)
        self._closing.callback(self.exchange.close)
        self.operator = Operator(share.design, [share.partition], self.exchange, team)
        self.matrix: PETSc.Mat | None = None
        if options.operator == "assembled":
            kind = scope.value("mat_type") or "aij"
            self._check_memory()
            self.matrix = assemble_matrix(self.operator, self._halo, communicator, kind, PREFIX)
            self._closing.callback(self.matrix.destroy)
        n, n_global = self._halo.n_owned, self._halo.n_global
        self.product = Product(self.operator, n, self.matrix)
        shell = PETSc.Mat().createPython(((n, n_global), (n, n_global)), self.product, communicator.comm)
        self._closing.callback(shell.destroy)
        shell.setOption(PETSc.Mat.Option.SPD, True)
        shell.setUp()
        self.preconditioning = Preconditioning(self._preconditioner(scope, shell))
        self.ksp = PETSc.KSP().create(communicator.comm)
        self._closing.callback(self.ksp.destroy)
        self.ksp.setOptionsPrefix(PREFIX)
        self.ksp.setOperators(shell)
        self.ksp.setType(PETSc.KSP.Type.CG)
        self.ksp.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
        self.ksp.setTolerances(rtol=min(options.rtol, 0.5), max_it=options.max_it)
        pc = self.ksp.getPC()
        pc.setType(PETSc.PC.Type.PYTHON)
        pc.setPythonContext(self.preconditioning)
        pc.setOptionsPrefix(PREFIX + "shell_")
        self.ksp.setFromOptions()
        self.rtol, _, _, self.max_it = self.ksp.getTolerances()
        if not math.isfinite(options.rtol) and not scope.has("ksp_rtol"):
            self.rtol = options.rtol  # PETSc does not know it: only the last step counts
        self.xtol = self.rtol if options.xtol is None else options.xtol
        self.ksp.setUp()
        self.method = self.ksp.getType()
        if scope.has("ksp_cg_single_reduction"):
            self.method += " single reduction"
        self.resumable = self.method == "cg"  # residual and direction are seen from outside: the same path again
        scope.check_used()

    def _preconditioner(self, scope: OptionScope, shell: PETSc.Mat) -> Solve:
        """Return the project's own preconditioner, or that of PETSc which the options name."""
        own = not scope.has("pc_type")
        self.name = self._options.preconditioner if own else scope.value("pc_type")
        self.blocks: BlockPreconditioner | None = None
        if own:
            operator, kind = self.operator, self._options.preconditioner
            self.blocks = agreed(self.communicator, lambda: preconditioner_of(operator, kind))
            return Blocks(self.blocks)
        if self.matrix is None and self.name != "none":
            raise UsageError(
                f"PETSc's preconditioner {self.name!r} needs the elements of the equations; add --operator assembled"
            )
        pc = PETSc.PC().create(self.communicator.comm)
        self._closing.callback(pc.destroy)
        pc.setOptionsPrefix(PREFIX)
        pc.setOperators(shell if self.matrix is None else self.matrix)
        pc.setType(self.name)
        if self.name == PETSc.PC.Type.ASM:
            pc.setASMType(PETSc.PC.ASMType.BASIC)  # the usual restricted one is not symmetric
        pc.setFromOptions()
        before = resident_bytes()
        pc.setUp()
        pc.setUpOnBlocks()
        self._pc_bytes = max(0, resident_bytes() - before)
        solve: Solve = pc.apply
        return solve

    def _check_memory(self) -> None:
        limit = self._options.memory_limit
        need = max(self.communicator.gather_all(BYTES_PER_TRIPLET * triplet_count(self.operator)))
        if limit is not None and need > limit:
            raise ResourceError(
                f"assembled equations may take {need / 2**30:.1f} GiB on a rank, of {limit / 2**30:.1f} GiB there are; "
                "use more ranks, or --operator matrix-free"
            )

    def memory_bytes(self) -> int:
        """Return what preconditioner and matrix take on this rank; of PETSc's preconditioners about."""
        own = 0 if self.blocks is None else sum(a.nbytes for a in self.blocks.arrays())
        entries = 0 if self.matrix is None else int(self.matrix.getInfo()["nz_allocated"])
        each = 8 + int(np.dtype(PETSc.IntType).itemsize)
        return own + self._pc_bytes + entries * each

    def close(self) -> None:
        """Free what PETSc holds. **Collective**."""
        self._closing.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # other ranks may be elsewhere: what is collective would wait for ever
            self._scope.close()

    def solve(
        self,
        checkpointing: Checkpointing | None = None,
        callback: Callback | None = None,
        trace: WatchedTrace | None = None,
        start: Callable[[Operator], Start] | None = None,
    ) -> SolveReport[Floats]:
        """Return the solution of this process, and how the solve ended. **Collective**."""
        begin, reductions = time.perf_counter(), self.exchange.reductions
        self.exchange.seconds = self.product.seconds = self.preconditioning.seconds = 0.0
        (x0,) = [None] if start is None else completed(self.operator, start(self.operator), self.blocks)
        report = _Solve(self, self._halo, checkpointing, callback, trace, x0).run()
        seconds = Seconds(
            self.product.seconds, self.exchange.seconds, self.preconditioning.seconds, time.perf_counter() - begin
        )
        own = (self.exchange.reductions - reductions) / max(1, report.iterations)
        per_iteration = own + REDUCTIONS.get(self.method, 3) * (self.communicator.size > 1)
        volume = volume_of(self._halo, self.communicator, per_iteration, seconds)
        return replace(report, communication=volume)

    @property
    def fingerprint(self) -> dict[str, str | float]:
        """Return what a checkpoint depends on besides the equations."""
        return {
            "method": self.method,
            "preconditioner": self.name,
            "operator": self._options.operator,
            "rtol": self.rtol,
            "xtol": self.xtol,
            "options": self._scope.settings(),
        }


class _Solve:
    """One solve: cycles of PETSc's iteration, each on the true residual that the one before has left."""

    def __init__(
        self,
        engine: Engine,
        halo: Halo,
        checkpointing: Checkpointing | None,
        callback: Callback | None,
        trace: WatchedTrace | None,
        start: Floats | None = None,
    ) -> None:
        self._engine, self._n, self._checkpointing = engine, halo.n_owned, checkpointing
        self._rhs = engine.operator.right_hand_side()[0][: self._n]
        self._from_zero = start is None
        self._x = engine.operator.zeros()[0] if start is None else start
        self._base: Floats | None = None
        self._conjugation = Conjugation.of(engine.exchange, [self._n]) if engine.resumable else None
        engine.product.conjugation = engine.preconditioning.conjugation = self._conjugation
        self._by_residual = math.isfinite(engine.rtol)
        self._end = StopReason.CONVERGED if self._by_residual else StopReason.SMALL_CHANGE
        self._norm_b = math.sqrt(engine.exchange.sum([float(self._rhs @ self._rhs)]))
        self._test = ConvergenceTest(
            engine.exchange, self._norm_b, engine.rtol, engine.xtol, engine.max_it, halo.n_global, callback, self._keep
        )
        self._test.trace = trace
        engine.product.watch = engine.preconditioning.watch = None
        if trace is not None and engine.method == "cg":  # other methods go through other vectors
            engine.product.watch = lambda p, q: trace.multiplied(self._dot(p, q))
            engine.preconditioning.watch = lambda r, z: trace.preconditioned(self._dot(r, z))

    def _dot(self, a: PETSc.Vec, b: PETSc.Vec) -> float:
        return self._engine.exchange.sum([float(a.getArray(readonly=True) @ b.getArray(readonly=True))])

    def run(self) -> SolveReport[Floats]:
        if not math.isfinite(self._norm_b):
            return self._report(StopReason.NOT_FINITE, math.inf)
        if self._norm_b == 0.0:
            return self._report(StopReason.RHS_ZERO, 0.0)
        saved = self._load()
        residual, true, best = (*self._true_residual(), math.inf)
        self._test.history = [true]
        if saved is not None:
            residual, best = self._restore(saved), saved.numbers["best"]
            true = saved.history[-1]
        ksp = self._engine.ksp
        ksp.setConvergenceTest(self._test)
        for _ in range(RESTARTS + 1):
            if not math.isfinite(true):
                return self._report(StopReason.NOT_FINITE, true)
            if true <= self._engine.rtol and saved is None and (self._test.small_step or self._by_residual):
                return self._report(self._end, true)
            if true > 0.5 * best and saved is None:
                break
            self._best = best if saved is not None else true
            best, resumed, saved = self._best, saved is not None, None
            if self._base is None and (self._test.iterations or not self._from_zero):
                self._base = self._x[: self._n].copy()
            self._test.start(self._base)
            if self._conjugation is not None and not resumed:
                self._conjugation.forget()
            reason = self._cycle(residual)
            if self._test.interrupted:
                return self._report(StopReason.INTERRUPTED, self._test.history[-1])
            self._from_zero = False
            residual, true = self._true_residual()
            if reason < 0 and not (true <= self._engine.rtol and (self._test.small_step or self._by_residual)):
                stop = REASONS.get(reason, StopReason.BREAKDOWN)
                return self._report(stop if math.isfinite(true) else StopReason.NOT_FINITE, true)
        converged = true <= self._engine.rtol
        return self._report(self._end if converged else StopReason.STAGNATED, true)

    def _true_residual(self) -> tuple[Floats, float]:
        """Return b - C x of this process, and its norm over that of b."""
        if self._from_zero:
            return self._rhs, 1.0
        residual = self._rhs - self._engine.product.times(self._x[: self._n])
        return residual, math.sqrt(self._engine.exchange.sum([float(residual @ residual)])) / self._norm_b

    def _cycle(self, residual: Floats) -> int:
        """Solve C d = residual and add d to the solution; return PETSc's reason."""
        ksp = self._engine.ksp
        comm = ksp.getComm()
        b = PETSc.Vec().createWithArray(residual, comm=comm)
        d = b.duplicate()
        try:
            ksp.setTolerances(max_it=max(0, self._engine.max_it - self._test.iterations))
            ksp.solve(b, d)
            self._x[: self._n] += d.getArray(readonly=True)
        finally:
            b.destroy()
            d.destroy()
        self._base = None
        return int(ksp.getConvergedReason())

    def _report(self, reason: StopReason, true: float) -> SolveReport[Floats]:
        if reason.converged and self._checkpointing is not None:
            self._checkpointing.finished()
        test = self._test
        largest = -float(self._engine.communicator.minimum(np.array([-test.largest]))[0])
        return SolveReport(self._x, reason, max(0, test.iterations), true, tuple(test.history), largest)

    def _load(self) -> State | None:
        if self._checkpointing is None:
            return None
        blocks = self._engine.blocks
        arrays = [self._rhs, *([] if blocks is None else blocks.arrays())]
        engine = self._engine
        self._fingerprint = fingerprint_of(arrays, self._checkpointing.communicator, **engine.fingerprint)
        return self._checkpointing.load(self._fingerprint)

    def _restore(self, saved: State) -> Floats:
        """Go back to the saved moment; return its residual."""
        self._test.history = list(saved.history)
        (x,) = saved.arrays["x"]
        self._x[: self._n] = x
        self._base = x
        if "p" not in saved.arrays:
            return self._rhs - self._engine.product.times(x)
        (residual,), (p,) = saved.arrays["r"], saved.arrays["p"]
        if self._conjugation is not None:
            self._conjugation.restore(saved.arrays)
            return residual
        self._engine.preconditioning.go_on(self._engine.operator, p, self._engine.product.times(p).copy())
        return residual

    def _keep(self, iteration: int, d: Floats) -> bool:
        """Write a checkpoint if it is time; return whether to stop. **Collective**."""
        if self._checkpointing is None:
            return False
        decision = self._checkpointing.decide(iteration)
        if decision.save:
            arrays = {"x": [d if self._base is None else self._base + d]}
            r, p = self._engine.preconditioning.residual, self._engine.product.direction
            if self._engine.resumable and r is not None and p is not None:
                arrays |= {"r": [r.getArray(readonly=True)], "p": [p.getArray(readonly=True)]}
            if self._conjugation is not None:
                arrays |= self._conjugation.arrays()
            state = State(arrays, {"best": self._best}, self._test.history)
            saved = self._checkpointing.save(state, self._fingerprint)
            if decision.stop:
                require(saved, self._checkpointing.folder)
        return decision.stop


def resident_bytes() -> int:
    """Return the memory that this process has now, 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
