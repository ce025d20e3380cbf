"""Pedigrees whose parents have weights of their own: uncertain parents, sires with maternal grandsires.

An animal with the pairs of parents (s_k, d_k), each with probability p_k, is the average over them (Henderson 1976;
Famula 1992)::

    u_i = sum_k p_k (u_sk + u_dk) / 2 + m_i,    a_ii = 1 + sum_k p_k a_sk,dk / 2

so row i of T^-1 has 1 and -w, w_p the sum of p_k / 2 over the pairs in which p is a parent, and the mendelian variance
is d_i = a_ii - w' A w. What the probabilities lack of 1 are unknown, unrelated parents (a sum between 0.995 and 1.005
is taken for rounded, and scaled to 1).

A bull of sire s, maternal grandsire m and (if given) maternal granddam g is u_s / 2 + u_m / 4 + u_g / 4 + m_i (Quaas,
Everett & McClintock 1979): its dam, who has no other part in the pedigree, is absorbed. This is the same with the pairs
(s, m) and (s, g), each with 1/2, and the weights 1/2, 1/4, 1/4.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from henderson.kernels.pedigree_general import Pairs, Parents, general_inbreeding, generations
from henderson.store.model_data import Loadings

CHUNK = 4096  # animals of a generation that a thread takes at a time

Rows = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """Pairs of possible parents by row: animal, first and second parent (-1 unknown), and probability.

    weights: (animal, parent, weight) of T^-1, by entry; an animal's entries of one parent are added.
    """

    n: int
    animal: Rows
    first: Rows
    second: Rows
    probability: Floats
    weights: tuple[Rows, Rows, Floats]

    def parents(self, unknown: int = 0) -> csr_array:
        """Return the weights as a matrix (n, n); the first `unknown` animals do not count as parents."""
        rows, columns, values = self.weights
        counts = (columns >= unknown) & (values > 0.0)
        entries = (values[counts], (rows[counts], columns[counts]))
        matrix = csr_array(coo_array(entries, shape=(self.n, self.n)))  # adds what is there twice
        matrix.sort_indices()
        return matrix


def uncertain(n: int, animal: Rows, sire: Rows, dam: Rows, probability: Floats) -> Candidates:
    """Return the candidates of a pedigree with several weighted pairs of parents; animals without any are founders."""
    rows = np.concatenate([animal, animal])
    weights = np.concatenate([probability, probability]) * 0.5
    return Candidates(n, animal, sire, dam, probability, (rows, np.concatenate([sire, dam]), weights))


def maternal_grandparents(sire: Rows, grandsire: Rows, granddam: Rows | None) -> Candidates:
    """Return the candidates of a pedigree of sire, maternal grandsire and perhaps maternal granddam."""
    n = len(sire)
    animal = np.arange(n, dtype=np.int32)
    others = [grandsire] if granddam is None else [grandsire, granddam]
    k = len(others)
    rows = np.tile(animal, 1 + k)
    weights = np.concatenate([np.full(n, 0.5), np.full(n * k, 0.25)])
    return Candidates(
        n,
        np.tile(animal, k),
        np.tile(sire, k),
        np.concatenate(others),
        np.full(n * k, 0.5),
        (rows, np.concatenate([sire, *others]), weights),
    )


def generations_of(parents: csr_array) -> NDArray[np.int32]:
    """Return the generation of every animal, -1 of those in loops and of their descendants."""
    progeny = csr_array(parents.T)
    indptr = progeny.indptr.astype(np.int64)
    return generations(np.diff(parents.indptr).astype(np.int64), indptr, progeny.indices.astype(np.int32))[0]


def relations(
    candidates: Candidates,
    known: csr_array,
    generation: NDArray[np.int32],
    fixed: tuple[csr_array, Floats, Floats] | None,
    threads: int | None,
) -> tuple[Floats, Floats]:
    """Return inbreeding F and mendelian variance d of every animal.

    known: weights of the parents that count (absorbed groups do not); generation: by `known`, or any later numbers;
    fixed: weights, F and d of the first animals, which are metafounders. Cost: see `general_inbreeding`; 30 bytes an
    animal and 12 an entry, besides 4 bytes an animal for each thread.
    """
    n = candidates.n
    order = np.argsort(generation, kind="stable")
    place = np.full(n + 1, -1, np.int32)
    place[order] = np.arange(n, dtype=np.int32)
    F, d = np.zeros(n), np.ones(n)
    matrix = known
    n_fixed = 0
    if fixed is not None:
        weights, inbred, variance = fixed
        n_fixed = len(inbred)
        F[:n_fixed], d[:n_fixed] = inbred, variance
        matrix = csr_array(known + weights)
        # the metafounders stand first and in their order, so that their own rows are topological
        order = np.concatenate([np.arange(n_fixed), order[order >= n_fixed]])
        place[order] = np.arange(n, dtype=np.int32)
    by_place = csr_array(matrix[order])
    parents = Parents(by_place.indptr.astype(np.int64), place[by_place.indices], by_place.data)
    pairs = _pairs(candidates, known, place)
    F, d = F[order], d[order]
    steps = np.flatnonzero(np.diff(generation[order[n_fixed:]], prepend=-1)) + n_fixed
    bounds = [*steps.tolist(), n]
    n_threads = threads or len(os.sched_getaffinity(0))
    numbers = [np.full(n, -1, np.int32) for _ in range(n_threads)]
    with ThreadPoolExecutor(n_threads) as pool:
        for start, stop in pairwise(bounds):
            chunks = [np.arange(k, min(k + CHUNK, stop)) for k in range(start, stop, CHUNK)]

            def work(t: int, chunks: list[NDArray[np.int64]] = chunks) -> None:
                for chunk in chunks[t::n_threads]:
                    general_inbreeding(chunk, parents, pairs, numbers[t], F, d)

            list(pool.map(work, range(min(n_threads, len(chunks)))))
    return F[place[:n]], d[place[:n]]


def _pairs(candidates: Candidates, known: csr_array, place: NDArray[np.int32]) -> Pairs:
    """Return the pairs of which both parents count, by place."""
    n = candidates.n
    counts = np.zeros(n + 1, np.bool_)
    counts[known.indices] = True
    of, first, second, p = (
        place[candidates.animal],
        candidates.first,
        candidates.second,
        candidates.probability,
    )
    keep = counts[first] & counts[second] & (p > 0.0)
    by_animal = np.argsort(of[keep], kind="stable")
    size = np.bincount(of[keep], minlength=n)
    indptr = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    return Pairs(indptr, place[first[keep][by_animal]], place[second[keep][by_animal]], p[keep][by_animal])


def split(matrix: csr_array) -> tuple[Rows, Rows, Loadings | None]:
    """Return sire and dam (-1 unknown) of the animals whose parents count one half each, and the others' loadings.

    Which of two such parents is called the sire is of no consequence.
    """
    n = matrix.shape[0]
    size = np.diff(matrix.indptr)
    row = np.repeat(np.arange(n), size)
    other = np.bincount(row, weights=matrix.data != 0.5, minlength=n) > 0
    sire, dam = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    first = matrix.indptr[:-1]
    has = np.flatnonzero(~other & (size > 0))
    sire[has] = matrix.indices[first[has]]
    two = np.flatnonzero(~other & (size > 1))
    dam[two] = matrix.indices[first[two] + 1]
    if not other.any():
        return sire, dam, None
    kept = other[row]
    indptr = np.concatenate([[0], np.cumsum(np.where(other, size, 0))]).astype(np.int64)
    return sire, dam, Loadings(indptr, matrix.indices[kept].astype(np.int32), matrix.data[kept])
