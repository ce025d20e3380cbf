"""Times inbreeding coefficients on simulated pedigrees, dairy-like and random mating.

    python tests/benchmarks/inbreeding_bench.py [--full] [--animals N] [--threads T] [--repeat R]

Each case runs in a process of its own, so that its peak memory is its own. Kernels are compiled on a small pedigree
before the clock starts; the smaller of the repeated times is printed. CPU seconds are those of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Parents = tuple[NDArray[np.int32], NDArray[np.int32]]


def dairy(n_animals: int, seed: int = 1, n_years: int = 25, n_sires: int = 300) -> Parents:
    """Return sires and dams of a dairy-like pedigree in birth order, -1 for the first years' unknown parents.

    Each year the same number is born, females and males in turn. `n_sires` bulls, a third of them new from the males
    born three years ago and the others kept from the year before, are used with weights 1 / rank in a random order;
    dams are cows born two to six years ago. A tenth of the dams and a fiftieth of the sires are not known.
    """
    rng = np.random.default_rng(np.random.Philox(seed))
    born = n_animals // n_years
    sire = np.full(n_animals, -1, dtype=np.int32)
    dam = np.full(n_animals, -1, dtype=np.int32)
    active = np.zeros(0, dtype=np.int64)
    for year in range(3, n_years):
        rows = slice(year * born, (year + 1) * born if year < n_years - 1 else n_animals)
        size = rows.stop - rows.start
        young = (year - 3) * born + 2 * rng.choice(born // 2, size=min(n_sires // 3, born // 2), replace=False) + 1
        active = np.concatenate([young, rng.permutation(active)])[:n_sires]
        weights = 1.0 / (3.0 + rng.permutation(len(active)))
        sire[rows] = np.where(rng.random(size) < 0.02, -1, rng.choice(active, size=size, p=weights / weights.sum()))
        first = max(0, year - 6) * born
        cows = first + 2 * rng.integers(0, ((year - 1) * born - first) // 2, size=size)
        dam[rows] = np.where(rng.random(size) < 0.1, -1, cows)
    return sire, dam


def random_mating(n_animals: int, seed: int = 1, n_generations: int = 20) -> Parents:
    """Return sires and dams of discrete generations: a fortieth of each are sires, any female may be a dam."""
    rng = np.random.default_rng(np.random.Philox(seed))
    born = n_animals // n_generations
    sire = np.full(n_animals, -1, dtype=np.int32)
    dam = np.full(n_animals, -1, dtype=np.int32)
    for generation in range(1, n_generations):
        rows = slice(generation * born, (generation + 1) * born if generation < n_generations - 1 else n_animals)
        size = rows.stop - rows.start
        before = (generation - 1) * born
        sires = before + 2 * rng.choice(born // 2, size=max(1, born // 40), replace=False) + 1
        sire[rows] = rng.choice(sires, size=size)
        dam[rows] = before + 2 * rng.integers(0, born // 2, size=size)
    return sire, dam


def shallow(n_animals: int, seed: int = 1) -> Parents:
    """Return `random_mating` over 10 generations: more animals in each, fewer ancestors of each."""
    return random_mating(n_animals, seed, n_generations=10)


CASES: dict[str, Callable[[int], Parents]] = {"dairy": dairy, "random": random_mating, "shallow": shallow}


def measure(case: str, n_animals: int, threads: int | None, repeat: int) -> dict[str, object]:
    """Return the timings of one case, run in this process."""
    from henderson.kernels.pedigree_order import generation_numbers
    from henderson.pedigree.inbreeding import inbreeding

    small = dairy(2000)
    inbreeding(*small, generation_numbers(*small)[0], threads=threads)
    sire, dam = CASES[case](n_animals)
    start = time.perf_counter()
    generation, _ = generation_numbers(sire, dam)
    order_seconds = time.perf_counter() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runs = []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        F = inbreeding(sire, dam, generation, threads=threads)
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(runs)
    return {
        "case": case,
        "animals": n_animals,
        "generations": int(generation.max()) + 1,
        "order_s": round(order_seconds, 3),
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "mean_F": float(F.mean()),
        "max_F": float(F.max()),
        "rss_before_mib": before // 1024,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10 M animals too")
    parser.add_argument("--animals", type=int, help="this many animals only")
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--in-process", action="store_true", help="print JSON of one case")
    arguments = parser.parse_args()
    cases = arguments.case or list(CASES)
    if arguments.in_process:
        print(json.dumps(measure(cases[0], arguments.animals, arguments.threads, arguments.repeat)))
        return
    sizes = [arguments.animals] if arguments.animals else [1_000_000, *([10_000_000] if arguments.full else [])]
    print("case        animals  gens  order s   wall s    CPU s     mean F    max F  RSS before  peak MiB")
    for n_animals in sizes:
        for case in cases:
            command = [sys.executable, __file__, "--in-process", "--case", case, "--animals", str(n_animals)]
            command += ["--repeat", str(arguments.repeat)]
            command += ["--threads", str(arguments.threads)] if arguments.threads else []
            r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{r['case']:<9}{r['animals']:>10}{r['generations']:>6}{r['order_s']:>9.2f}{r['wall_s']:>9.2f}"
                f"{r['cpu_s']:>9.2f}{r['mean_F']:>11.6f}{r['max_F']:>9.4f}{r['rss_before_mib']:>12}{r['peak_rss_mib']:>10}",
                flush=True,
            )


if __name__ == "__main__":
    main()
