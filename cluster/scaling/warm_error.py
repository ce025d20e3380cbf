"""The error of breeding values by round: of a solve from zero, and of one that starts from earlier solutions.

    henderson solve FOLDER/model.toml --store STORE --rtol 1e-9 --out EXACT
    python cluster/scaling/warm_error.py FOLDER --store STORE --exact EXACT --start EARLIER [--threads 2]

EXACT holds the solutions that errors are measured from, EARLIER those to start from (`warm_start.py` makes some). An
error is the largest over the genetic effects of the rms over animals, in genetic standard deviations. Prints a JSON
object with the relative residuals and the errors by round of each solve, and a table of the rounds from zero and from
EARLIER until the error is for the first time what it is at the end of the solve from zero, and the residual rtol.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

from henderson.equations.operator import Operator
from henderson.jobs.run import understand
from henderson.jobs.warm_start import start_values
from henderson.partitions.communicator import ALONE
from henderson.partitions.exchange import Vectors
from henderson.partitions.layout import GroupLayout
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.solve import Equations
from henderson.solvers.start import completed
from henderson.solvers.sweep import preconditioner_of
from henderson.store.reader import open_store


class Errors:
    """How far the breeding values in a vector are from those in another; keeps the latter in single precision."""

    def __init__(self, operator: Operator, exact: Vectors) -> None:
        groups = enumerate(operator.design.groups)
        self._parts = [
            (p, partition.layout.groups[g], np.sqrt(np.diag(group.covariance.sigma)))
            for g, group in groups
            if group.pedigree
            for p, partition in enumerate(operator.partitions)
        ]
        self._exact = [self._values(exact, p, layout).astype(np.float32) for p, layout, _ in self._parts]

    @staticmethod
    def _values(x: Vectors, p: int, layout: GroupLayout) -> np.ndarray:
        return x[p][layout.elements].reshape(-1, layout.width)

    def of(self, x: Vectors) -> float:
        """Return the largest rms of an effect, in its standard deviations."""
        squares: float | np.ndarray = 0.0
        levels = 0
        for (p, layout, sd), exact in zip(self._parts, self._exact, strict=True):
            now = self._values(x, p, layout)
            for begin in range(0, len(now), 100_000):
                part = slice(begin, begin + 100_000)
                squares = squares + np.square((now[part] - exact[part]) / sd).sum(axis=0)
            levels += len(now)
        return float(np.sqrt(np.max(squares) / levels))


def solve(
    operator: Operator, M: BlockPreconditioner, x: Vectors, errors: Errors, rtol: float
) -> dict[str, list[float] | int]:
    """Return residuals and errors by round, that of the start first."""
    found: list[float] = []
    report = pcg(
        operator,
        M,
        lambda out: operator.right_hand_side(out=out),
        rtol=rtol,
        xtol=math.inf,
        x0=x,
        callback=lambda *_: found.append(errors.of(x)),  # x is that of the round before
    )
    return {"rounds": report.iterations, "residuals": list(report.residual_norms), "errors": [*found, errors.of(x)]}


def first(values: list[float], bound: float) -> int | None:
    """Return the first round with at most `bound`."""
    return next((k for k, value in enumerate(values) if value <= bound), None)


def main() -> int:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--exact", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--preconditioner", default="sweep")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rtol", type=float, default=1e-6)
    arguments = parser.parse_args()
    spec = understand(arguments.folder / "model.toml")
    with Equations(spec, open_store(arguments.store), arguments.threads) as equations:
        equations.let_go_of_records()
        operator = equations.operator
        errors = Errors(operator, start_values(operator, arguments.exact, ALONE).x)
        M = preconditioner_of(operator, arguments.preconditioner)
        warm = completed(operator, start_values(operator, arguments.start, ALONE), M)
        found = {"earlier": solve(operator, M, warm, errors, arguments.rtol)}
        del warm
        found["zero"] = solve(operator, M, operator.zeros(), errors, arguments.rtol)
    print(json.dumps(found))
    print("\n| until | from zero | from the earlier solutions | share |\n|---|---|---|---|")
    for what, bound in (("errors", found["zero"]["errors"][-1]), ("residuals", arguments.rtol)):
        zero, earlier = (first(found[name][what], bound) for name in ("zero", "earlier"))
        if zero and earlier is not None:
            print(f"| {what[:-1]} {bound:.2g} | {zero} | {earlier} | {earlier / zero:.2f} |")
        else:
            print(f"| {what[:-1]} {bound:.2g} | {zero} | not reached | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
