"""The ladder of preconditioners on a test-day evaluation as one table: rounds, seconds and memory of each.

    henderson simulate testday --scale 0.05 --format parquet --out DIR
    henderson ingest DIR/model.toml --store DIR/store
    python tests/benchmarks/ladder.py DIR [--rungs sweep,border] [--threads 2] [--rtol 1e-6] [--max-it 2000]

Every rung is solved from zero in a process of its own until ||b - C x|| <= rtol ||b||, whatever the last step was, and
its row is printed when it is there. Seconds by the clock mean something on a machine that has nothing else to do;
processor seconds say what the work costs. Exits 1 if a rung did not get there.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ladder_rungs import CoarseSpace, DiagonalisedLevels, PartBlocks, TwoLevel, clusters_of, effects_of, traits_of
from stream import stream_triad

from henderson.equations.operator import Operator
from henderson.jobs.run import understand
from henderson.partitions.threads import Team
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner, Kind
from henderson.solvers.solve import Equations
from henderson.solvers.sweep import preconditioner_of
from henderson.store.reader import open_store

CLUSTERS = 64
OPTIONS = ("store", "threads", "rtol", "max-it")


@dataclass(frozen=True)
class Rung:
    """A preconditioner of the table: its name there, what makes it, and the coarse space on top."""

    name: str
    make: Callable[[Operator], BlockPreconditioner]
    space: str | None = None
    balanced: bool = False


def _on_top(kind: Kind, space: str, words: str, *, balanced: bool = False) -> Rung:
    how = "balanced" if balanced else "added"
    return Rung(f"{kind} + {words}, {how}", _own(kind), space, balanced)


def _own(kind: Kind) -> Callable[[Operator], BlockPreconditioner]:
    return partial(preconditioner_of, kind=kind)


HERDS, SIRES = f"{CLUSTERS} parts of the herds", f"{CLUSTERS} families of sires"
RUNGS = {
    "diagonal": Rung("diagonal", _own("diagonal")),
    "traits": Rung("blocks of an effect's traits (3 x 3)", partial(PartBlocks, label=effects_of)),
    "effects": Rung("blocks of a trait's effects (5 x 5)", partial(PartBlocks, label=traits_of)),
    "diagonalised": Rung("diagonalised", DiagonalisedLevels),
    "block": Rung("level blocks (15 x 15)", _own("block")),
    "border": Rung("border: level blocks and a dense one", _own("border")),
    "border+levels": _on_top("border", "levels", "one level an effect"),
    "border+herds": _on_top("border", "herds", HERDS),
    "border+sires": _on_top("border", "sires", SIRES),
    "border*herds": _on_top("border", "herds", HERDS, balanced=True),
    "border*sires": _on_top("border", "sires", SIRES, balanced=True),
    "sweep": Rung("sweep", _own("sweep")),
    "sweep+levels": _on_top("sweep", "levels", "one level an effect"),
    "sweep+sires": _on_top("sweep", "sires", SIRES),
    "sweep*sires": _on_top("sweep", "sires", SIRES, balanced=True),
}


def preconditioner(rung: Rung, equations: Equations) -> BlockPreconditioner | TwoLevel:
    """Return the preconditioner of a rung; the equations let go of their records."""
    operator, clusters = equations.operator, {}
    if rung.space is not None:
        pedigree = next(equations.data.pedigrees[str(g.pedigree)] for g in operator.design.groups if g.pedigree)
        clusters = clusters_of(operator.design, pedigree, rung.space, CLUSTERS)
    equations.let_go_of_records()
    base = rung.make(operator)
    return TwoLevel(operator, base, CoarseSpace(operator, clusters), rung.balanced) if clusters else base


def measure(arguments: argparse.Namespace, rung: str) -> dict[str, Any]:
    """Return what one rung took."""
    begin = time.perf_counter()
    spec = understand(arguments.folder / "model.toml")
    with Equations(spec, open_store(arguments.store), arguments.threads) as equations:
        operator = equations.operator
        start = time.perf_counter(), time.process_time()
        M = preconditioner(RUNGS[rung], equations)
        made = time.perf_counter(), time.process_time()

        def right_hand_side(out: Any) -> Any:
            return operator.right_hand_side(out=out)

        report = pcg(operator, M, right_hand_side, rtol=arguments.rtol, xtol=math.inf, max_it=arguments.max_it)
        solved = time.perf_counter(), time.process_time()
        return {
            "rung": rung,
            "equations": operator.design.n_equations,
            "records": sum(len(p.records.pattern) for p in operator.partitions),
            "threads": arguments.threads,
            "reason": report.reason.name,
            "converged": report.converged,
            "rounds": report.iterations,
            "residual": report.relative_residual,
            "before": start[0] - begin,
            "setup": made[0] - start[0],
            "setup_processor": made[1] - start[1],
            "solve": solved[0] - made[0],
            "solve_processor": solved[1] - made[1],
            "nbytes": M.nbytes,
            "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
            "history": list(report.residual_norms),
        }


def row(found: dict[str, Any]) -> str:
    """Return the row of the table of what `measure` has found."""
    rounds = max(1, found["rounds"])
    reached = f"{found['rounds']}" if found["converged"] else f"above {found['rounds']} ({found['residual']:.0e})"
    cells = [
        RUNGS[found["rung"]].name,
        reached,
        f"{found['setup']:.1f}",
        f"{found['solve'] / rounds:.3f}",
        f"{found['setup'] + found['solve']:.1f}",
        f"{found['solve_processor'] / rounds:.3f}",
        f"{found['setup_processor'] + found['solve_processor']:.1f}",
        f"{found['nbytes'] / 2**20:,.0f}",
        f"{found['peak'] / 2**30:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Return 1 if a rung did not converge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, help="default: FOLDER/store")
    parser.add_argument("--rungs", default=",".join(RUNGS), help=f"of {', '.join(RUNGS)}; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--max-it", type=int, default=2000)
    parser.add_argument("--here", action="store_true", help="in this process; print JSON, residuals by round included")
    arguments = parser.parse_args()
    arguments.store = arguments.store or arguments.folder / "store"
    rungs = arguments.rungs.split(",")
    if unknown := [rung for rung in rungs if rung not in RUNGS]:
        parser.error(f"no rung {unknown[0]!r}; there are {', '.join(RUNGS)}")
    if arguments.here:
        for rung in rungs:
            print(json.dumps(measure(arguments, rung)), flush=True)
        return 0
    with Team(arguments.threads) as team:
        print(f"STREAM triad before: {stream_triad(team):.1f} GB/s on {arguments.threads} threads")
    all_converged = True
    for k, rung in enumerate(rungs):
        options = [f"--{name}={getattr(arguments, name.replace('-', '_'))}" for name in OPTIONS]
        command = [sys.executable, __file__, str(arguments.folder), *options, f"--rungs={rung}", "--here"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if k == 0:
            size = f"{found['equations']:,} equations, {found['records']:,} records, {found['threads']} threads"
            print(f"{size}; to a relative residual of {arguments.rtol:g}\n")
            columns = ["preconditioner", "rounds", "set-up, s", "a round, s", "all, s"]
            columns += ["a round, processor s", "all, processor s", "it takes, MiB", "peak, GiB"]
            print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        print(row(found), flush=True)
        all_converged &= found["converged"]
    return 0 if all_converged else 1


if __name__ == "__main__":
    sys.exit(main())
