"""What memory gives: STREAM triad (McCalpin 1995), c = a + 3 b, 24 bytes an element.

python tests/benchmarks/stream.py [--threads 2]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from henderson.kernels.jit import jit
from henderson.partitions.threads import Team


@jit
def triad(start: int, stop: int, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    for i in range(start, stop):
        c[i] = a[i] + 3.0 * b[i]


def stream_triad(team: Team, n: int = 20_000_000) -> float:
    """Return GB/s, the best of five."""
    a, b, c = np.ones(n), np.ones(n), np.zeros(n)
    bounds = [n * k // team.n_threads for k in range(team.n_threads + 1)]
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        team.run(lambda p: triad(bounds[p], bounds[p + 1], a, b, c))
        best = min(best, time.perf_counter() - start)
    return 24e-9 * n / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    with Team(threads) as team:
        print(f"STREAM triad {stream_triad(team):.1f} GB/s on {threads} threads", flush=True)


if __name__ == "__main__":
    main()
