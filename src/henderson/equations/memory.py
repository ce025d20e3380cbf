"""How much memory a matrix-free solve takes, from counts alone: known before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from henderson.equations.design import GroupPlan, group_plans
from henderson.equations.rank import CHUNK
from henderson.language.spec import RESIDUAL, ModelSpec
from henderson.store.columns import Coded, Observed
from henderson.store.model_data import ModelData
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

N_VECTORS = 5  # right-hand side, solution, residual, direction, product
PEDIGREE_BYTES = 3 * 4 + 2 * 8 + 8  # sire, dam, generation; F, d; label
TRIPLET = 16
RANK_OF_X = "rank of X"
LABEL_BYTES = 24  # of a level of a fixed effect, while levels are united
COMPACT_ABOVE = 1 << 27  # bytes of the level blocks of a random factor above which they are in single precision
GHOSTS = 0.25  # elements of other processes that one reads, relative to those it owns


@dataclass(frozen=True)
class Counts:
    """The sizes that decide: records; levels by class column; individuals by pedigree or matrix; entries by matrix.

    n_sigmas: different Sigmas in the file of a variance. n_values: observations of a record at most, None: one of each
    trait is held; coded: covariates that are held as codes of a table.
    """

    n_records: int
    n_levels: Mapping[str, int]
    n_individuals: Mapping[str, int]
    n_entries: Mapping[str, int]
    weights: bool = False
    n_sigmas: Mapping[str, int] = field(default_factory=dict)
    n_values: int | None = None
    coded: frozenset[str] = frozenset()


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
    for column, name in data.records.related:
        levels.setdefault(column, individuals[name] + 1)
    return Counts(
        len(data.records),
        levels,
        individuals,
        {name: int(m.inverse.nnz) for name, m in data.matrices.items()},
        data.records.weights is not None,
        {name: len(s.table) for name, s in data.sigmas.items() if s.table is not None},
        max((len(y.values) if isinstance(y, Observed) else len(responses) for y in responses), default=0),
        frozenset(name for name, x in data.records.covariates.items() if isinstance(x, Coded)),
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


def estimate(spec: ModelSpec, counts: Counts) -> tuple[MemoryItem, ...]:
    """Return what a matrix-free solve of `spec` allocates, item by item, in bytes; upper bounds where data decide.

    The sum leaves out the interpreter and its libraries (some 250 MB) and the output tables, which are written in
    blocks.
    """
    plans = group_plans(spec)
    n = counts.n_records
    levels = [_n_levels(plan, counts) for plan in plans]
    equations = sum(k * plan.width for k, plan in zip(levels, plans, strict=True))
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
    blocks = 0
    for k, group in zip(levels, plans, strict=True):
        doubles = k * group.width * (group.width + 1) // 2 * 8
        compact = not group.n_fixed_terms and doubles > COMPACT_ABOVE
        blocks += doubles * min(k, n) // (2 * max(1, k)) + 8 * k if compact else doubles
    own = 0
    for v in (v for v in spec.variances if v.own_sigmas and (v.name != RESIDUAL or v.blocks is not None)):
        size = 8 * spec.n_positions(v.name) ** 2  # bytes of a Sigma; as it is stored, and its inverse or factor
        plan = next((p for p in plans if p.name == v.name), None)
        n_indices = n if plan is None else _n_levels(plan, counts)
        own += 2 * size * counts.n_sigmas.get(v.name, len(v.classes)) + (12 if plan is None else 8) * n_indices
    fixed_terms = sum(plan.n_fixed_terms for plan in plans)
    rank = min(n, CHUNK) * fixed_terms * 4 * TRIPLET if fixed_terms > len(spec.traits) else 0
    return (
        MemoryItem("records", records),
        MemoryItem("individuals", individuals),
        MemoryItem("level codes of records", n * (8 * n_slots + 2)),
        MemoryItem("coefficients of covariates", 4 * n if by_table else n * 16 * n_coefficients),
        MemoryItem("relationships", relationship),
        *([MemoryItem("Sigmas of levels and records", own)] if own else []),
        MemoryItem(RANK_OF_X, rank),
        MemoryItem("preconditioner", blocks),
        MemoryItem(f"{N_VECTORS} vectors", N_VECTORS * 8 * equations),
        MemoryItem("solutions", 8 * equations),
    )


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


def _n_levels(plan: GroupPlan, counts: Counts) -> int:
    """Return the largest number of levels that the group can have."""
    if plan.relationship is not None:
        return counts.n_individuals[plan.relationship]
    total = 0
    for variable in plan.variables:
        product = 1
        for part in variable.split(":"):
            product *= counts.n_levels.get(part, 1)
        total += min(product, max(1, counts.n_records))
    return total
