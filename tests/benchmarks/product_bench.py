"""What one product and one PCG iteration cost: a dairy-like animal model made directly as arrays, against STREAM triad.

Run ``python tests/benchmarks/product_bench.py [--animals 1000000] [--threads 2]`` with nothing else running.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from dairy import dairy_data, dairy_model
from stream import stream_triad

from henderson.equations.design import build_design
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.partitions.threads import Team
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner


def product_bytes(n_animals: int, n_records: int, n_traits: int, n_slots: int) -> float:
    """Return the bytes a product has to move: x once, y zeroed, read and written once, offsets, precision; slots."""
    return n_animals * (8.0 * n_traits * 4 + 16) + n_records * (4.0 * n_slots + 2)


def best_of(repeats: int, work) -> float:  # type: ignore[no-untyped-def]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--animals", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--herds", type=int, default=25_000)
    parser.add_argument("--traits", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rtol", type=float, default=1e-8)
    args = parser.parse_args()
    spec = dairy_model(args.traits)
    data = dairy_data(args.animals, args.records, args.herds, args.traits)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with Team(args.threads) as team:
        start = time.perf_counter()
        design = build_design(spec, data)
        t_design = time.perf_counter() - start
        start = time.perf_counter()
        design = full_rank(design)
        t_rank = time.perf_counter() - start
        start = time.perf_counter()
        operator = build_operator(design, data, team)
        t_operator = time.perf_counter() - start
        start = time.perf_counter()
        M = BlockPreconditioner(operator)
        rhs = operator.right_hand_side()
        t_setup = time.perf_counter() - start
        x, out = operator.from_levels([np.ones((g.n_levels, g.width)) for g in design.groups]), operator.zeros()
        operator.apply(x, out)
        product = best_of(15, lambda: operator.apply(x, out))  # noqa: F821
        ghosts = [p.layout.n_ghosts / p.layout.n_owned for p in operator.partitions]
        del x, out
        start = time.perf_counter()
        report = pcg(operator, M, rhs, rtol=args.rtol)
        t_solve = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rate = stream_triad(team)
    moved = product_bytes(args.animals, args.records, args.traits, len(design.slots))
    shares = ", ".join(f"{g:.1%}" for g in ghosts)
    print(f"{design.n_equations:,} equations, {args.threads} threads; ghosts {shares}")
    print(f"design {t_design:.2f} s, rank {t_rank:.2f} s, operator {t_operator:.2f} s, blocks {t_setup:.2f} s")
    speed = moved / 1e9 / product
    print(f"product {1e3 * product:.1f} ms: {moved / 1e6:.0f} MB at {speed:.1f} GB/s; triad {rate:.1f} GB/s")
    print(
        f"PCG {report.iterations} iterations in {t_solve:.2f} s, {1e3 * t_solve / report.iterations:.1f} ms each, "
        f"relative residual {report.relative_residual:.2e} ({report.reason.name})"
    )
    print(f"peak RSS {after:.0f} MB, of which {before:.0f} MB before the solve stage (data and interpreter)")


if __name__ == "__main__":
    main()
