"""Approximate accuracies of all levels of random factors, from a few passes over records and pedigree.

What is known of an animal is gathered from its own records, its progeny and its parents, in blocks of positions
(Harris & Johnson 1998; Tier & Meyer 2004, with maternal effects and random regressions; Jamrozik, Schaeffer & Jansen
2000; Misztal & Wiggans 1988 for one trait), as messages that leave out what the receiver has sent itself:

1. own records: Z'V^-1 Z, V the variance of the animal's observations with its permanent environment and the errors of
   what it shares with others, without what it has said of these (`kernels.own_information`);
2. up, the youngest first: a family says of p, the mean of its parents, F = sum_c E_c, where E_c = ((B_c)^-1 + d_c S)^-1
   with what is known of progeny c without its parents, B_c; to one parent it says (4 F^-1 + PEV of the other)^-1;
3. down, the oldest first: PEV_c = (B_c + (d_c S + (F - E_c + PEV_p^-1)^-1)^-1)^-1.

It is exact where families form a tree and contemporaries are not related (after a second round, which knows mates and
contemporaries; it changes little else); full sibs share one message. What the errors of two parents have in common
because they are related is taken as 2 F V_sire S^-1 V_dam (`kernels.pedigree_messages`). The drift of generations is
not seen; it is learnt from exact blocks of some animals (`calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from henderson.accuracy.approximate_model import Layout, families_of, lay_out, records_by_animal
from henderson.accuracy.calibration import Calibration, calibrate
from henderson.accuracy.gamma import GammaDiagonal
from henderson.equations.model import Design, Group
from henderson.equations.operator import Operator
from henderson.kernels.own_information import absorb
from henderson.kernels.own_records import FOREIGN, NONE, OWN, SHARED, OwnRecords
from henderson.kernels.pedigree_information import Animals, Effects, Families, error_variances, prior_information
from henderson.kernels.pedigree_messages import send_down, send_up
from henderson.kernels.pedigree_messages_single import send_down_single, send_up_single
from henderson.solvers.indices import Index
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]

ROUNDS = 1  # a second changes correlations in the fourth digit


class Information:
    """What records and relatives say of every animal, gathered in rounds.

    Memory, an animal: two blocks of the positions of a breeding value in single precision, one in double, two of each
    family, two of each animal with records; and the records by animal.
    """

    def __init__(self, design: Design, data: ModelData, gamma: GammaDiagonal) -> None:
        self.design = design
        self.layout = lay_out(design, data)
        effects, pedigree = self.layout.effects, self.layout.pedigree
        n, w, q = len(pedigree), effects.width, effects.wide
        self.families: Families = families_of(pedigree, w, q)
        self._chunks: list[OwnRecords] = list(records_by_animal(design, self.layout))
        with_records = np.concatenate([np.zeros(0, np.int32), *(c.animal for c in self._chunks)])
        record = np.full(n, -1, np.int32)
        record[with_records] = np.arange(len(with_records), dtype=np.int32)
        covariance = design.groups[next(iter(self.layout.genetic))].covariance
        assert covariance is not None
        diagonal = np.nan_to_num(gamma(covariance, np.arange(n)), nan=1.0)
        own = (len(with_records), packed(w + effects.maternal))
        self.animals = Animals(
            1.0 / pedigree.mendelian_variance,
            diagonal - 1.0,
            record,
            np.zeros(own, np.float32),
            np.zeros(own, np.float32),
            np.zeros((n, packed(q))),
            np.empty((n, packed(w)), np.float32),
        )
        self.information = self.layout.information
        self.own_errors = np.zeros(self.layout.n_errors)

    def gather(self, rounds: int = ROUNDS) -> None:
        """Gather it."""
        effects, families, animals = self.layout.effects, self.families, self.animals
        prior_information(effects, animals)
        for k in range(rounds):
            self.information = self.layout.information.copy()
            self._absorb(k > 0, final=False, last=False)
            self._absorb(k > 0, final=True, last=False)
            if k == 0:
                prior_information(effects, animals)
            _send(effects, families, animals)
        if self.layout.n_errors:  # of an animal's own effects, with the errors of breeding values as they are now
            self.information = self.layout.information.copy()
            self._absorb(True, final=False, last=False)
            self._absorb(True, final=True, last=True)

    def absorb_known(self) -> None:
        """Set the information of own records to that with all effects known but those of an animal's own."""
        layout = self.layout
        role = np.where(np.isin(layout.roles.role, (SHARED, FOREIGN)), NONE, layout.roles.role)
        self.layout = replace(layout, roles=layout.roles._replace(role=role))
        self._absorb(False, final=True, last=False, known=True)
        self.layout = layout

    def _absorb(self, refined: bool, *, final: bool, last: bool, known: bool = False) -> None:
        design, layout = self.design, self.layout
        effects, pedigree, animals = layout.effects, layout.pedigree, self.animals
        foreign = final and layout.has_foreign and not known
        loose = np.zeros((len(pedigree) if foreign else 0, packed(effects.wide)))
        dams = np.where(pedigree.sire == pedigree.dam, np.int32(-1), pedigree.dam)
        observed = design.patterns.observed
        sigmas = np.asarray(design.residuals)[design.patterns.residual].reshape(len(observed), -1)
        errors = self.own_errors if last else np.zeros(0)
        if last:
            for g, at in _tables(design, layout, OWN):
                group, covariance = design.groups[g], design.groups[g].covariance
                assert covariance is not None
                errors[at : at + group.size] = np.tile(np.diag(covariance.sigma), group.n_levels)
        widest = max(g.width for g in design.groups)
        rest = (observed, sigmas, layout.roles, dams, animals, refined, final, self.information, widest, loose, errors)
        for records in self._chunks:
            absorb(effects, records, design.term_lists(), *rest)
        if foreign:
            animals.node[:] += loose - self._loose
            self._loose = loose

    _loose: Floats | float = 0.0
    calibration: Calibration | None = None

    def calibrate(
        self, operator: Operator, preconditioner: BlockPreconditioner, n_animals: int, memory: int | None = None
    ) -> None:
        """Learn from the exact blocks of some animals what `variances` are to add: see `calibration`."""
        layout, elements = self.layout, {}
        for g, first in layout.genetic.items():
            t, u = np.tril_indices(self.design.groups[g].width)
            elements[g] = (first + t) * (first + t + 1) // 2 + first + u
        scale, generation = 1.0 + self.animals.inbreeding, layout.pedigree.generation
        exact = (operator, preconditioner, n_animals, memory)
        self.calibration = calibrate(generation, scale, self._errors, elements, *exact)

    def _errors(self, animals: NDArray[np.int64]) -> Floats:
        """Return the packed blocks of variances of prediction errors of some animals, before calibration."""
        effects = self.layout.effects
        found = np.empty((len(animals), packed(effects.wide)))
        error_variances(effects, self.animals, animals, found)
        return found

    def variances(self, indices: Sequence[Index] = ()) -> tuple[tuple[Floats | None, ...], list[Floats | None]]:
        """Return the variances of prediction errors: of groups and of indices; None where effects are fixed or shared.

        Of a group (n_levels, width); of an index (n_levels,), None also unless it is of breeding values.
        """
        design, layout = self.design, self.layout
        w, q = layout.effects.width, layout.effects.wide
        everything = self._errors(np.arange(len(layout.pedigree)))
        if self.calibration is not None:
            self.calibration.add_to(everything, 1.0 + self.animals.inbreeding, np.diag(layout.effects.sigma))
        diagonal = everything[:, np.arange(q) * (np.arange(q) + 3) // 2]
        of_indices: list[Floats | None] = []
        for index in indices:
            first = layout.genetic.get(index.group)
            of_indices.append(None if first is None else everything @ _products(q, first, index.weights))
        found: dict[int, Floats] = {}
        for g, first in layout.genetic.items():
            found[g] = diagonal[:, first : first + design.groups[g].width]
        for g, (first, dams) in layout.of_dam.items():
            group, known = design.groups[g], dams >= 0
            found[g] = _prior_of(group)
            found[g][known] = diagonal[dams[known], w + first : w + first + group.width]
        for g, at in _tables(design, layout, OWN):
            group = design.groups[g]
            found[g] = self.own_errors[at : at + group.size].reshape(-1, group.width)
        return tuple(found.get(g) for g in range(len(design.groups))), of_indices


def _send(effects: Effects, families: Families, animals: Animals) -> None:
    """Send information up and down the pedigree."""
    if effects.wide > 1:
        send_up(effects, families, animals)
        send_down(effects, families, animals)
        return
    prior = float(effects.sigma_inverse[0, 0])
    kin = (*families[:5], families.to_sire.ravel(), families.to_dam.ravel())
    own, passed, above = (a.ravel() for a in (animals.own, animals.passed, animals.above))
    node = animals.node.ravel()  # a view, as the others
    send_up_single(prior, *kin, animals.precision, animals.record, passed, node, above)
    send_down_single(prior, *kin, animals.precision, animals.inbreeding, animals.record, own, passed, node, above)


def _prior_of(group: Group) -> Floats:
    assert group.covariance is not None
    return np.tile(np.diag(group.covariance.sigma), (group.n_levels, 1))


def _products(n: int, first: int, weights: Floats) -> Floats:
    """Return the weights by which elements of packed n by n blocks add to w' (block) w; w begins at `first`."""
    w = np.zeros(n)
    w[first : first + len(weights)] = weights
    t, u = np.tril_indices(n)
    return np.where(t == u, 1.0, 2.0) * w[t] * w[u]


def packed(n: int) -> int:
    """Return the number of elements of a packed symmetric matrix."""
    return n * (n + 1) // 2


def _tables(design: Design, layout: Layout, role: int) -> list[tuple[int, int]]:
    """Return the groups of a role, and where each begins in their table."""
    found = {}
    for s, slot in enumerate(design.slots):
        if layout.roles.role[s] == role:
            found[slot.group] = int(layout.roles.table[s])
    return list(found.items())
