"""What PETSc calls back: the product with C and the preconditioner, by the kernels of the embedded engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.solvers.conjugation import Conjugation
from henderson.solvers.petsc.library import PETSc
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]
Watch = Callable[[PETSc.Vec, PETSc.Vec], None]  # called with what was given and what came of it

POWER_STEPS = 10  # towards the largest eigenvalue


class Product:
    """The context of the shell matrix: y = C x by the kernels, or by an assembled matrix.

    `direction` is the vector of the last product; of conjugate gradients it is the search direction, which
    `conjugation`, if any, remembers. `seconds` and `products` count.
    """

    def __init__(self, operator: Operator, n_owned: int, assembled: PETSc.Mat | None = None) -> None:
        self._operator = operator
        self._n = n_owned
        self._assembled = assembled
        self._x, self._y = operator.zeros(), operator.zeros()
        self.direction: PETSc.Vec | None = None
        self.conjugation: Conjugation | None = None
        self.seconds = 0.0
        self.products = 0
        self.watch: Watch | None = None

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y = C x. **Collective**."""
        start = time.perf_counter()
        self.direction = x
        self.products += 1
        if self._assembled is not None:
            self._assembled.mult(x, y)
        else:
            self._x[0][: self._n] = x.getArray(readonly=True)
            self._operator.apply(self._x, self._y)
            y.setArray(self._y[0][: self._n])
        if self.conjugation is not None:
            self.conjugation.remember([x.getArray(readonly=True)], [y.getArray(readonly=True)])
        if self.watch is not None:
            self.watch(x, y)
        self.seconds += time.perf_counter() - start

    def norm(self, matrix: PETSc.Mat, kind: PETSc.NormType) -> float:
        """Return about ||C||, which pipelined methods bound their rounding errors by. **Collective**."""
        if self._assembled is not None:
            return float(self._assembled.norm(kind))
        x, y = matrix.createVecs()
        x.set(1.0)
        size = 0.0
        for _ in range(POWER_STEPS):
            x.normalize()
            self.mult(matrix, x, y)
            size = y.norm()
            x, y = y, x
        return size

    def times(self, x: Floats) -> Floats:
        """Return C x for the owned elements `x`; the array is used again by the next product. **Collective**."""
        self._x[0][: self._n] = x
        self._operator.apply(self._x, self._y)
        return self._y[0][: self._n]


class Solve(Protocol):
    """Sets z = M^-1 r."""

    def __call__(self, r: PETSc.Vec, z: PETSc.Vec) -> None:
        """Set z = M^-1 r. **Collective**."""


class Blocks:
    """The level blocks and the border of `solvers.preconditioner`."""

    def __init__(self, preconditioner: BlockPreconditioner) -> None:
        self._preconditioner = preconditioner

    def __call__(self, r: PETSc.Vec, z: PETSc.Vec) -> None:
        """Set z = M^-1 r. **Collective**."""
        self._preconditioner.apply([r.getArray(readonly=True)], [z.getArray()])


class Preconditioning:
    """The context of the shell preconditioner: the project's own, or one of PETSc's.

    `residual` is the vector of the last application. Every application leaves what it returns conjugate to the earlier
    directions of `conjugation`, if any. Without it, to continue a solve from a checkpoint, `go_on` makes the first
    application return the next direction, M^-1 r + beta p, instead of M^-1 r.
    """

    def __init__(self, solve: Solve) -> None:
        self._solve = solve
        self._next: tuple[Floats, Floats, Operator] | None = None
        self.residual: PETSc.Vec | None = None
        self.watch: Watch | None = None
        self.conjugation: Conjugation | None = None
        self.seconds = 0.0

    def go_on(self, operator: Operator, p: Floats, Cp: Floats) -> None:
        """Continue after direction `p`, whose product with C is `Cp`: owned elements, used once and kept until then."""
        self._next = (p, Cp, operator)

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, z: PETSc.Vec) -> None:
        """Set z = M^-1 r. **Collective**."""
        start = time.perf_counter()
        self.residual = r
        self._solve(r, z)
        if self.conjugation is not None:
            self.conjugation.correct([r.getArray(readonly=True)], [z.getArray()])
        elif self._next is not None:
            (p, Cp, operator), self._next = self._next, None
            values = z.getArray()
            # beta = -z'C p / p'C p (Hestenes & Stiefel 1952): the new direction is conjugate to p
            zCp, pCp = operator.exchange.sum_arrays([np.array([values @ Cp, p @ Cp])])
            values -= zCp / pCp * p
        if self.watch is not None:
            self.watch(r, z)
        self.seconds += time.perf_counter() - start
