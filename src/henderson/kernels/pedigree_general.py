"""Kernels of pedigrees with any parents and weights: generations, inbreeding and mendelian variances.

Animals are numbered in topological order; compressed rows hold each animal's parents and weights (row i of I - T^-1),
and its pairs of parents with probabilities.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import inline, jit


class Parents(NamedTuple):
    """Parents by animal: indptr int64 (n + 1,), parent int32, weight float64; no parent twice in a row."""

    indptr: NDArray[np.int64]
    parent: NDArray[np.int32]
    weight: NDArray[np.float64]


class Pairs(NamedTuple):
    """Pairs of known parents by animal: indptr int64 (n + 1,); first, second: int32; probability: float64."""

    indptr: NDArray[np.int64]
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    probability: NDArray[np.float64]


@jit
def generations(
    n_parents: NDArray[np.int64], indptr: NDArray[np.int64], progeny: NDArray[np.int32]
) -> tuple[NDArray[np.int32], int]:
    """Return the generation of every animal (0 without parents, else 1 + the largest of its parents), and how many.

    `indptr` and `progeny` are the compressed rows of the progeny. Animals in loops, and their descendants, keep -1;
    the number is that of the others. Cost: each edge once (Kahn 1962).
    """
    n = len(n_parents)
    waiting = n_parents.copy()
    generation = np.full(n, -1, dtype=np.int32)
    highest = np.zeros(n, dtype=np.int32)
    queue = np.empty(n, dtype=np.int32)
    head = 0
    tail = 0
    for animal in range(n):
        if waiting[animal] == 0:
            queue[tail] = animal
            tail += 1
    while head < tail:
        animal = queue[head]
        head += 1
        generation[animal] = highest[animal]
        for place in range(indptr[animal], indptr[animal + 1]):
            child = progeny[place]
            highest[child] = max(highest[child], generation[animal] + 1)
            waiting[child] -= 1
            if waiting[child] == 0:
                queue[tail] = child
                tail += 1
    return generation, tail


@inline
def add_parents(
    animal: int, parents: Parents, number: NDArray[np.int32], nodes: NDArray[np.int64], n: int
) -> tuple[NDArray[np.int64], int]:
    """Append the parents of `animal` that are not among the `n` first `nodes`; return nodes, larger if need be, and n.

    `number` is negative for animals that are not among them.
    """
    for place in range(parents.indptr[animal], parents.indptr[animal + 1]):
        p = parents.parent[place]
        if number[p] < 0:
            if n == len(nodes):
                nodes = np.concatenate((nodes, nodes))
            number[p] = 0
            nodes[n] = p
            n += 1
    return nodes, n


@jit
def general_inbreeding(
    animals: NDArray[np.int64],
    parents: Parents,
    pairs: Pairs,
    number: NDArray[np.int32],
    inbreeding: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> None:
    """Set F and d of `animals`, whose ancestors have theirs already.

    F_i = sum_k p_k a_{s_k d_k} / 2 over the pairs of parents, d_i = 1 + F_i - w' A w over the parents' weights w. The
    relationships A among the parents of an animal are sums over their ancestors, A = T D T' (Quaas 1976; Meuwissen &
    Luo 1992). `number` is a workspace of -1 by animal, and is left so.

    Cost: per animal, the number of ancestors of its parents times the square of the number of its parents.
    """
    nodes = np.empty(64, dtype=np.int64)
    for animal in animals:
        first = parents.indptr[animal]
        width = parents.indptr[animal + 1] - first
        if width == 0:
            inbreeding[animal] = 0.0
            variance[animal] = 1.0
            continue
        nodes, n = add_parents(animal, parents, number, nodes, 0)
        at = 0
        while at < n:
            nodes, n = add_parents(nodes[at], parents, number, nodes, n)
            at += 1
        ordered = np.sort(nodes[:n])
        for k in range(n):
            number[ordered[k]] = k
        x = np.zeros((n, width))
        for column in range(width):
            x[number[parents.parent[first + column]], column] = 1.0
        A = np.zeros((width, width))
        for k in range(n - 1, -1, -1):
            ancestor = ordered[k]
            for a in range(width):
                scaled = x[k, a] * variance[ancestor]
                if scaled != 0.0:
                    for b in range(width):
                        A[a, b] += scaled * x[k, b]
            for place in range(parents.indptr[ancestor], parents.indptr[ancestor + 1]):
                p = number[parents.parent[place]]
                for a in range(width):
                    x[p, a] += parents.weight[place] * x[k, a]
        explained = 0.0
        for a in range(width):
            for b in range(width):
                explained += parents.weight[first + a] * parents.weight[first + b] * A[a, b]
        F = 0.0
        for place in range(pairs.indptr[animal], pairs.indptr[animal + 1]):
            a = 0
            b = 0
            for column in range(width):
                if parents.parent[first + column] == pairs.first[place]:
                    a = column
                if parents.parent[first + column] == pairs.second[place]:
                    b = column
            F += 0.5 * pairs.probability[place] * A[a, b]
        inbreeding[animal] = F
        variance[animal] = 1.0 + F - explained
        for k in range(n):
            number[ordered[k]] = -1
