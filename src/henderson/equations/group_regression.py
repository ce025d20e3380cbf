"""Regression on genetic groups: the fractions of a record's animal are the coefficients of the groups (the matrix Q).

Every group is a slot of its own, with its fraction as coefficient, so a record costs as many steps as there are groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from henderson.equations.covariates import CoefficientTable
from henderson.equations.model import DesignTerm, Slot
from henderson.errors import ModelError
from henderson.language.spec import ModelSpec, Term
from henderson.store.model_data import UNKNOWN, Labels, ModelData

MAX_GROUPS = 100
ROWS = 1 << 18  # records at a time

Use = tuple[int, int, Term]  # trait, position, term


def regress_on_groups(
    uses: Sequence[Use], number: int, data: ModelData, slots: list[Slot], table: CoefficientTable
) -> tuple[Labels, list[DesignTerm]]:
    """Return the labels of the groups, and the terms; slots of group `number` and coefficients are appended.

    uses: the terms of one factor, all regressions on the groups of one pedigree. A group that has no part in an animal
    is no level of its record. Memory: 12 bytes for each record and group, per column of animals.

    Raises
    ------
    ModelError
        The terms are not of one kind or of several pedigrees, the pedigree has no groups, or more than `MAX_GROUPS`.

    """
    name = uses[0][2].pedigree
    if name is None or any(term.pedigree != name for _, _, term in uses):
        texts = ", ".join(dict.fromkeys(term.subfactor for _, _, term in uses))
        raise ModelError(f"sub-factors {texts} share a factor, but are not regressions on the groups of one pedigree")
    pedigree = data.pedigrees[name]
    if pedigree.groups is None or pedigree.group_fraction is None:
        raise ModelError(
            f"t(gg({name})): pedigree {name!r} has no groups; say how many of its first rows are phantom parents "
            "(phantomparents)"
        )
    n_groups = len(pedigree.groups)
    if n_groups > MAX_GROUPS:
        raise ModelError(
            f"t(gg({name})): {n_groups} groups, more than {MAX_GROUPS}; put them into the relationship matrix instead "
            f"(gamma = A of pedigree {name!r})"
        )
    first: dict[str, tuple[int, int]] = {}
    terms = []
    for trait, position, term in uses:
        if term.variable not in first:
            first[term.variable] = len(slots), len(table.arrays)
            fractions = fractions_of(data.records.related[term.variable, name], pedigree.group_fraction)
            for g, column in enumerate(fractions):
                slots.append(Slot(number, np.where(column != 0.0, np.int32(g), np.int32(UNKNOWN))))
                table.arrays.append(column)
        slot, coefficient = first[term.variable]
        terms += [DesignTerm(trait, slot + g, position, coefficient + g) for g in range(n_groups)]
    return pedigree.labels.take(pedigree.groups), terms


def n_groups_of(spec: ModelSpec, name: str | None) -> int:
    """Return the number of groups of pedigree `name` as the model declares it."""
    for pedigree in spec.pedigrees:
        if pedigree.name == name:
            return pedigree.phantomparents or len(pedigree.metamatrix or ())
    return 0


def fractions_of(codes: NDArray[np.int32], Q: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return one column of Q per group by record, 0 where the animal (`codes`) is unknown."""
    columns = [np.zeros(len(codes)) for _ in range(Q.shape[1])]
    for start in range(0, len(codes), ROWS):
        block = codes[start : start + ROWS]
        known = np.flatnonzero(block >= 0)
        rows = Q[block[known]]
        for g, column in enumerate(columns):
            column[start + known] = rows[:, g]
    return columns
