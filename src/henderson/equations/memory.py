"""How much memory a matrix-free solve takes, from counts alone: known before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from henderson.equations.design import GroupPlan, group_plans
from henderson.equations.rank import CHUNK
from henderson.language.spec import ModelSpec
from henderson.store.model_data import ModelData

N_VECTORS = 5  # right-hand side, solution, residual, direction, product
PEDIGREE_BYTES = 3 * 4 + 2 * 8 + 8  # sire, dam, generation; F, d; label
TRIPLET = 16


@dataclass(frozen=True)
class Counts:
    """The sizes that decide: records; levels by class column; individuals by pedigree or matrix; entries by matrix."""

    n_records: int
    n_levels: Mapping[str, int]
    n_individuals: Mapping[str, int]
    n_entries: Mapping[str, int]
    weights: bool = False


@dataclass(frozen=True)
class MemoryItem:
    """One row of the estimate."""

    what: str
    bytes: int


def counts_of(data: ModelData) -> Counts:
    """Return the counts of data that are already there."""
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
    records = n * (8 + 8 * len(spec.traits) + 8 * len(covariates) + 4 * len(columns) + 8 * counts.weights)
    individuals = sum(counts.n_individuals[name or ""] * PEDIGREE_BYTES for name in pedigrees)
    individuals += sum(counts.n_entries[name or ""] * 12 for name in matrices)
    relationship = sum(
        k * 16 if plan.kind == "pedigree" else counts.n_entries[plan.relationship or ""] * 12
        for k, plan in zip(levels, plans, strict=True)
        if plan.kind != "identity"
    )
    blocks = sum(k * plan.width * (plan.width + 1) // 2 * 8 for k, plan in zip(levels, plans, strict=True))
    fixed_terms = sum(plan.n_fixed_terms for plan in plans)
    rank = min(n, CHUNK) * fixed_terms * 4 * TRIPLET if fixed_terms > len(spec.traits) else 0
    return (
        MemoryItem("records", records),
        MemoryItem("individuals", individuals),
        MemoryItem("level codes of records", n * (8 * n_slots + 2)),
        MemoryItem("coefficients of covariates", n * 16 * n_coefficients),
        MemoryItem("relationships", relationship),
        MemoryItem("rank of X", rank),
        MemoryItem("preconditioner", blocks),
        MemoryItem(f"{N_VECTORS} vectors", N_VECTORS * 8 * equations),
        MemoryItem("solutions", 8 * equations),
    )


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
