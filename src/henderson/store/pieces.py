"""Pieces of a store as a small store of their own: some stretches of its order, with all that their records mention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from henderson.store.columns import Coded, Observed
from henderson.store.model_data import Loadings, ModelData, Pedigree, Records, RelationshipMatrix, StoredSigmas
from henderson.store.reader import LOADINGS, pedigree_extras, read_sigmas
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

Rows = NDArray[np.int64]
UNKNOWN_PARENT = 0.25  # what an unknown parent adds to the Mendelian variance of an animal without inbreeding


def pieces(parts: StoreParts, share: float, n_pieces: int) -> ModelData:
    """Return about a `share` of a store: `n_pieces` stretches of its order, far from each other, renumbered.

    A stretch is a range of the individuals along which the records are sorted, with all their records; of these come
    all levels and individuals, and of pedigrees the parents of those in a stretch, with parents of their own where
    those are there. What a stretch does not reach is cut off: other progeny of a sire, other records of a class. Of a
    matrix comes the block of its inverse. Records that are related to nothing are cut evenly. With `share` 1 or more:
    all of it.

    Cost: reads the stretches, and the pedigree's parents. Raises `StoreError` if the store is damaged.
    """
    home = parts.columns.related[0][1] if parts.columns.related else None
    n = parts.sizes()[home] if home is not None else parts.n_records
    stretches = _stretches(n, min(1.0, share), n_pieces)
    ranges = stretches
    if home is not None:
        ranges = [(parts.records.first_record(lo), parts.records.first_record(hi)) for lo, hi in stretches]
    with ThreadPoolExecutor(1) as pool:
        records = joined([parts.records.records(lo, hi, pool) for lo, hi in ranges if hi > lo or len(ranges) == 1])
    own = {home: np.concatenate([np.arange(lo, hi) for lo, hi in stretches])} if home is not None else {}
    chosen = {name: _mentioned(parts, records, name, own.get(name)) for name in parts.sizes()}
    levels = {c: np.unique(codes[codes >= 0]).astype(np.int64) for c, codes in records.classes.items()}
    related = {key: _renumbered(codes, chosen[key[1]]) for key, codes in records.related.items()}
    return ModelData(
        replace(
            records, classes={c: _renumbered(codes, levels[c]) for c, codes in records.classes.items()}, related=related
        ),
        levels={c: parts.labels(group_path("levels", c)).take(rows) for c, rows in levels.items()},
        pedigrees={name: _pedigree(parts, name, chosen[name]) for name in parts.pedigrees},
        matrices={name: _matrix(parts, name, chosen[name]) for name in parts.matrices},
        sigmas=_sigmas(parts, levels, chosen, ranges),
    )


def _stretches(n: int, share: float, n_pieces: int) -> list[tuple[int, int]]:
    """Return ranges of 0..n that cover a share of it, at equal distances."""
    if share >= 1.0:
        return [(0, n)]
    each = max(1, round(share * n / n_pieces))
    starts = [round((k + 0.5) * n / n_pieces - each / 2) for k in range(n_pieces)]
    return [(max(0, lo), min(n, lo + each)) for lo in starts]


def joined(parts: Sequence[Records]) -> Records:
    """Return stretches of the same records as one, each column held as it was."""
    if len(parts) == 1:
        return parts[0]

    def together(columns: Sequence[Any]) -> Any:
        first = columns[0]
        if isinstance(first, Coded):
            return Coded(first.table, np.concatenate([c.codes for c in columns]))
        return np.concatenate(columns)

    def responses() -> dict[str, Any]:
        held: dict[str, Any] = {}
        shared: tuple[Any, Any] | None = None  # all traits have their patterns and values in common
        for trait, first in parts[0].responses.items():
            columns = [p.responses[trait] for p in parts]
            if not isinstance(first, Observed):
                held[trait] = np.concatenate(columns)
                continue
            seen = cast("list[Observed]", columns)
            if shared is None:
                values = [np.concatenate([c.values[k] for c in seen]) for k in range(len(first.values))]
                shared = np.concatenate([c.pattern for c in seen]), values
            held[trait] = Observed(shared[0], first.place, shared[1])
        return held

    def by_name(of: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
        return {name: together([columns[name] for columns in of]) for name in of[0]}

    weights = [p.weights for p in parts if p.weights is not None]
    return Records(
        row=np.concatenate([p.row for p in parts]),
        responses=responses(),
        covariates=by_name([p.covariates for p in parts]),
        classes=by_name([p.classes for p in parts]),
        related=by_name([p.related for p in parts]),
        weights=np.concatenate(weights) if weights else None,
    )


def _mentioned(parts: StoreParts, records: Records, name: str, own: Rows | None) -> Rows:
    """Return the individuals of a pedigree or matrix that come along, ascending."""
    seen = [codes[codes >= 0] for (_, to), codes in records.related.items() if to == name]
    found = np.unique(np.concatenate([*seen, own] if own is not None else seen or [np.empty(0, np.int64)]))
    if name not in parts.pedigrees:
        return found.astype(np.int64)
    group = group_path("pedigree", name)
    parents = [parts.array(f"{group}/{parent}")[found] for parent in ("sire", "dam")]
    if LOADINGS[0] in pedigree_extras(parts.model, name):
        parents.append(_loadings(parts, group, found).parent)
    if parts.has_groups(name):
        parents.append(parts.array(f"{group}/groups")[:])
    found = np.unique(np.concatenate([found, *parents]))
    return found[found >= 0].astype(np.int64)


def _renumbered(codes: NDArray[np.int32], chosen: Rows) -> NDArray[np.int32]:
    """Return codes as places in `chosen`; negative ones stay, those that are not chosen are unknown."""
    place = np.minimum(np.searchsorted(chosen, codes), max(0, len(chosen) - 1))
    known = (chosen[place] == codes) if len(chosen) else np.zeros(len(codes), np.bool_)
    return np.where(codes < 0, codes, np.where(known, place, -1)).astype(np.int32)


def _pedigree(parts: StoreParts, name: str, chosen: Rows) -> Pedigree:
    """Return the chosen animals; what parents that are cut off would explain goes to the Mendelian variance."""
    group = group_path("pedigree", name)
    extras = pedigree_extras(parts.model, name)
    columns = ("sire", "dam", "generation", "inbreeding", "mendelian_variance")
    of: dict[str, NDArray[Any]] = {c: parts.array(f"{group}/{c}")[chosen] for c in columns}
    for parent in ("sire", "dam"):
        there = _renumbered(of[parent], chosen)
        of["mendelian_variance"] += UNKNOWN_PARENT * ((there < 0) & (of[parent] >= 0))
        of[parent] = there
    loadings = None
    if LOADINGS[0] in extras:
        loadings = _loadings(parts, group, chosen)
        kept = _renumbered(loadings.parent, chosen)
        animal = np.repeat(np.arange(len(chosen)), np.diff(loadings.indptr))
        np.add.at(of["mendelian_variance"], animal[kept < 0], loadings.weight[kept < 0] ** 2)
        n = np.bincount(animal[kept >= 0], minlength=len(chosen))
        indptr = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
        loadings = Loadings(indptr, kept[kept >= 0], loadings.weight[kept >= 0])
    return Pedigree(
        name,
        parts.labels(group).take(chosen),
        of["sire"],
        of["dam"],
        of["generation"],
        of["inbreeding"],
        of["mendelian_variance"],
        row=parts.array(f"{group}/row")[chosen],
        groups=np.searchsorted(chosen, parts.array(f"{group}/groups")[:]) if "groups" in extras else None,
        group_fraction=parts.array(f"{group}/group_fraction")[chosen] if "group_fraction" in extras else None,
        loadings=loadings,
    )


def _loadings(parts: StoreParts, group: str, animals: Rows) -> Loadings:
    """Return the rows of some animals, their parents by the numbers of the whole store."""
    indptr, parent, weight = (parts.array(f"{group}/{name}") for name in LOADINGS)
    start, n = indptr[animals], indptr[animals + 1] - indptr[animals]
    ends = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
    at = np.arange(ends[-1]) + np.repeat(start - ends[:-1], n)
    return Loadings(ends, parent[at], weight[at])


def _matrix(parts: StoreParts, name: str, chosen: Rows) -> RelationshipMatrix:
    group = group_path("matrix", name)
    n = parts.length(group, "id")
    whole = csr_array(tuple(parts.array(f"{group}/{a}")[:] for a in ("data", "indices", "indptr")), shape=(n, n))
    diagonal = parts.array(f"{group}/diagonal")[chosen]
    return RelationshipMatrix(name, parts.labels(group).take(chosen), whole[chosen][:, chosen], diagonal)


def _sigmas(
    parts: StoreParts, levels: Mapping[str, Rows], chosen: Mapping[str, Rows], ranges: Sequence[tuple[int, int]]
) -> dict[str, StoredSigmas]:
    """Return the Sigmas of the levels and records that are there."""
    if not parts.model.get("sigmas"):
        return {}
    relations = dict(parts.columns.related)
    rows = np.concatenate([np.arange(lo, hi) for lo, hi in ranges])
    found = {}
    for name, whole in read_sigmas(parts.model, parts.array, lambda path: parts.array(path)[rows]).items():
        of_level = {}
        for column, numbers in whole.of_level.items():
            kept = levels[column] if column in levels else chosen[relations[column]]
            of_level[column] = numbers[np.append(kept, len(numbers) - 1)]  # the last: the further level 0
        found[name] = replace(whole, of_level=of_level)
    return found
