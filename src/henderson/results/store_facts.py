"""What a store holds, in numbers, read block by block: records by trait, pedigrees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.results.groups import Grouping, GroupMeans
from henderson.store.reader import LOADINGS
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

BLOCK = 1 << 18  # records or individuals at a time
MOST_VALUES = 1 << 27  # responses that are looked at: of more every k-th block


@dataclass(frozen=True)
class TraitFacts:
    """The observations of one trait, and the records without one."""

    trait: str
    observed: int
    missing: int
    mean: float
    sd: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class DataFacts:
    """The records of a store: those with an observation.

    rows: of the files, up to the last that is a record; seen: records that the numbers of the traits are from, all
    unless there are many.
    """

    records: int
    rows: int
    seen: int
    traits: tuple[TraitFacts, ...]
    classes: tuple[tuple[str, int], ...]  # class columns and their levels


@dataclass(frozen=True)
class PedigreeFacts:
    """A pedigree in numbers; individuals that stand for groups are unknown parents, and not counted.

    progeny_per_sire, progeny_per_dam: means; weighted: individuals whose parents have weights of their own;
    inbreeding_by_group: the mean and standard deviation of F.
    """

    name: str
    animals: int
    groups: int
    founders: int
    one_parent_unknown: int
    sires: int
    dams: int
    progeny_per_sire: float
    progeny_per_dam: float
    with_records: int
    generations: int
    weighted: int
    inbred: int
    mean_inbreeding: float
    max_inbreeding: float
    inbreeding_by_group: GroupMeans | None


def data_facts(parts: StoreParts) -> DataFacts:
    """Return the records of a store in numbers. Memory: a block; cost: one pass over the responses."""
    names = parts.columns.responses
    blocks = _blocks(parts.n_records)
    every = max(1, -(-parts.n_records * len(names) // MOST_VALUES))
    chosen = blocks[::every]
    n = np.zeros(len(names), np.int64)
    origin, total, squares = np.zeros((3, len(names)))
    low, high = np.full(len(names), math.inf), np.full(len(names), -math.inf)
    for lo, hi in chosen:
        block: dict[tuple[str, ...], NDArray[np.float64]] = {("response", name): np.empty(hi - lo) for name in names}
        parts.records.fill(block, lo)
        for t, values in enumerate(block.values()):
            y = values[~np.isnan(values)]
            if not len(y):
                continue
            if n[t] == 0:
                origin[t] = y[0]  # sums of deviations from a value near the mean
            low[t], high[t] = min(low[t], y.min()), max(high[t], y.max())
            y -= origin[t]
            n[t] += len(y)
            total[t] += y.sum()
            squares[t] += y @ y
    seen = sum(hi - lo for lo, hi in chosen)
    traits = []
    for t, name in enumerate(names):
        mean = total[t] / n[t] if n[t] else math.nan
        sd = math.sqrt(max(0.0, squares[t] - n[t] * mean**2) / (n[t] - 1)) if n[t] > 1 else math.nan
        traits.append(
            TraitFacts(name, int(n[t]), int(seen - n[t]), float(origin[t] + mean), sd, float(low[t]), float(high[t]))
        )
    classes = tuple((c, parts.length(group_path("levels", c), "id")) for c in parts.columns.classes)
    rows = max((int(parts.records.read(("row",), lo, hi).max()) + 1 for lo, hi in blocks), default=0)
    return DataFacts(parts.n_records, rows, seen, tuple(traits), classes)


def pedigree_facts(parts: StoreParts, name: str, grouping: Grouping | None) -> PedigreeFacts:
    """Return a pedigree of a store in numbers, with F by group. Memory: 4 bytes for each individual, and a block."""
    group = group_path("pedigree", name)
    arrays = {c: parts.array(f"{group}/{c}") for c in ("sire", "dam", "generation", "inbreeding")}
    n = len(arrays["sire"])
    is_group, is_sire, is_dam, recorded = np.zeros((4, n), np.bool_)
    if parts.has_groups(name):
        is_group[parts.array(f"{group}/groups")[:]] = True
    size = len(grouping.labels) if grouping is not None else 0
    by_group = np.zeros((3, size))
    founders = one = inbred = with_sire = with_dam = last = unknown = 0
    total = most = 0.0
    for lo, hi in _blocks(n):
        sire, dam, generation, F = (a[lo:hi] for a in arrays.values())
        mine = ~is_group[lo:hi]
        known = [(p >= 0) & mine & ~is_group[np.maximum(p, 0)] for p in (sire, dam)]
        is_sire[sire[known[0]]] = True
        is_dam[dam[known[1]]] = True
        with_sire, with_dam = with_sire + int(known[0].sum()), with_dam + int(known[1].sum())
        both = known[0].astype(np.int8) + known[1]
        founders += int((mine & (both == 0)).sum())
        one += int((both == 1).sum())
        last = max(last, int(generation.max(initial=0)))
        F = np.where(mine, F, 0.0)
        inbred += int((F > 0).sum())
        total, most = total + float(F.sum()), max(most, float(F.max(initial=0.0)))
        if grouping is not None:
            codes = grouping.codes[lo:hi]
            there = mine & (codes >= 0)
            unknown += int((mine & (codes < 0)).sum())
            for k, weights in enumerate((None, F[there], F[there] ** 2)):
                by_group[k] += np.bincount(codes[there], weights, minlength=size)
    for pair in [p for p in parts.columns.related if p[1] == name][:1]:  # not the dams of maternal effects
        for lo, hi in _blocks(parts.n_records):
            whose = parts.records.read(("related", *pair), lo, hi)
            recorded[whose[whose >= 0]] = True
    animals, n_sires, n_dams = n - int(is_group.sum()), int(is_sire.sum()), int(is_dam.sum())
    weighted = _weighted(parts, name)
    return PedigreeFacts(
        name,
        animals,
        n - animals,
        founders - weighted,
        one,
        n_sires,
        n_dams,
        with_sire / max(n_sires, 1),
        with_dam / max(n_dams, 1),
        int(recorded.sum()),
        last + 1,
        weighted,
        inbred,
        total / max(animals, 1),
        most,
        None if grouping is None else _means(grouping, by_group, unknown),
    )


def _blocks(n: int) -> list[tuple[int, int]]:
    return [(lo, min(lo + BLOCK, n)) for lo in range(0, n, BLOCK)]


def _weighted(parts: StoreParts, name: str) -> int:
    """Return how many individuals have parents with weights of their own."""
    if not parts.has_loadings(name):
        return 0
    count = 0
    indptr = parts.array(f"{group_path('pedigree', name)}/{LOADINGS[0]}")
    for lo, hi in _blocks(len(indptr) - 1):
        count += int((np.diff(indptr[lo : hi + 1]) > 0).sum())
    return count


def _means(grouping: Grouping, sums: NDArray[np.float64], unknown: int) -> GroupMeans:
    n = np.maximum(sums[0], 1)
    mean = sums[1] / n
    there = sums[0] > 0
    labels = tuple(name for name, some in zip(grouping.labels, there.tolist(), strict=True) if some)
    sd = np.sqrt(np.maximum(sums[2] / n - mean**2, 0.0))
    return GroupMeans(grouping.title, labels, sums[0][there].astype(np.int64), mean[there], sd[there], unknown)
