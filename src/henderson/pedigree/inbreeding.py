"""Inbreeding coefficients and mendelian variances."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from henderson.kernels import inbreeding as kernels

LANES = 8
_CHUNKS_PER_THREAD = 16


def mendelian_variance(
    sire: NDArray[np.int32], dam: NDArray[np.int32], inbreeding: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return d_i, the variance of the mendelian sampling term in units of the additive variance, shape (n,).

    d_i = 1 - (1 + F_p) / 4 summed over the known parents p: 1/2 - (F_s + F_d) / 4 with both known, 3/4 - F_p / 4 with one, 1
    with none (Henderson 1976; Quaas 1976). Selfing is no exception: a_ii = 1 + a_pp / 2 less the a_pp that the
    parent averages contribute leaves 1/2 - F_p / 2.
    """
    at = np.append(inbreeding, -1.0)  # an unknown parent (-1) contributes nothing
    return 1.0 - 0.25 * ((1.0 + at[sire]) + (1.0 + at[dam]))


def inbreeding(
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    generation: NDArray[np.int32],
    *,
    threads: int | None = None,
    lanes: int = LANES,
) -> NDArray[np.float64]:
    n = len(sire)
    coefficients = np.zeros(n)
    n_generations = int(generation.max(initial=-1)) + 1
    rank, first_rank = kernels.rank_parents(sire, dam, generation, n_generations)
    n_ranks = int(first_rank[-1])
    start, member, mate = kernels.group_by_pivot(sire, dam, rank, n_ranks)
    if len(member) == 0:
        return coefficients
    row, ranked_sire, ranked_dam = kernels.ranked_parents(sire, dam, rank, n_ranks)
    pivots = np.flatnonzero(np.diff(start)).astype(np.int32)
    bounds = np.searchsorted(pivots, first_rank)
    d = np.ones(n_ranks)
    threads = threads or len(os.sched_getaffinity(0))
    lane = (0,) * lanes

    def workspace():
        return (
            np.zeros(n_ranks // 64 + 1, dtype=np.uint64),
            np.zeros((n_ranks >> 12) + 1, dtype=np.uint8),
            np.empty(n_ranks + 1, dtype=np.int32),
            np.empty(n_ranks + 1, dtype=np.int32),
            np.empty(n_ranks + 1, dtype=np.int32),
            np.empty(n_ranks + 1, dtype=np.int32),
            np.empty(n_ranks + 1, dtype=np.uint8),
            np.empty((n_ranks + 1, lanes)),
        )

    work = [workspace() for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        for g in range(n_generations):
            kernels.ranked_mendelian_variance(
                d, first_rank[g], first_rank[g + 1], row, ranked_sire, ranked_dam, coefficients
            )
            a, b = int(bounds[g]), int(bounds[g + 1])
            if a == b:
                continue
            step = max(1, (b - a) // (threads * _CHUNKS_PER_THREAD * lanes)) * lanes
            chunks = iter(range(a, b, step))

            def drain(space):
                for c in chunks:
                    kernels.pivots_inbreeding(
                        lane, pivots, c, min(c + step, b), start, member, mate, first_rank[1], ranked_sire, ranked_dam, d, *space, coefficients
                    )

            list(pool.map(drain, work))
    return coefficients
