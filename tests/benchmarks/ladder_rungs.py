"""Preconditioners for comparison alone: parts of level blocks, diagonalised levels, and a coarse space on top.

They are what others have used; `henderson` itself offers those that win (`ladder.py` prints the table). All are
symmetric and positive definite, and the same for any partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from henderson.equations.border import inverse_of_border
from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree, Partition
from henderson.kernels.blocks import LevelBlocks
from henderson.kernels.records import border_products
from henderson.partitions.exchange import Vectors
from henderson.solvers.preconditioner import BlockPreconditioner, descend_apart
from henderson.store.model_data import Pedigree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
CHUNK = 1 << 16  # levels of which the blocks are unpacked at a time


def traits_of(design: Design, g: int) -> Ints:
    """Return the trait of each position of a group: the first that has it in its equation; -1 if none has."""
    traits = np.full(design.groups[g].width, -1)
    for term in reversed(design.terms):
        if design.slots[term.slot].group == g:
            traits[term.position] = term.trait
    return traits


def effects_of(design: Design, g: int) -> Ints:
    """Return which effect of its trait each position of a group is: the first, the second, ..."""
    traits = traits_of(design, g)
    return np.array([np.count_nonzero(traits[:k] == trait) for k, trait in enumerate(traits)])


class PartBlocks(BlockPreconditioner):
    """M = the level blocks of C, elements between positions with different labels left out.

    `label` is `traits_of` (the effects of a trait together) or `effects_of` (an effect of all traits together: the
    trait block of Tsuruta, Misztal & Stranden 2001, J Anim Sci 79:1166). Memory and time are those of whole blocks.
    """

    def __init__(
        self, operator: Operator, label: Callable[[Design, int], Ints], compact_above: int | None = None
    ) -> None:
        self._label = label
        more = {} if compact_above is None else {"compact_above": compact_above}
        super().__init__(operator, "block", **more)

    def _prepare(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Set elements between labels to zero. **Collective**."""
        for g in range(len(self._operator.design.groups)):
            labels = self._label(self._operator.design, g)
            together = labels[:, None] == labels
            rows, columns = np.tril_indices(len(labels))
            inverse = self._operator.sigma_inverse[g]
            for parts in blocks:
                mine = parts[g]
                mine.packed[:, ~together[rows, columns]] = 0.0
                if len(mine.sigma) and inverse is not None:
                    parts[g] = mine._replace(sigma=np.linalg.inv(np.where(together, inverse, 0.0)))
        return frozenset()


def canonical(sigma_inverse: Floats, data: Floats) -> Floats:
    """Return T with T' Sigma^-1 T = I and T' B T diagonal, B positive semidefinite.

    The canonical transformation (Jensen & Mao 1988, J Anim Sci 66:2750; with missing traits Ducrocq & Besbes 1993, J
    Anim Breed Genet 110:81).
    """
    _, T = scipy.linalg.eigh(0.5 * (data + data.T), sigma_inverse)
    return np.asarray(T, np.float64)


class DiagonalisedLevels(BlockPreconditioner):
    """M = T^-' diag(T' C_ii T) T^-1 per level i of a random group; diagonal elements of C of fixed ones.

    T makes Sigma^-1 and the mean block of W'R^-1 W over the levels that have one diagonal at once: conjugate gradients
    with this M are those of the equations for canonical traits with a diagonal one. Memory and time are those of whole
    blocks.
    """

    def __init__(self, operator: Operator, compact_above: int | None = None) -> None:
        more = {} if compact_above is None else {"compact_above": compact_above}
        super().__init__(operator, "block", **more)

    def _prepare(self, blocks: list[list[LevelBlocks]]) -> frozenset[int]:
        """Make blocks of random groups inverses, and fixed ones diagonal; return the former. **Collective**."""
        done = set()
        for g, inverse in enumerate(self._operator.sigma_inverse):
            width = self._operator.design.groups[g].width
            rows, columns = np.tril_indices(width)
            if inverse is None:
                for parts in blocks:
                    parts[g].packed[:, rows != columns] = 0.0
                continue
            done.add(g)
            total = self._operator.exchange.sum_arrays([parts[g].packed.sum(axis=0, dtype=float) for parts in blocks])
            count = self._operator.exchange.sum([float(len(parts[g].packed)) for parts in blocks])
            mean = np.zeros((width, width))
            mean[rows, columns] = total / max(1.0, count)
            # a multiple of Sigma^-1 in it, from Gamma^-1, changes the eigenvalues and not T
            T = canonical(inverse, np.tril(mean) + np.tril(mean, -1).T)
            for parts in blocks:
                packed = parts[g].packed
                for start in range(0, len(packed), CHUNK):
                    block = np.zeros((len(packed[start : start + CHUNK]), width, width))
                    block[:, rows, columns] = packed[start : start + CHUNK]
                    block[:, columns, rows] = packed[start : start + CHUNK]
                    diagonal = np.einsum("tk,itu,uk->ik", T, block, T, optimize=True)
                    solved = (T / diagonal[:, None, :]) @ T.T
                    packed[start : start + CHUNK] = solved[:, rows, columns]
        return frozenset(done)


def clusters_of(design: Design, pedigree: Pedigree, space: str, n: int) -> dict[int, Ints]:
    """Return the cluster of each level of the groups that a coarse space takes in, -1 for none.

    ``levels``: one for each group. ``sires``: of a pedigree one for each of the n - 1 largest families of a sire, with
    him, and one for all others; of the rest one for each group. ``herds``: of a pedigree n parts in the order of the
    store, which goes by herds; a level of another group belongs where the individual of its last record does.
    Groups related by a matrix are left out.
    """
    groups = design.groups
    related = next(g for g, group in enumerate(groups) if group.pedigree)
    left_out = [
        g for g, group in enumerate(groups) if group.covariance is not None and group.covariance.kind == "matrix"
    ]
    found = {g: np.zeros(group.n_levels, np.int64) for g, group in enumerate(groups) if g not in left_out}
    if space == "sires":
        family = np.where(pedigree.sire >= 0, pedigree.sire, np.arange(len(pedigree)))
        largest = np.argsort(-np.bincount(family), kind="stable")[: n - 1]
        number = np.full(len(pedigree), n - 1)
        number[largest] = np.arange(len(largest))
        found[related] = number[family]
        found[related][largest] = np.arange(len(largest))
    elif space == "herds":
        individuals = next(slot.codes for slot in design.slots if slot.group == related)
        of = found[related] = np.arange(len(pedigree)) * n // len(pedigree)
        for g in found.keys() - {related}:
            found[g][:] = -1
        for slot in (each for each in design.slots if each.group in found and each.group != related):
            both = (slot.codes >= 0) & (individuals >= 0)
            found[slot.group][slot.codes[both]] = of[individuals[both]]
    elif space != "levels":
        raise ValueError(f"no coarse space {space!r}")
    return found


class CoarseSpace:
    """Z, Z'C Z and its inverse: columns are the sums over clusters of levels, position by position.

    clusters: by number of the group the cluster of each of its levels, -1 for none. Z'C Z costs one pass over records
    and pedigree, and 8 bytes for each pair of columns.
    """

    def __init__(self, operator: Operator, clusters: Mapping[int, Ints]) -> None:
        groups, n_traits = operator.design.groups, operator.design.n_traits
        n = {g: int(of.max(initial=-1)) + 1 for g, of in clusters.items()}
        sizes = [n[g] * groups[g].width for g in clusters]
        first = dict(zip(clusters, np.cumsum([0, *sizes]).tolist(), strict=False))
        lists = operator.design.term_lists(frozenset(clusters))
        self._operator, self._places = operator, []
        records, relationships = [], []
        for partition in operator.partitions:
            layout = partition.layout
            place = np.full(layout.n_local, -1, np.int32)
            for g, of in clusters.items():
                local, width, kept = layout.groups[g], groups[g].width, operator.design.kept[g]
                for begin, levels in ((local.first_owned, local.owned_levels()), (local.first_ghost, local.ghosts)):
                    cluster = of[levels].astype(np.int64)[:, None]
                    inside = (cluster >= 0) & (True if kept is None else kept[levels])
                    rows = np.where(inside, first[g] + cluster * width + np.arange(width), -1)
                    place[begin : begin + rows.size] = rows.ravel()
            self._places.append(place)
            E = np.zeros((sum(sizes), sum(sizes)))
            border_products(place, partition.records, lists, operator.residual, n_traits, E)
            records.append(E)
            relationships.append({g: _relationship(partition, g, first[g], n[g], place) for g in clusters})
        self.matrix = operator.exchange.sum_arrays(records)
        for g in clusters:
            if (inverse := operator.sigma_inverse[g]) is not None:
                K = operator.exchange.sum_arrays([of[g] for of in relationships])
                at = slice(first[g], first[g] + n[g] * groups[g].width)
                self.matrix[at, at] += np.kron(K, inverse)
        self._inverse = inverse_of_border(self.matrix)

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here."""
        return self.matrix.nbytes + self._inverse.nbytes + sum(place.nbytes for place in self._places)

    def restrict(self, r: Vectors) -> Floats:
        """Return Z'r. **Collective**."""

        def part(p: int) -> Floats:
            n = self._operator.n_owned[p]
            place = self._places[p][:n]
            return np.bincount(place + 1, weights=r[p][:n], minlength=len(self.matrix) + 1)[1:]

        return self._operator.exchange.sum_arrays(self._operator.team.run(part, self._operator.n_partitions))

    def add(self, c: Floats, x: Vectors) -> None:
        """Add Z c to the owned elements of x."""
        wide = np.append(c, 0.0)  # place -1 is the last

        def part(p: int) -> None:
            n = self._operator.n_owned[p]
            x[p][:n] += wide[self._places[p][:n]]

        self._operator.team.run(part, self._operator.n_partitions)

    def solve(self, r: Vectors) -> Floats:
        """Return (Z'C Z)^-1 Z'r. **Collective**."""
        return self._inverse @ self.restrict(r)


def _relationship(partition: Partition, g: int, first: int, n: int, place: NDArray[np.int32]) -> Floats:
    """Return what a partition adds to Z_1' Gamma^-1 Z_1 of group `g`, (n, n): Z_1 is Z of one position."""
    local, K = partition.layout.groups[g], np.zeros((n, n))

    def clusters(elements: NDArray[np.uint32] | Ints) -> Ints:
        return np.where(place[elements] < 0, -1, (place[elements].astype(np.int64) - first) // local.width)

    own, related = clusters(local.first_owned + local.width * np.arange(local.n_owned)), partition.relationship[g]
    if related is None:
        return np.diag(np.bincount(own[own >= 0], minlength=n)[:n].astype(float))
    assert isinstance(related, LocalPedigree)
    assert related.loadings is None
    members = [(own, 1.0), (clusters(related.sire), -0.5), (clusters(related.dam), -0.5)]
    for a, left in members:
        for b, right in members:
            both = (a >= 0) & (b >= 0)
            at = a[both] * n + b[both]
            K += np.bincount(at, weights=left * right * related.precision[both], minlength=n * n).reshape(n, n)
    return K


class TwoLevel:
    """M^-1 of another preconditioner with a coarse space Z: Q = Z (Z'C Z)^-1 Z' added, or balanced with it.

    Added: M^-1 + Q (Dryja & Widlund 1987), which needs no product. Balanced: P'M^-1 P + Q with P = I - C Q (Mandel
    1993), which needs two more products an application; from a start without error in the coarse space deflation
    (Nicolaides 1987) and A-DEF2 (Tang, Nabben, Vuik & Erlangga 2009, J Sci Comput 39:340) are the same iteration with
    one more.
    """

    def __init__(self, operator: Operator, base: BlockPreconditioner, coarse: CoarseSpace, balanced: bool) -> None:
        self._operator, self._base, self._coarse, self._balanced = operator, base, coarse, balanced
        self._vectors = [operator.zeros() for _ in range(2 if balanced else 0)]

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here."""
        return self._base.nbytes + self._coarse.nbytes + sum(part.nbytes for vector in self._vectors for part in vector)

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        """Set r -= alpha q and z = M^-1 r (`z` may be `q`); return (r'r, r'z). **Collective**."""
        return descend_apart(self._operator, self.apply, alpha, q, r, z)

    def apply(self, r: Vectors, z: Vectors) -> None:
        """Set z = M^-1 r; `z` must not be `r`. **Collective**."""
        operator, coarse = self._operator, self._coarse
        first = coarse.solve(r)
        if not self._balanced:
            self._base.apply(r, z)
            coarse.add(first, z)
            return
        mine, work = self._vectors
        for part in mine:
            part[:] = 0.0
        coarse.add(first, mine)
        operator.apply(mine, work)
        for part, residual, n in zip(work, r, operator.n_owned, strict=True):
            np.subtract(residual[:n], part[:n], out=part[:n])
        self._base.apply(work, z)
        for part, n in zip(z, operator.n_owned, strict=True):
            part[n:] = 0.0  # no level: products leave what they like there
        operator.apply(z, work)
        coarse.add(first - coarse.solve(work), z)
