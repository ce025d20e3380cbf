"""What the approximation needs of a design: which effects are an animal's own, its dam's, or shared with others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from henderson.equations.coefficient_rows import coefficient_rows
from henderson.equations.model import Design, Group
from henderson.equations.operator import inverse_of
from henderson.errors import NotSupportedError
from henderson.kernels.own_records import DAM, FOREIGN, HOME, NONE, OWN, SHARED, OwnRecords, Roles
from henderson.kernels.pedigree_information import Effects, Families
from henderson.partitions.cut import is_sorted
from henderson.store.model_data import ModelData, Pedigree

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]

ESTIMATED = 2000  # records of every level from which on the errors of an effect do not count
RIDGE = 1e-6  # prior precision of fixed effects, in units of that of a record: keeps levels of one animal regular
IN_LINE = 0.25  # of an animal of the same maternal line in a shared level, found by trial
CHUNK = 1 << 20  # records at a time


@dataclass(frozen=True)
class Layout:
    """How the groups of a design take part.

    pedigree: the one that the breeding values are related by; genetic: its groups, and where each begins among the
    positions of a breeding value; of_dam: groups whose levels are dams, where each begins after these, and the dam of
    each level; home: the animal of each record; levels: what each slot's level counts as.
    """

    pedigree: Pedigree
    effects: Effects
    roles: Roles
    genetic: dict[int, int]
    of_dam: dict[int, tuple[int, Codes]]
    home: Codes
    levels: tuple[Codes, ...]
    information: Floats
    n_errors: int
    sibs: tuple[NDArray[np.float32] | None, ...]

    @property
    def has_foreign(self) -> bool:
        """Return whether records have breeding values of others than the animal and its dam."""
        return bool(np.isin(self.roles.role, (FOREIGN, DAM)).any())


def lay_out(design: Design, data: ModelData) -> Layout:
    """Return how the groups take part.

    Raises
    ------
    NotSupportedError
        No factor, or more than one pedigree; parents with weights, user matrices, levels with Sigmas of their own.

    """
    pedigree = _pedigree(design, data)
    groups = design.groups
    genetic, w = {}, 0
    for g, group in enumerate(groups):
        if group.covariance is not None and group.covariance.kind == "pedigree":
            genetic[g] = w
            w += group.width
    slots = design.slots
    ours = [s for s, slot in enumerate(slots) if slot.group in genetic]
    first = next((s for s in ours if is_sorted(slots[s].codes)), ours[0])
    home = slots[first].codes
    n = len(pedigree)
    dam = np.append(pedigree.dam, np.int32(-1))[np.maximum(home, -1)]
    dam = np.where(pedigree.sire[np.maximum(home, 0)] == dam, np.int32(-1), dam)  # selfed: no dam
    role, base = np.full(len(slots), SHARED), np.zeros(len(slots), np.int64)
    levels: list[Codes] = [slot.codes for slot in slots]
    for s in ours:
        base[s] = genetic[slots[s].group]
        role[s] = _genetic_role(slots[s].codes, home, dam)
    of_dam: dict[int, tuple[int, Codes]] = {}
    extra = 0
    counts: dict[int, int] = {}
    for g, group in enumerate(groups):
        mine = [s for s, slot in enumerate(slots) if slot.group == g]
        if g in genetic or not mine:
            continue
        if group.covariance is not None:
            if all(_nested(slots[s].codes, home, group.n_levels) for s in mine):
                role[mine] = OWN
                continue
            if len(mine) == 1 and (dams := _one_each(slots[mine[0]].codes, dam, group.n_levels, n)) is not None:
                s = mine[0]
                of_dam[g] = (extra, dams)
                role[s], base[s] = DAM, w + extra
                codes = slots[s].codes
                levels[s] = np.where((codes >= 0) & (dam < 0), n + codes, np.where(codes >= 0, dam, -1)).astype(
                    np.int32
                )
                extra += group.width
                continue
        counts[g] = min(_fewest(slots[s].codes, group.n_levels) for s in mine)
        if counts[g] >= ESTIMATED:
            role[mine] = NONE
    sigma = block_diag(*(groups[g].covariance.sigma for g in genetic))  # type: ignore[union-attr]
    rest = [inverse_of(groups[g].covariance.sigma, groups[g].name) for g in of_dam]  # type: ignore[union-attr]
    wide = w + extra
    maternal = wide if bool((role == DAM).any()) else 0
    effects = Effects(
        w,
        wide,
        maternal,
        np.ascontiguousarray(sigma),
        inverse_of(sigma, "the pedigree"),
        np.ascontiguousarray(block_diag(*rest)) if rest else np.zeros((0, 0)),
    )
    roles, information, n_errors = _tables(design, role, base)
    kin = ((1.0, pedigree.sire), (IN_LINE, _maternal_lines(pedigree)))
    kin_of = [(share, np.append(line, np.int32(-1))[np.maximum(home, -1)]) for share, line in kin]
    sibs = tuple(_kin(levels[s], home, kin_of) if role[s] == SHARED else None for s in range(len(slots)))
    return Layout(pedigree, effects, roles, genetic, of_dam, home, tuple(levels), information, n_errors, sibs)


def _pedigree(design: Design, data: ModelData) -> Pedigree:
    names = set()
    for group in design.groups:
        if (covariance := group.covariance) is None:
            continue
        if covariance.own is not None:
            raise _refused(f"{group.name!r} has levels with a Sigma of their own")
        if covariance.kind == "matrix":
            raise _refused(f"{group.name!r} is related by a matrix")
        if covariance.kind == "pedigree" and covariance.name is not None:
            names.add(covariance.name)
    if len(names) != 1:
        raise _refused(f"the factors are related by {len(names)} pedigrees")
    pedigree = data.pedigrees[names.pop()]
    if pedigree.loadings is not None:
        raise _refused("parents have weights of their own")
    return pedigree


def _refused(why: str) -> NotSupportedError:
    return NotSupportedError(f"job 'pev', method 'approximate': {why}; take method = 'sampling', or 'direct'")


def _genetic_role(codes: Codes, home: Codes, dam: Codes) -> int:
    there = codes >= 0
    if np.array_equal(codes[there], home[there]):
        return HOME
    return DAM if 2 * np.count_nonzero(codes[there] == dam[there]) > np.count_nonzero(there) else FOREIGN


def _nested(codes: Codes, home: Codes, n_levels: int) -> bool:
    """Return whether every level belongs to one animal."""
    there = (codes >= 0) & (home >= 0)
    owner = np.full(n_levels, -1, np.int32)
    owner[codes[there]] = home[there]
    return bool(np.array_equal(owner[codes[there]], home[there]))


def _one_each(codes: Codes, dam: Codes, n_levels: int, n_animals: int) -> Codes | None:
    """Return the dam of every level if dams and levels belong together one to one, most of them; else None."""
    there = (codes >= 0) & (dam >= 0)
    if 2 * np.count_nonzero(there) <= np.count_nonzero(codes >= 0):
        return None
    of_level, of_dam = np.full(n_levels, -1, np.int32), np.full(n_animals, -1, np.int32)
    of_level[codes[there]], of_dam[dam[there]] = dam[there], codes[there]
    same = np.array_equal(of_level[codes[there]], dam[there]) and np.array_equal(of_dam[dam[there]], codes[there])
    return of_level if same else None


def _maternal_lines(pedigree: Pedigree) -> Codes:
    """Return the first known animal of each animal's maternal line."""
    up = np.where(pedigree.dam >= 0, pedigree.dam, np.arange(len(pedigree))).astype(np.int32)
    while True:  # steps double: as many as the logarithm of the generations
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def _kin(codes: Codes, home: Codes, kin_of: Sequence[tuple[float, Codes]]) -> NDArray[np.float32]:
    """Return how many animals count as telling the same as that of a record about the level that they share."""
    found = np.ones(len(codes), np.float32)
    for share, line in kin_of:
        found += np.float32(share) * (_sibs(codes, home, line) - np.float32(1.0))
    return found


def _sibs(codes: Codes, home: Codes, sire: Codes) -> NDArray[np.float32]:
    """Return how many animals with the sire of a record have its level, 1 where the sire is unknown."""
    found = np.ones(len(codes), np.float32)
    there = np.flatnonzero((codes >= 0) & (sire >= 0) & (home >= 0))
    order = there[np.lexsort((home[there], sire[there], codes[there]))]
    level, of_sire, animal = codes[order], sire[order], home[order]
    other = np.ones(len(order), np.bool_)
    other[1:] = (level[1:] != level[:-1]) | (of_sire[1:] != of_sire[:-1])
    new = other.copy()
    new[1:] |= animal[1:] != animal[:-1]
    family = np.cumsum(other) - 1
    if len(order):
        found[order] = np.bincount(family, weights=new).astype(np.float32)[family]
    return found


def _fewest(codes: Codes, n_levels: int) -> int:
    counts = np.bincount(codes[codes >= 0], minlength=n_levels)
    return int(counts[counts > 0].min(initial=len(codes)))


def _tables(design: Design, role: NDArray[np.int64], base: NDArray[np.int64]) -> tuple[Roles, Floats, int]:
    """Return the roles with their tables, and the information on shared levels before any record."""
    diagonal = np.asarray(design.residuals)[0].diagonal()
    ridge = RIDGE / float(np.nanmean(diagonal))
    prior_of, priors, kept_of, kept, table_of, tables = (
        {},
        [np.zeros(0)],
        {},
        [np.zeros(0, np.bool_)],
        {},
        [np.zeros(0)],
    )
    n_priors = n_kept = n_tables = n_errors = 0
    for s, slot in enumerate(design.slots):
        g, group = slot.group, design.groups[slot.group]
        if g in prior_of:
            continue
        prior = _prior(group, int(role[s]), ridge)
        prior_of[g], n_priors = n_priors, n_priors + prior.size
        priors.append(prior.ravel())
        kept_of[g] = -1
        table_of[g] = n_tables
        if role[s] == OWN:
            table_of[g] = n_errors
            n_errors += group.size
        if role[s] == SHARED:
            tables.append(np.tile(prior.ravel(), group.n_levels))
            n_tables += tables[-1].size
            mask = design.kept[g]
            if mask is not None and not mask.all():
                kept_of[g], n_kept = n_kept, n_kept + mask.size
                kept.append(mask.ravel())
    of = [slot.group for slot in design.slots]
    widths = np.array([design.groups[g].width for g in of], np.int64)
    roles = Roles(
        role.astype(np.int64),
        base,
        widths,
        np.array([prior_of[g] for g in of], np.int64),
        np.array([table_of[g] for g in of], np.int64),
        np.array([kept_of[g] for g in of], np.int64),
        np.concatenate(priors),
        np.concatenate(kept),
    )
    return roles, np.concatenate(tables), n_errors


def _prior(group: Group, role: int, ridge: float) -> Floats:
    """Return the variance of a level, or, of a shared one, its inverse."""
    if group.covariance is None:
        return ridge * np.eye(group.width)
    sigma = group.covariance.sigma
    return inverse_of(sigma, group.name) if role == SHARED else np.ascontiguousarray(sigma, np.float64)


def families_of(pedigree: Pedigree, width: int, wide: int) -> Families:
    """Return the families of a pedigree, parents before progeny: see `kernels.pedigree_information`.

    Cost: a sort of the animals.
    """
    sire, dam = pedigree.sire, pedigree.dam
    selfed = (sire == dam) & (sire >= 0)
    child = np.flatnonzero((sire >= 0) | (dam >= 0)).astype(np.int32)
    generation = pedigree.generation[child]
    pair = sire[child].astype(np.int64) * (len(sire) + 1) + dam[child]
    order = np.lexsort((pair, generation))
    child = child[order]
    s, d = sire[child], dam[child]
    begins = np.ones(len(child), np.bool_)
    begins[1:] = (s[1:] != s[:-1]) | (d[1:] != d[:-1]) | (s[1:] < 0) | (d[1:] < 0)
    first = np.flatnonzero(begins)
    own = selfed[child[first]]
    n = len(first)
    return Families(
        s[first],
        np.where(own, np.int32(-1), d[first]).astype(np.int32),
        own,
        np.append(first, len(child)).astype(np.int64),
        child,
        np.zeros((n, width * (width + 1) // 2), np.float32),
        np.zeros((n, wide * (wide + 1) // 2), np.float32),
    )


def records_by_animal(design: Design, layout: Layout) -> Iterator[OwnRecords]:
    """Yield the records, those of an animal together, some at a time; records without an animal are left out."""
    home = layout.home
    if bool(np.all(home[1:] >= home[:-1])):
        ends = np.flatnonzero(np.diff(home)) + 1
        cut = 0
        while cut < len(home):
            stop = len(home)
            if stop - cut > CHUNK:
                place = int(np.searchsorted(ends, cut + CHUNK))
                stop = int(ends[place]) if place < len(ends) else stop
            yield _some(design, layout, slice(cut, stop), *coefficient_rows(design, cut, stop))
            cut = stop
        return
    rows, coefficients = coefficient_rows(design, 0, len(home))
    order = np.argsort(home, kind="stable")
    for start in range(0, 1):
        some = order[start:]
        yield _some(
            design,
            layout,
            some,
            None if rows is None else rows[some],
            coefficients[some] if rows is None else coefficients,
        )


def _some(design: Design, layout: Layout, some, rows, coefficients: Floats) -> OwnRecords:  # type: ignore[no-untyped-def]
    home = layout.home[some]
    skipped = int(np.count_nonzero(home < 0))  # they come first
    levels = np.column_stack([codes[some] for codes in layout.levels])[skipped:]
    home = home[skipped:]
    sibs = np.column_stack([np.ones(len(levels), np.float32) if c is None else c[some][skipped:] for c in layout.sibs])
    starts = np.flatnonzero(np.append(True, home[1:] != home[:-1])) if len(home) else np.zeros(0, np.int64)
    weights = None if design.weights is None else np.asarray(design.weights[some])[skipped:]
    return OwnRecords(
        home[starts].astype(np.int32),
        np.append(starts, len(home)).astype(np.int64),
        np.ascontiguousarray(levels, np.int32),
        sibs,
        design.patterns.codes[some][skipped:],
        weights,
        None if rows is None else rows[skipped:],
        coefficients if rows is not None else coefficients[skipped:],
    )
