"""Inbreeding coefficients and mendelian variances, exact, for pedigrees of any depth and width."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.inbreeding import LANES, Metafounders, progeny_inbreeding, workspace
from henderson.kernels.pedigree_groups import parent_fractions
from henderson.kernels.pedigree_order import counting_order
from henderson.kernels.pedigree_ranks import (
    WORD,
    Families,
    RankedParents,
    count_progeny,
    families_by_pivot,
    parents_by_rank,
    rank_of_rarer_parent,
    set_mendelian_variance,
)

if TYPE_CHECKING:
    from henderson.kernels.inbreeding import Workspace

_CHUNKS_PER_THREAD = 16  # of a generation: enough to even out unequal chunks, few enough that handing out costs nothing


def mendelian_variance(
    sire: NDArray[np.int32], dam: NDArray[np.int32], inbreeding: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return d_i, the variance of the mendelian sampling term in units of the additive variance, shape (n,).

    d_i = 1 - (1 + F_p) / 4 summed over the known parents p (Henderson 1976; Quaas 1976): 1/2 - (F_s + F_d) / 4 with
    both known, 3/4 - F_p / 4 with one, 1 with none. Selfing is no exception: of a_ii = 1 + a_pp / 2 the parent averages
    explain a_pp, which leaves 1 - (1 + F_p) / 2.
    """
    at = np.append(inbreeding, -1.0)  # an unknown parent, index -1, takes nothing
    return 1.0 - 0.25 * ((1.0 + at[sire]) + (1.0 + at[dam]))


def inbreeding(
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    generation: NDArray[np.int32],
    *,
    threads: int | None = None,
    gamma: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the inbreeding coefficient F_i = a_sd / 2 of every animal, float64 (n,).

    The relationships of one parent with all its mates come from two passes over the ancestors (Colleau 2002; its use by
    sire: Sargolzaei, Iwaisaki & Colleau 2005); the passes need the mendelian variances of that parent's ancestors
    alone, so parents are taken generation by generation, and all of one generation at once by all threads. Of sire and
    dam the one with more progeny is passed over; full sibs share one value.

    sire, dam: int32, row or -1, rows in any order; generation: from `generation_numbers`; threads: all cores by
    default. gamma: float64 (m, m), relationships of the first m rows, which are metafounders (Legarra et al. 2015):
    their F is gamma_mm - 1, and `generation` takes them for unknown parents. The result does not depend on the number
    of threads, to the last bit.

    Cost: for every block of `LANES` parents of one generation, the number of animals in the pedigree of these parents
    and their mates; about 15-30 ns for each. Memory: about 25 bytes per animal, and per thread 4 bytes per animal with
    progeny and 100 per animal of the largest such pedigree; with metafounders, 8 m bytes per animal with progeny.
    """
    coefficients = np.zeros(len(sire))
    given_sire, given_dam = sire, dam
    if gamma is not None:
        m = np.int32(len(gamma))
        coefficients[:m] = np.diag(gamma) - 1.0
        both = np.flatnonzero((sire >= 0) & (sire < m) & (dam >= 0) & (dam < m))
        coefficients[both] = 0.5 * gamma[sire[both], dam[both]]
        sire, dam = np.where(sire < m, np.int32(-1), sire), np.where(dam < m, np.int32(-1), dam)
    n_generations = int(generation.max(initial=-1)) + 1
    if n_generations < 2:
        return coefficients
    n_progeny = count_progeny(sire, dam)
    rank, first_rank = _rank(sire, dam, generation, n_progeny)
    n_ranks = int(first_rank[-1])
    families = families_by_pivot(sire, dam, n_progeny, rank, n_ranks)
    parents = parents_by_rank(sire, dam, rank, n_ranks, int(first_rank[1]))
    metafounders = None
    if gamma is not None:
        metafounders = _metafounders(gamma, given_sire, given_dam, rank, parents, coefficients)
    del n_progeny, rank
    pivots = np.flatnonzero(np.diff(families.start)).astype(np.int32)
    bounds = np.searchsorted(pivots, first_rank)
    largest = int(np.diff(bounds).max(initial=0))  # no generation keeps more threads busy than it has blocks
    threads = min(threads or len(os.sched_getaffinity(0)), max(1, -(-largest // LANES)))
    spaces = [workspace(n_ranks) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        for g in range(n_generations):
            set_mendelian_variance(parents, int(first_rank[g]), int(first_rank[g + 1]), coefficients)
            chunks = _chunks(pivots[bounds[g] : bounds[g + 1]], threads)
            drain = partial(_drain, chunks, count(), families, parents, metafounders, coefficients)
            if len(chunks) > 1:
                list(pool.map(drain, spaces))
            else:
                drain(spaces[0])
    return coefficients


def _rank(
    sire: NDArray[np.int32], dam: NDArray[np.int32], generation: NDArray[np.int32], n_progeny: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the rank of every parent (-1 for other animals) and the first rank of each generation, with the end.

    Within a generation parents follow the rank of their rarer parent: a pass over the generation then reads these one
    after the other, and the few frequent ones stay in the cache.
    """
    n_generations = int(generation.max()) + 1
    rows = counting_order(generation.astype(np.int64), np.flatnonzero(n_progeny), n_generations)
    size = np.bincount(generation[rows], minlength=n_generations)
    first_rank = np.concatenate([[0], np.cumsum(-(-size // WORD) * WORD)])
    rank = np.full(len(sire), -1, dtype=np.int32)
    for g, stop in enumerate(np.cumsum(size)):
        members = rows[stop - size[g] : stop]
        key = rank_of_rarer_parent(members, sire, dam, n_progeny, rank)
        rank[members[np.argsort(key, kind="stable")]] = np.arange(first_rank[g], first_rank[g] + size[g])
    return rank, first_rank


def _metafounders(
    gamma: NDArray[np.float64],
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    rank: NDArray[np.int32],
    parents: RankedParents,
    coefficients: NDArray[np.float64],
) -> Metafounders:
    """Return what metafounders add; sets F of the progeny of one of them with an animal.

    Every metafounder m among the parents takes gamma_mm / 4 off the mendelian variance.
    """
    m = len(gamma)
    fraction = parent_fractions(sire, dam, rank, parents.row, m)
    quarter = np.zeros(len(sire) + 1)  # the last place is that of an unknown parent
    quarter[:m] = 0.25 * np.diag(gamma)
    known = parents.row >= 0
    rows = parents.row[known]
    parents.mendelian_variance[known] -= quarter[sire[rows]] + quarter[dam[rows]]
    for one, other in ((sire, dam), (dam, sire)):
        mixed = np.flatnonzero((one >= 0) & (one < m) & (other >= m))
        coefficients[mixed] = 0.5 * (gamma[one[mixed]] * fraction[rank[other[mixed]]]).sum(axis=1)
    return Metafounders(fraction, np.ascontiguousarray(gamma, np.float64))


def _chunks(pivots: NDArray[np.int32], threads: int) -> list[NDArray[np.int32]]:
    """Return the pivots of a generation cut into whole blocks, several for each thread."""
    step = max(1, len(pivots) // (threads * _CHUNKS_PER_THREAD * LANES)) * LANES
    return [pivots[first : first + step] for first in range(0, len(pivots), step)]


def _drain(
    chunks: list[NDArray[np.int32]],
    ticket: count[int],
    families: Families,
    parents: RankedParents,
    metafounders: Metafounders | None,
    coefficients: NDArray[np.float64],
    work: Workspace,
) -> None:
    """Take chunk after chunk until none is left; `ticket` is shared by the threads."""
    while (i := next(ticket)) < len(chunks):
        progeny_inbreeding(chunks[i], families, parents, work, metafounders, coefficients)
