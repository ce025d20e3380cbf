"""What one product and one PCG iteration cost: a dairy-like animal model made directly as arrays, against STREAM triad.

Run ``python tests/benchmarks/product_bench.py [--animals 1000000] [--threads 2]`` with nothing else running.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from stream import stream_triad

from henderson.equations.design import build_design
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.language.spec import (
    DataSpec,
    Equation,
    GammaSpec,
    ModelSpec,
    SubFactor,
    Term,
    VarianceSpec,
)
from henderson.partitions.threads import Team
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.store.model_data import Labels, ModelData, Pedigree, Records

G = ((30.0, 12.0, 6.0), (12.0, 20.0, 5.0), (6.0, 5.0, 15.0))
R = ((60.0, 20.0, 10.0), (20.0, 45.0, 9.0), (10.0, 9.0, 40.0))


def dairy_model(n_traits: int = 3) -> ModelSpec:
    """Return ``y_t = herd*b_t + id*u_t(v(g(t)))``."""
    equations = tuple(Equation(f"y{t}", (Term("herd", f"b{t}"), Term("id", f"u{t}"))) for t in range(1, n_traits + 1))
    fixed = tuple(SubFactor(f"b{t}") for t in range(1, n_traits + 1))
    random = tuple(SubFactor(f"u{t}", "g", (t,)) for t in range(1, n_traits + 1))
    sigma = tuple(row[:n_traits] for row in G[:n_traits])
    residual = tuple(row[:n_traits] for row in R[:n_traits])
    variances = (VarianceSpec("g", sigma, gamma=GammaSpec("pedigree", "ped")), VarianceSpec("res", residual))
    return ModelSpec(DataSpec(("records.csv",)), equations, fixed + random, variances)


def dairy_data(n_animals: int, n_records: int, n_herds: int, n_traits: int = 3, seed: int = 7) -> ModelData:
    """Return records and pedigree in store order: herd by herd, within herd by birth; sires from all herds."""
    rng = np.random.default_rng(np.random.Philox(seed))
    generation = np.sort(rng.integers(0, 10, n_animals)).astype(np.int32)
    herd = rng.integers(0, n_herds, n_animals)
    n_sires = max(20, n_animals // 250)
    is_sire = np.zeros(n_animals, bool)
    is_sire[rng.choice(n_animals, n_sires, replace=False)] = True
    order = np.lexsort((generation, herd))
    generation, herd, is_sire = generation[order], herd[order], is_sire[order]
    # Dams: an earlier animal of the herd; sires: any bull of the generation before.
    first = np.searchsorted(herd, np.arange(n_herds))
    place = np.arange(n_animals) - first[herd]
    dam = np.arange(n_animals) - 1 - rng.integers(0, 20, n_animals)
    dam = np.where((place > 0) & (dam >= first[herd]), dam, -1)
    dam[(dam >= 0) & (generation[dam] >= generation)] = -1
    sire = np.full(n_animals, -1)
    for g in range(1, 10):
        bulls = np.flatnonzero(is_sire & (generation == g - 1))
        young = np.flatnonzero(generation == g)
        if len(bulls):
            sire[young] = rng.choice(bulls, len(young))
    sire[rng.random(n_animals) < 0.05] = -1
    known = (sire >= 0).astype(float) + (dam >= 0)
    pedigree = Pedigree(
        "ped",
        Labels(np.arange(1, n_animals + 1)),
        sire.astype(np.int32),
        dam.astype(np.int32),
        generation,
        np.zeros(n_animals),
        1.0 - 0.25 * known,
    )
    cows = np.sort(rng.choice(np.flatnonzero(~is_sire), n_records, replace=n_records > n_animals * 0.9))
    L = np.linalg.cholesky(np.array(R)[:n_traits, :n_traits])
    effect = rng.normal(size=(n_herds, n_traits)) * 8.0
    y = effect[herd[cows]] + rng.normal(size=(n_records, n_traits)) @ L.T + 50.0
    y += rng.normal(size=(n_records, n_traits)) * 5.0
    y[:, 1:][rng.random((n_records, n_traits - 1)) < 0.1] = np.nan
    records = Records(
        np.arange(n_records),
        {f"y{t + 1}": np.ascontiguousarray(y[:, t]) for t in range(n_traits)},
        classes={"herd": herd[cows].astype(np.int32)},
        related={("id", "ped"): cows.astype(np.int32)},
    )
    return ModelData(records, {"herd": Labels(np.arange(1, n_herds + 1))}, {"ped": pedigree})


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
