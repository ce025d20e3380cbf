"""A pedigree in numbers: founders, generations, inbreeding, sizes of families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.pedigree_ranks import count_progeny
from henderson.pedigree.groups import groups_of, mean_fractions, without_groups
from henderson.store.model_data import Pedigree


@dataclass(frozen=True)
class GenerationInbreeding:
    """Inbreeding of the animals of one generation; mean and maximum over all of them."""

    generation: int
    animals: int
    inbred: int
    mean: float
    maximum: float


@dataclass(frozen=True)
class FamilySizes:
    """Sizes of one kind of family: `classes` counts families of 1, 2, 3-4, 5-8, ... members as (from, to, families)."""

    families: int
    mean: float
    median: float
    maximum: int
    classes: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class GroupShare:
    """A genetic group (phantom parent or metafounder): its progeny, and its mean fraction of the genes of all animals.

    self_relationship: gamma of a metafounder, None of other groups.
    """

    group: str
    progeny: int
    mean_fraction: float
    self_relationship: float | None


@dataclass(frozen=True)
class PedigreeSummary:
    """A pedigree in numbers, all plain Python.

    founders have no known parent; `generations` is the number of generation numbers, `longest_path` the most
    parent-progeny steps from a founder to an animal; family sizes are progeny per sire, per dam, and full sibs of known
    sire and dam.
    """

    name: str
    animals: int
    founders: int
    one_parent_unknown: int
    sires: int
    dams: int
    without_progeny: int
    generations: int
    longest_path: int
    inbred: int
    mean_inbreeding: float
    max_inbreeding: float
    mean_inbreeding_of_inbred: float
    most_inbred: str
    inbreeding_by_generation: tuple[GenerationInbreeding, ...]
    progeny_per_sire: FamilySizes
    progeny_per_dam: FamilySizes
    full_sibs: FamilySizes
    groups: tuple[GroupShare, ...] = ()


def summarise(given: Pedigree) -> PedigreeSummary:
    """Return the summary of a checked pedigree, rows in the order of its file.

    Groups are counted apart, and are unknown parents to everything else; so are parents with weights of their own
    (uncertain parents, maternal grandparents). Cost: O(n), and one sort of the (sire, dam) pairs.
    """
    pedigree = without_groups(given)
    sire, dam, F = pedigree.sire, pedigree.dam, pedigree.inbreeding
    n = len(pedigree)
    known = (sire >= 0).astype(np.int8) + (dam >= 0)
    per_sire = np.bincount(sire[sire >= 0], minlength=n)
    per_dam = np.bincount(dam[dam >= 0], minlength=n)
    both = known == 2
    pairs = sire[both].astype(np.int64) * n + dam[both]
    inbred = F > 0
    n_inbred = int(inbred.sum())
    return PedigreeSummary(
        name=pedigree.name,
        animals=n,
        founders=int((known == 0).sum()),
        one_parent_unknown=int((known == 1).sum()),
        sires=int((per_sire > 0).sum()),
        dams=int((per_dam > 0).sum()),
        without_progeny=int((count_progeny(sire, dam) == 0).sum()),
        generations=int(pedigree.generation.max(initial=-1)) + 1,
        longest_path=int(pedigree.generation.max(initial=0)),
        inbred=n_inbred,
        mean_inbreeding=float(F.mean()) if n else 0.0,
        max_inbreeding=float(F.max(initial=0.0)),
        mean_inbreeding_of_inbred=float(F[inbred].mean()) if n_inbred else 0.0,
        most_inbred=pedigree.labels.take(np.array([np.argmax(F)])).text()[0] if n_inbred else "",
        inbreeding_by_generation=_by_generation(pedigree),
        progeny_per_sire=_sizes(per_sire),
        progeny_per_dam=_sizes(per_dam),
        full_sibs=_sizes(np.unique(pairs, return_counts=True)[1]),
        groups=_groups(given),
    )


def _groups(pedigree: Pedigree) -> tuple[GroupShare, ...]:
    groups = groups_of(pedigree)
    if len(groups) == 0:
        return ()
    parents = [pedigree.sire, pedigree.dam, *([pedigree.loadings.parent] if pedigree.loadings else [])]
    progeny = np.zeros(len(pedigree), np.int64)
    for p in parents:
        progeny += np.bincount(p[p >= 0], minlength=len(pedigree))
    related = bool(np.isfinite(pedigree.mendelian_variance[groups]).all()) and bool(pedigree.inbreeding[groups].any())
    return tuple(
        GroupShare(label, int(progeny[row]), float(mean), float(1.0 + pedigree.inbreeding[row]) if related else None)
        for label, row, mean in zip(
            pedigree.labels.take(groups).text(), groups.tolist(), mean_fractions(pedigree), strict=True
        )
    )


def _by_generation(pedigree: Pedigree) -> tuple[GenerationInbreeding, ...]:
    """Return the inbreeding of every generation, from 0."""
    generation, F = pedigree.generation, pedigree.inbreeding
    animals = np.bincount(generation)
    inbred = np.bincount(generation, weights=F > 0)
    total = np.bincount(generation, weights=F)
    maximum = np.zeros(len(animals))
    np.maximum.at(maximum, generation, F)
    mean = total / np.maximum(animals, 1)
    return tuple(
        GenerationInbreeding(g, int(animals[g]), int(inbred[g]), float(mean[g]), float(maximum[g]))
        for g in range(len(animals))
    )


def _sizes(members: NDArray[np.int64]) -> FamilySizes:
    """Return the distribution of family sizes; entries of 0 are no families."""
    members = members[members > 0]
    if len(members) == 0:
        return FamilySizes(0, 0.0, 0.0, 0, ())
    doublings = np.bincount(np.ceil(np.log2(members)).astype(np.int64))
    classes = tuple((2**k // 2 + 1, 2**k, int(families)) for k, families in enumerate(doublings))
    return FamilySizes(len(members), float(members.mean()), float(np.median(members)), int(members.max()), classes)
