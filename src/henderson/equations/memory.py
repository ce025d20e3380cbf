"""How much memory a matrix-free solve takes, from counts alone: known before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.cross_products import BLOCK
from henderson.equations.design import GroupPlan, group_plans
from henderson.language.spec import RESIDUAL, ModelSpec
from henderson.store.columns import Coded, Observed
from henderson.store.model_data import ModelData
from henderson.store.schema import group_path, records_path
from henderson.store.slices import StoreParts
from henderson.store.stored_array import StoredArray

READ = 1 << 22  # individuals that are read at a time
N_VECTORS = 5  # right-hand side, solution, residual, direction, product
PEDIGREE_BYTES = 3 * 4 + 2 * 8 + 8  # sire, dam, generation; F, d; label
PRODUCT = 64  # bytes of an element of X'X below the diagonal, its mirror image and copies while they are sorted
RANK_OF_X = "rank of X"
LABEL_BYTES = 24  # of a level of a fixed effect, while levels are united
BEFORE_SOLVING = ("records", "individuals", "level codes of records", "coefficients of covariates", "relationships")
FEW = 4  # times as many individuals as levels: a random class such as herd-years, not one of individuals
COMPACT_ABOVE = 1 << 27  # bytes of the level blocks of a random factor above which they are in single precision
GHOSTS = 0.25  # elements of other processes that one reads, relative to those it owns


@dataclass(frozen=True)
class Counts:
    """The sizes that decide: records; levels by class column; individuals by pedigree or matrix; entries by matrix.

    n_sigmas: different Sigmas in the file of a variance. n_values: observations of a record at most, None: one of each
    trait is held; coded: covariates that are held as codes of a table. n_recorded, n_parents: individuals with records
    by column, and those with records or progeny by pedigree, where the data were counted.
    """

    n_records: int
    n_levels: Mapping[str, int]
    n_individuals: Mapping[str, int]
    n_entries: Mapping[str, int]
    weights: bool = False
    n_sigmas: Mapping[str, int] = field(default_factory=dict)
    n_values: int | None = None
    coded: frozenset[str] = frozenset()
    n_recorded: Mapping[str, int] = field(default_factory=dict, compare=False)
    n_parents: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class MemoryItem:
    """One row of the estimate."""

    what: str
    bytes: int


def counts_of(data: ModelData) -> Counts:
    """Return the counts of data that are already there."""
    responses = tuple(data.records.responses.values())
    individuals = {name: len(p) for name, p in data.pedigrees.items()}
    individuals |= {name: len(m) for name, m in data.matrices.items()}
    levels = {name: len(labels) for name, labels in data.levels.items()}
    recorded: dict[str, int] = {}
    parents: dict[str, int] = {}
    for (column, name), codes in data.records.related.items():
        levels.setdefault(column, individuals[name] + 1)
        seen = np.zeros(individuals[name] + 2, np.bool_)  # codes -2 and -1 are the last two
        seen[codes] = True
        recorded[column] = int(np.count_nonzero(seen[:-2]))
        if (pedigree := data.pedigrees.get(name)) is not None:
            seen[pedigree.sire] = seen[pedigree.dam] = True
            parents[name] = max(parents.get(name, 0), int(np.count_nonzero(seen[:-2])))
    return Counts(
        len(data.records),
        levels,
        individuals,
        {name: int(m.inverse.nnz) for name, m in data.matrices.items()},
        data.records.weights is not None,
        {name: len(s.table) for name, s in data.sigmas.items() if s.table is not None},
        max((len(y.values) if isinstance(y, Observed) else len(responses) for y in responses), default=0),
        frozenset(name for name, x in data.records.covariates.items() if isinstance(x, Coded)),
        recorded,
        parents,
    )


def counts_of_store(path: Path) -> Counts:
    """Return the counts of the store at `path` from its metadata: no array is read.

    Raises `StoreError`: see `store.reader.store_attributes`.
    """
    parts = StoreParts(path)
    individuals = {name: parts.length(group_path("pedigree", name), "id") for name in parts.pedigrees}
    individuals |= {name: parts.length(group_path("matrix", name), "id") for name in parts.matrices}
    levels = {name: parts.length(group_path("levels", name), "id") for name in parts.columns.classes}
    for column, name in parts.columns.related:
        levels.setdefault(column, individuals[name] + 1)
    return Counts(
        parts.n_records,
        levels,
        individuals,
        {name: parts.length(group_path("matrix", name), "data") for name in parts.matrices},
        parts.columns.weights is not None,
        {name: parts.length(group_path("sigma", name), "table") for name in parts.sigma_tables},
        parts.records.n_values,
        frozenset(parts.records.layout.tables),
    )


def most_equations(spec: ModelSpec, counts: Counts) -> int:
    """Return an upper bound of the number of equations."""
    return sum(_n_levels(plan, counts) * plan.width for plan in group_plans(spec))


def counted(path: Path, counts: Counts) -> Counts:
    """Return the counts of the store at `path` with individuals that have records, or records or progeny, counted.

    Cost: one pass over the columns of individuals, nothing kept. Memory: a byte for each individual, and a block.
    """
    parts = StoreParts(path)
    recorded: dict[str, int] = {}
    parents: dict[str, int] = {}
    for column, name in parts.columns.related:
        seen = np.zeros(counts.n_individuals[name] + 2, np.bool_)  # codes -2 and -1 are the last two
        _mark(seen, [parts.array(records_path("related", column, name))])
        recorded[column] = int(np.count_nonzero(seen[:-2]))
        if name in parts.pedigrees:
            _mark(seen, [parts.array(f"{group_path('pedigree', name)}/{parent}") for parent in ("sire", "dam")])
            parents[name] = max(parents.get(name, 0), int(np.count_nonzero(seen[:-2])))
    return replace(counts, n_recorded=recorded, n_parents=parents)


def _mark(seen: NDArray[np.bool_], columns: Sequence[StoredArray]) -> None:
    for column in columns:
        for start in range(0, len(column), READ):
            seen[column[start : start + READ]] = True


def estimate(spec: ModelSpec, counts: Counts) -> tuple[MemoryItem, ...]:
    """Return what a matrix-free solve of `spec` allocates, item by item, in bytes; upper bounds where data decide.

    The sum leaves out the interpreter and its libraries (some 250 MB) and the output tables, which are written in
    blocks.
    """
    plans = group_plans(spec)
    n = counts.n_records
    levels = [_n_levels(plan, counts) for plan in plans]
    equations = most_equations(spec, counts)
    n_coefficients = sum(plan.n_coefficients for plan in plans)
    n_slots = sum(len(plan.variables) for plan in plans)
    pedigrees = {p.relationship for p in plans if p.kind == "pedigree"}
    matrices = {p.relationship for p in plans if p.kind == "matrix"}
    columns = {v for plan in plans for v in plan.variables}
    covariates = {t.variable for e in spec.equations for t in e.terms if t.kind == "covariate"}
    n_values = len(spec.traits) if counts.n_values is None else counts.n_values
    of_covariates = sum(2 if c in counts.coded else 8 for c in covariates)
    records = n * (8 + 8 * n_values + of_covariates + 4 * len(columns) + 8 * counts.weights)
    terms = [t for e in spec.equations for t in e.terms]
    by_table = covariates <= counts.coded and not any(
        t.kind == "group" or (t.centred and t.nested_in and spec.subfactor(t.subfactor).variance is None) for t in terms
    )
    individuals = sum(counts.n_individuals[name or ""] * PEDIGREE_BYTES for name in pedigrees)
    individuals += sum(counts.n_entries[name or ""] * 12 for name in matrices)
    relationship = sum(
        k * 16 if plan.kind == "pedigree" else counts.n_entries[plan.relationship or ""] * 12
        for k, plan in zip(levels, plans, strict=True)
        if plan.kind != "identity"
    )
    sweep = any(job.get("preconditioner") == "sweep" for job in spec.jobs)
    blocks = 0
    for k, group in zip(levels, plans, strict=True):
        doubles = k * group.width * (group.width + 1) // 2 * 8
        compact = not group.n_fixed_terms and doubles > COMPACT_ABOVE
        stored = min(k, n if group.relationship is None or sweep else _n_recorded(group, counts, n))
        if sweep and group.kind == "pedigree":
            stored = counts.n_parents.get(group.relationship or "", k)
        blocks += doubles * stored // (2 * max(1, k)) + 8 * k if compact else doubles
    n_vectors = N_VECTORS + sweep  # its work
    factor = _class_factor(plans, levels) if sweep else 0
    own = 0
    for v in (v for v in spec.variances if v.own_sigmas and (v.name != RESIDUAL or v.blocks is not None)):
        size = 8 * spec.n_positions(v.name) ** 2  # bytes of a Sigma; as it is stored, and its inverse or factor
        plan = next((p for p in plans if p.name == v.name), None)
        n_indices = n if plan is None else _n_levels(plan, counts)
        own += 2 * size * counts.n_sigmas.get(v.name, len(v.classes)) + (12 if plan is None else 8) * n_indices
    fixed_terms = sum(plan.n_fixed_terms for plan in plans)
    rank = 0
    if fixed_terms > len(spec.traits):  # X'X, each column of which meets all terms of its trait
        size = sum(k * plan.width for k, plan in zip(levels, plans, strict=True) if plan.n_fixed_terms)
        rank = PRODUCT * size * -(-fixed_terms // len(spec.traits)) + min(n, BLOCK) * fixed_terms * 2 * 8
    return (
        MemoryItem("records", records),
        MemoryItem("individuals", individuals),
        MemoryItem("level codes of records", n * (8 * n_slots + 2)),
        MemoryItem("coefficients of covariates", 4 * n if by_table else n * 16 * n_coefficients),
        MemoryItem("relationships", relationship),
        *([MemoryItem("Sigmas of levels and records", own)] if own else []),
        MemoryItem(RANK_OF_X, rank),
        MemoryItem("preconditioner", blocks),
        *([MemoryItem("factor of classes", factor)] if factor else []),
        MemoryItem(f"{n_vectors} vectors", n_vectors * 8 * equations),
        MemoryItem("solutions", 8 * equations),
    )


def estimate_embedded(spec: ModelSpec, counts: Counts) -> tuple[MemoryItem, ...]:
    """Return what one process holds at most for its jobs, item by item, in bytes, what was read included.

    If there are solves alone, it lets go of the records as they were read, but the responses, once the equations are
    set up, and makes the right-hand side when it needs it.
    """
    items = estimate(spec, counts)
    if any(job.name != "solve" for job in spec.jobs):
        return items
    of = {item.what: item.bytes for item in items}
    n_values = len(spec.traits) if counts.n_values is None else counts.n_values
    codes = 4 * counts.n_records * sum(len(p.variables) for p in group_plans(spec))
    found = []
    for item in items:
        if item.what == "records":
            found.append(MemoryItem("responses", counts.n_records * (8 * n_values + 1)))
        elif item.what == "level codes of records":
            found.append(MemoryItem(item.what, item.bytes - codes))  # those of partitions alone
        elif item.what.endswith("vectors"):
            n = int(item.what.split()[0])
            found.append(MemoryItem(f"{n - 1} vectors", item.bytes * (n - 1) // n))
        elif item.what not in (RANK_OF_X, "solutions"):
            found.append(item)
    setting_up = sum(of.get(what, 0) for what in BEFORE_SOLVING) + of[RANK_OF_X]
    if (more := setting_up - sum(i.bytes for i in found)) > 0:
        found.append(MemoryItem("setting up the equations", more))
    return tuple(found)


def estimate_per_rank(spec: ModelSpec, counts: Counts, n_ranks: int) -> tuple[MemoryItem, ...]:
    """Return what one of `n_ranks` processes allocates for the same solve, item by item, in bytes.

    Everything is cut evenly but the columns of X: each process knows for all of them whether they are kept and what
    their levels are called. Ghosts are reckoned as `GHOSTS` of the vectors; how many there are depends on the pedigree.
    """
    if n_ranks == 1:
        return estimate(spec, counts)
    fixed = [plan for plan in group_plans(spec) if plan.n_fixed_terms]
    known = sum(_n_levels(plan, counts) * (plan.width + LABEL_BYTES) for plan in fixed)
    own = replace(counts, n_records=-(-counts.n_records // n_ranks))
    rank = next(i for i in estimate(spec, own) if i.what == RANK_OF_X)
    items = [
        rank if i.what == RANK_OF_X else MemoryItem(i.what, -(-i.bytes // n_ranks)) for i in estimate(spec, counts)
    ]
    vectors = next(i.bytes for i in items if i.what.endswith("vectors"))
    return (*items, MemoryItem("ghosts", int(GHOSTS * vectors)), MemoryItem("levels of fixed effects", known))


def _n_recorded(plan: GroupPlan, counts: Counts, n: int) -> int:
    return min(n, sum(counts.n_recorded.get(variable, n) for variable in plan.variables))


def _class_factor(plans: list[GroupPlan], levels: list[int]) -> int:
    """Return the bytes of blocks of C between classes (`solvers.class_factor`), each level with one of every group."""
    most = max((k for k, plan in zip(levels, plans, strict=True) if plan.kind != "identity"), default=0)
    classes = sorted(
        ((k, p.width) for k, p in zip(levels, plans, strict=True) if p.n_fixed_terms or FEW * k <= most), reverse=True
    )
    total = 0
    for at, (k, width) in enumerate(classes):
        total += sum(k * (4 * width * other + 12) for _, other in classes[at + 1 :])
    return total


def _n_levels(plan: GroupPlan, counts: Counts) -> int:
    """Return the largest number of levels that the group can have."""
    if plan.relationship is not None:
        return counts.n_individuals[plan.relationship]
    total = 0
    for variable in plan.variables:
        product = 1
        for part in variable.split(":"):
            product *= counts.n_recorded.get(part, counts.n_levels.get(part, 1)) + (part in counts.n_recorded)
        total += min(product, max(1, counts.n_records))
    return total
