"""Effects nested in individuals, such as permanent environments: eliminated before the individuals, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.blocks import add_ghosts, shared_levels
from henderson.equations.model import Design
from henderson.equations.operator import Operator
from henderson.kernels import nested_effects as kernels
from henderson.kernels import sweep_columns as column_kernels
from henderson.kernels.blocks import LevelBlocks
from henderson.partitions.exchange import Vectors
from henderson.partitions.layout import GroupLayout
from henderson.solvers.class_factor import NEAR, NotFiniteError

Floats = NDArray[np.float64]
Elements = NDArray[np.uint32]


@dataclass(frozen=True)
class Nesting:
    """Effect `group` has the terms that the `positions` of `individuals` have in slot `slot_of_individuals`."""

    group: int
    individuals: int
    slot: int
    slot_of_individuals: int
    positions: NDArray[np.int64]

    @property
    def elements(self) -> set[tuple[int, int]]:
        """Return the group of the individuals with each of the positions."""
        return {(self.individuals, int(t)) for t in self.positions}


def candidates(design: Design, others: frozenset[int], swept: frozenset[int]) -> list[list[Nesting]]:
    """Return, for each effect among `others`, the slots of individuals in `swept` that have the same terms.

    The effects are uncorrelated between levels, with one Sigma, and have one slot.
    """
    found = []
    for e in sorted(others - swept):
        covariance = design.groups[e].covariance
        slots = [s for s, slot in enumerate(design.slots) if slot.group == e]
        if covariance is None or covariance.kind != "identity" or covariance.own is not None or len(slots) != 1:
            continue
        mine, nestings = _terms(design, slots[0]), []
        for s, slot in enumerate(design.slots):
            place = {terms: position for position, terms in _terms(design, s).items()} if slot.group in swept else {}
            same = sorted(map(sorted, place)) == sorted(map(sorted, mine.values()))
            if same and len(mine) == design.groups[e].width:
                positions = np.array([place[mine[t]] for t in range(len(mine))], np.int64)
                nestings.append(Nesting(e, slot.group, slots[0], s, positions))
        found.append(nestings)
    return found


class NestedEffects:
    """Their part in a factor of C: P = K + Sigma^-1 of each level, K P^-1 its block of L with its individual.

    No two have the same positions of individuals: what they have in common would be taken off twice. Of several slots
    that an effect may be nested in (animal or dam) the one counts in which most of its levels have one individual.
    Levels with records of several individuals are blocks of their own. Memory: 4 bytes a level.
    """

    def __init__(self, operator: Operator, others: frozenset[int], swept: frozenset[int], work: Vectors) -> None:
        self._operator = operator
        self._nestings: list[tuple[Nesting, list[Elements]]] = []
        taken: set[tuple[int, int]] = set()
        for nestings in candidates(operator.design, others, swept):
            linked = [(n, _individuals(operator, n, work)) for n in nestings if taken.isdisjoint(n.elements)]
            counts = [self._n_levels(of) for _, of in linked]
            if max(counts, default=0.0) > 0.0:
                chosen = linked[counts.index(max(counts))]
                taken |= chosen[0].elements
                self._nestings.append(chosen)
        self.groups = frozenset(nesting.group for nesting, _ in self._nestings)
        self.crosses = operator.exchange.sum([self._n_ghosts(p) for p in range(operator.n_partitions)]) > 0.0

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes here, beside the blocks."""
        return sum(part.nbytes for _, of in self._nestings for part in of)

    def _n_levels(self, of: list[Elements]) -> float:
        nulls = [p.layout.null for p in self._operator.partitions]
        return self._operator.exchange.sum([float((part != null).sum()) for part, null in zip(of, nulls, strict=True)])

    def _n_ghosts(self, p: int) -> float:
        """Return how many levels have an individual that another partition owns."""
        layout = self._operator.partitions[p].layout
        return float(sum(((of[p] >= layout.n_owned) & (of[p] < layout.null)).sum() for _, of in self._nestings))

    @property
    def nestings(self) -> list[Nesting]:
        """Return which effects are eliminated, and from where."""
        return [nesting for nesting, _ in self._nestings]

    def eliminate(self, blocks: list[list[LevelBlocks]], work: Vectors) -> None:
        """Invert the blocks of the effects, and take what that adds off those of individuals. **Collective**.

        `work` is used.

        Raises
        ------
        NotFiniteError
            A block cannot be inverted.

        """
        operator = self._operator
        for nesting, of in self._nestings:
            g = nesting.individuals

            def part(p: int, nesting: Nesting = nesting, of: list[Elements] = of, g: int = g) -> Floats:
                own, individuals = blocks[p][nesting.group], blocks[p][g]
                local, near = operator.partitions[p].layout.groups[g], NEAR[individuals.packed.dtype]
                ghosts = np.zeros((len(local.ghosts), local.width * (local.width + 1) // 2))
                where = (*self._where(p, nesting), own, individuals, local.first_ghost, ghosts)
                failed = kernels.eliminate(near, of[p], *where)
                if failed >= 0:
                    levels = operator.partitions[p].layout.groups[nesting.group].owned_levels()
                    raise NotFiniteError(nesting.group, int(levels[failed]))
                return ghosts

            ghosts = operator.team.run(part, operator.n_partitions)
            if self.crosses:
                add_ghosts(operator, g, blocks, ghosts, work, shared_levels(operator, g, work))

    def forward(self, p: int, blocks: Sequence[LevelBlocks], y: Floats, z: Floats) -> None:
        """Set z = P^-1 y in the effects, and take K z off y of their individuals, ghosts too."""
        for nesting, of in self._nestings:
            forward = kernels.forward if z.ndim == 1 else column_kernels.nested_forward
            forward(of[p], *self._where(p, nesting), blocks[nesting.group], y, z)

    def backward(self, p: int, blocks: Sequence[LevelBlocks], z: Floats) -> None:
        """Take P^-1 K z of the individuals, ghosts too, off z of the effects."""
        for nesting, of in self._nestings:
            backward = kernels.backward if z.ndim == 1 else column_kernels.nested_backward
            backward(of[p], *self._where(p, nesting), blocks[nesting.group], z)

    def _where(self, p: int, nesting: Nesting) -> tuple[int, NDArray[np.int64], Floats]:
        inverse = self._operator.sigma_inverse[nesting.group]
        assert inverse is not None
        return self._operator.partitions[p].layout.null, nesting.positions, inverse


def _individuals(operator: Operator, nesting: Nesting, work: Vectors) -> list[Elements]:
    """Return, per partition, the element of each owned level's individual, `null` without one. **Collective**.

    `work` is used: owners tell others of the individual that they have found, and hear of those who know of another.
    """

    def find(p: int) -> Elements:
        partition = operator.partitions[p]
        layout, slots = partition.layout, partition.records.slots
        local, individuals = layout.groups[nesting.group], layout.groups[nesting.individuals]
        mine, found = nesting.slot_of_individuals, []
        same = [s for s, slot in enumerate(operator.design.slots) if slot.group == nesting.individuals and s != mine]
        for first, n in ((local.first_owned, local.n_owned), (local.first_ghost, len(local.ghosts))):
            of = np.full(n, kernels.UNSET, np.uint32)
            where = (nesting.slot, mine, np.array(same, np.int64), first, local.width, layout.null)
            kernels.link(slots, *where, of)
            of[of == kernels.UNSET] = layout.null
            found.append(of)
        work[p][:] = 0.0
        work[p][local.elements][:: local.width] = _numbers(individuals, found[0])
        return np.concatenate(found)

    def compare(p: int) -> None:
        layout = operator.partitions[p].layout
        local, individuals = layout.groups[nesting.group], layout.groups[nesting.individuals]
        told = work[p][local.ghost_elements][:: local.width]
        other = told != _numbers(individuals, found[p][local.n_owned :])
        work[p][:] = 0.0
        told[:] = other

    def agree(p: int) -> Elements:
        layout = operator.partitions[p].layout
        local = layout.groups[nesting.group]
        of = found[p][: local.n_owned].copy()
        of[work[p][local.elements][:: local.width] > 0.0] = layout.null
        work[p][:] = 0.0
        return of

    found = operator.team.run(find, operator.n_partitions)
    operator.exchange.forward(work)
    operator.team.run(compare, operator.n_partitions)
    operator.exchange.reverse_add(work)
    return operator.team.run(agree, operator.n_partitions)


def _numbers(local: GroupLayout, elements: Elements) -> Floats:
    """Return 1 + the global level of each element, owned or a ghost; 0 of others."""
    out = np.zeros(len(elements))
    for first, levels in ((local.first_owned, local.owned_levels()), (local.first_ghost, local.ghosts)):
        here = (elements >= first) & (elements < first + len(levels) * local.width)
        out[here] = 1.0 + levels[(elements[here] - np.uint32(first)) // np.uint32(local.width)]
    return out


def _terms(design: Design, s: int) -> dict[int, frozenset[tuple[int, int]]]:
    """Return, by position, the traits and coefficients of the terms in slot `s`."""
    found: dict[int, set[tuple[int, int]]] = {}
    for term in design.terms:
        if term.slot == s:
            found.setdefault(term.position, set()).add((term.trait, term.coefficient))
    return {position: frozenset(terms) for position, terms in found.items()}
