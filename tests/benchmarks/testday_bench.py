"""What a round of a test-day evaluation costs: product and preconditioner beside STREAM triad, rounds and memory.

Run ``henderson simulate testday --scale 0.01 --out DIR`` and ``henderson ingest DIR/model.toml --store DIR/store``,
then ``python tests/benchmarks/testday_bench.py DIR [--kinds sweep,border,block] [--threads 2] [--max-it 40]``.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

from product_bench import best_of
from stream import stream_triad

from henderson.jobs.run import understand
from henderson.partitions.threads import Team
from henderson.solvers.pcg import pcg
from henderson.solvers.solve import Stages, set_up
from henderson.solvers.sweep import preconditioner_of
from henderson.store.reader import open_store


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--kinds", default="border")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--max-it", type=int, default=2000)
    args = parser.parse_args()
    spec = understand(args.folder / "model.toml")
    data = open_store(args.store or args.folder / "store")
    before = peak()
    with Team(args.threads) as team:
        stages = Stages()
        operator = set_up(spec, data, team, stages)
        design, n_records = operator.design, len(data.records)
        times = ", ".join(f"{s.name} {s.seconds:.2f} s" for s in stages.times)
        held = sum(p.records.nbytes for p in operator.partitions)
        print(f"{design.n_equations:,} equations, {n_records:,} records, {args.threads} threads; {times}")
        print(f"peak {before:.0f} MB after reading, {peak():.0f} MB now; {held / n_records:.1f} bytes a record")
        b = operator.right_hand_side()
        x, y = operator.zeros(), operator.zeros()
        operator.apply(x, y)
        product = best_of(5, lambda: operator.apply(b, y))
        rate = stream_triad(team)
        moved = 8.0 * 4 * design.n_equations + held
        told = f"{1e-9 * moved / product:.1f} GB/s of {moved / 1e6:.0f} MB; triad {rate:.1f}"
        print(f"product {1e3 * product:.1f} ms, {told}")
        del x
        for kind in args.kinds.split(","):
            start = time.perf_counter()
            M = preconditioner_of(operator, kind)
            setup = time.perf_counter() - start
            start = time.perf_counter()
            report = pcg(operator, M, b, rtol=args.rtol, max_it=args.max_it)
            seconds = time.perf_counter() - start
            below = next((k for k, norm in enumerate(report.residual_norms) if norm <= args.rtol), None)
            print(
                f"{kind}: setup {setup:.1f} s, {report.iterations} rounds ({below} to {args.rtol:g}), {seconds:.1f} s, "
                f"{1e3 * seconds / max(1, report.iterations):.0f} ms a round, residual "
                f"{report.relative_residual:.1e} ({report.reason.name}); peak {peak():.0f} MB",
                flush=True,
            )
            del M


if __name__ == "__main__":
    main()
