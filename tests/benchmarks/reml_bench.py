"""What exact AI-REML costs on pedigrees of little and of much fill: equations, factor, rounds, CPU seconds, memory.

Run ``OPENBLAS_NUM_THREADS=1 python tests/benchmarks/reml_bench.py [--animals 10000] [--mating few-sires random]``.
Every animal model has one record on 60 % of the animals, animals / 40 herds, heritability 0.3 and no start values.
``few-sires``: ten generations, animals / 500 sires in each; ``random``: all males of a generation may be sires.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from henderson.language.spec import DataSpec, Equation, GammaSpec, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from henderson.reml.fit import RemlFit, fit_reml
from henderson.store.model_data import Labels, ModelData, Pedigree, Records

GENERATIONS = 10


def model(n_traits: int) -> ModelSpec:
    """Return ``y_t = herd*b_t + id*u_t(v(g(t)))`` without start values."""
    traits = range(1, n_traits + 1)
    equations = tuple(Equation(f"y{t}", (Term("herd", f"b{t}"), Term("id", f"u{t}"))) for t in traits)
    fixed = tuple(SubFactor(f"b{t}") for t in traits)
    random = tuple(SubFactor(f"u{t}", "g", (t,)) for t in traits)
    variances = (VarianceSpec("g", None, gamma=GammaSpec("pedigree", "ped")), VarianceSpec("res"))
    return ModelSpec(DataSpec(("records.csv",)), equations, fixed + random, variances)


def data(n: int, mating: str, n_traits: int, seed: int = 1) -> ModelData:
    """Return simulated records and pedigree; genetic and residual correlations between traits are 0.5 and 0.3."""
    rng = np.random.default_rng(np.random.Philox(seed))
    size = n // GENERATIONS
    generation = np.minimum(np.arange(n) // size, GENERATIONS - 1).astype(np.int32)
    sire, dam = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    young = np.flatnonzero(generation > 0)
    first = (generation[young] - 1) * size
    half = size // 2
    sires = max(1, n // 500) if mating == "few-sires" else half
    sire[young] = first + rng.integers(0, min(sires, half), len(young))
    dam[young] = first + half + rng.integers(0, size - half, len(young))
    F = inbreeding(sire, dam, generation)
    d = mendelian_variance(sire, dam, F)
    G = np.linalg.cholesky(30.0 * (0.5 + 0.5 * np.eye(n_traits)))
    R = np.linalg.cholesky(70.0 * (0.3 + 0.7 * np.eye(n_traits)))
    u = np.zeros((n + 1, n_traits))  # the last row is that of unknown parents
    own = rng.normal(size=(n, n_traits)) @ G.T * np.sqrt(d)[:, None]
    for g in range(GENERATIONS):
        here = np.flatnonzero(generation == g)
        u[here] = own[here] + (u[sire[here]] + u[dam[here]]) / 2.0
    animal = np.sort(rng.choice(n, int(0.6 * n), replace=False)).astype(np.int32)
    n_herds = max(2, n // 40)
    herd = rng.integers(0, n_herds, len(animal)).astype(np.int32)
    y = rng.normal(size=(n_herds, n_traits))[herd] * 5.0 + u[animal]
    y += rng.normal(size=y.shape) @ R.T
    records = Records(
        np.arange(len(animal)),
        {f"y{t + 1}": np.ascontiguousarray(y[:, t]) for t in range(n_traits)},
        {},
        {"herd": herd},
        {("id", "ped"): animal},
    )
    pedigree = Pedigree("ped", Labels(np.arange(1, n + 1)), sire, dam, generation, F, d)
    return ModelData(records, {"herd": Labels(np.arange(n_herds))}, {"ped": pedigree})


def measure(n: int, mating: str, n_traits: int) -> tuple[RemlFit, float, float]:
    """Return a fit with its CPU and wall seconds."""
    spec, simulated = model(n_traits), data(n, mating, n_traits)
    cpu, wall = time.process_time(), time.perf_counter()
    fit = fit_reml(spec, simulated)
    return fit, time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Print one line per size and mating."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animals", type=int, nargs="+", default=[10_000])
    parser.add_argument("--mating", nargs="+", choices=["few-sires", "random"], default=["few-sires", "random"])
    parser.add_argument("--traits", type=int, default=1)
    options = parser.parse_args()
    warm, simulated = model(options.traits), data(200, "random", options.traits)
    fit_reml(replace(warm), simulated)  # compiles
    print("mating      animals  equations   non-zeros  of factor     flops  rounds   cpu s  wall s  peak MiB  h2")
    for mating in options.mating:
        for n in options.animals:
            fit, cpu, wall = measure(n, mating, options.traits)
            g, e = fit.parameters[0], fit.sigma["res", None].sigma[0, 0]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            order = fit.ordering
            sizes = f"{order.n_equations:10,d} {order.nnz:11,d} {order.nnz_factor:10,d} {order.flops:9.2e}"
            found = f"{g.value / (g.value + e):.3f}  {fit.stop_reason.name}"
            print(
                f"{mating:10s} {n:8,d} {sizes} {fit.rounds:7d} {cpu:7.1f} {wall:7.1f} {peak:9,.0f}  {found}", flush=True
            )


if __name__ == "__main__":
    main()
