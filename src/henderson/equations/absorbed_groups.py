"""Genetic groups in the relationship matrix: which of them the data cannot tell from fixed effects or from each other.

With u* = u + Q g (Quaas & Pollak 1981; Westell, Quaas & Van Vleck 1988) the groups g are fixed effects with the columns
Q of the records, beside X. Where [X, Q] lacks full column rank C is singular: one group for each dependency is held at
0 (*pinned*), which changes no estimable function; the others are differences from it.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from henderson.equations.group_regression import fractions_of
from henderson.equations.model import Design, DesignTerm, Group, Position, Slot
from henderson.equations.rank import full_rank
from henderson.language.pedigrees import are_fixed
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import ALONE, Communicator
from henderson.store.model_data import UNKNOWN, ModelData

log = logging.getLogger(__name__)

LAST = 1 << 40  # in the order of elimination: groups after all fixed effects


def full_rank_with_groups(
    design: Design, spec: ModelSpec, data: ModelData, communicator: Communicator = ALONE
) -> Design:
    """Return the design with `kept` and `dropped` of X (`rank.full_rank`), and the groups in A that are `pinned`.

    Pinned ones are listed in `dropped`, too. Groups whose Q would be too large for the store are not examined
    (`ingest.finish.EXAMINED_BYTES`). Memory: 12 bytes for each record, group and slot of the factor, for a while.
    **Collective**.
    """
    fixed = {p.name for p in spec.pedigrees if are_fixed(p)}
    larger = design
    examined: list[int] = []
    for g, group in enumerate(design.groups):
        if group.covariance is None or group.covariance.kind != "pedigree" or group.covariance.name not in fixed:
            continue
        if data.pedigrees[group.covariance.name].group_fraction is None:
            log.info("factor %s: whether its groups can be estimated was not examined", group.name)
            continue
        examined.append(g)
        larger = _with_group_columns(larger, g, data)
    found = full_rank(larger, communicator)
    if not examined:
        return found
    n = len(design.groups)
    pinned = []
    for g, mask in zip(examined, found.kept[n:], strict=True):
        assert mask is not None
        covariance = design.groups[g].covariance
        assert covariance is not None
        groups = data.pedigrees[covariance.name or ""].groups
        assert groups is not None
        pinned += [(g, int(groups[k]), int(p)) for k, p in np.argwhere(~mask)]
    named = [pin for pin in pinned if design.groups[pin[0]].positions[pin[2]] is not None]
    dropped = tuple(d for d in found.dropped if d[0] < n)
    return replace(design, kept=found.kept[:n], dropped=(*dropped, *named), pinned=tuple(pinned))


def _with_group_columns(design: Design, g: int, data: ModelData) -> Design:
    """Return the design with the columns Q of factor `g` as one more fixed group."""
    group = design.groups[g]
    assert group.covariance is not None
    pedigree = data.pedigrees[group.covariance.name or ""]
    assert pedigree.groups is not None
    assert pedigree.group_fraction is not None
    number = len(design.groups)
    slots, terms, coefficients = list(design.slots), list(design.terms), list(design.coefficients)
    for s, slot in enumerate(design.slots):
        mine = [t for t in design.terms if t.slot == s]
        if slot.group != g or not mine:
            continue
        columns = fractions_of(slot.codes, pedigree.group_fraction)
        first = len(slots)
        for k, column in enumerate(columns):
            slots.append(Slot(number, np.where(column != 0.0, np.int32(k), np.int32(UNKNOWN))))
        for term in mine:
            for k, column in enumerate(columns):
                scale = 1.0 if term.coefficient < 0 else design.coefficients[term.coefficient]
                terms.append(DesignTerm(term.trait, first + k, term.position, len(coefficients)))
                coefficients.append(column * scale)
    positions = tuple(Position(p.factor if p else "", p.subfactor if p else "", LAST) for p in group.positions)
    more = Group(group.name, pedigree.labels.take(pedigree.groups), positions)
    return replace(
        design,
        groups=(*design.groups, more),
        slots=tuple(slots),
        terms=tuple(terms),
        coefficients=tuple(coefficients),
    )
