"""From a `ModelSpec` and its `ModelData` to the design: groups, slots, terms and coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.covariates import CoefficientTable
from henderson.equations.levels import ClassColumn, class_column, seen_levels, union
from henderson.equations.model import (
    Covariance,
    Design,
    DesignTerm,
    Group,
    Patterns,
    Position,
    Slot,
    by_class,
    observed_patterns,
)
from henderson.errors import ModelError, NotSupportedError, unknown
from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.store.model_data import UNKNOWN, Labels, ModelData

NO_LEVEL = ""  # the one level of a covariate that is not nested

SlotKey = tuple[str, tuple[tuple[str, str], ...]]  # variable of the levels, and the conditions on the record


@dataclass
class _Use:
    """One term as it occurs: `trait` is its equation, `order` its rank over all equations."""

    trait: int
    order: int
    term: Term


@dataclass
class _Member:
    """A sub-factor in a group and where its positions begin there (random: the positions given by the model)."""

    subfactor: SubFactor
    uses: list[_Use]
    positions: list[int]


@dataclass
class _Draft:
    """A group before its levels are known."""

    name: str
    variance: VarianceSpec | None = None
    members: list[_Member] = field(default_factory=list)

    def uses(self) -> list[_Use]:
        return [use for member in self.members for use in member.uses]


def build_design(spec: ModelSpec, data: ModelData) -> Design:
    """Return the design of `spec` on `data`, all columns of X still in it (`rank.full_rank` leaves dependent ones out).

    Fixed sub-factors that one term each uses are gathered by class variable, so that a herd is one dense block over the
    traits; a sub-factor that several terms use has a group of its own, whose levels are the union over its variables.
    All sub-factors of a variance form one group. Cost: a few passes over the records per class variable.

    Raises
    ------
    InputFileError
        A covariate has no value where its trait is observed.
    NotSupportedError
        The model has group regressions or relationship matrices that cannot be computed yet.

    """
    responses = tuple(data.records.responses[t] for t in spec.traits)
    patterns = observed_patterns(responses)
    table = CoefficientTable(data.records, spec.polynomials)
    groups: list[Group] = []
    slots: list[Slot] = []
    terms: list[DesignTerm] = []
    for draft in _drafts(spec):
        group, slot_of = _levels(draft, len(groups), data, patterns, slots)
        groups.append(group)
        for member in draft.members:
            for use in member.uses:
                slot = slot_of[_slot_key(use.term)]
                numbers = [-1] * len(member.positions)
                if use.term.kind == "covariate":
                    numbers = table.add(
                        use.term,
                        spec.traits[use.trait],
                        patterns.any_of([use.trait]),
                        slots[slot].codes if use.term.nested_in or use.term.where else None,
                        use.term.centred and draft.variance is None,
                    )
                terms += [DesignTerm(use.trait, slot, p, c) for p, c in zip(member.positions, numbers, strict=True)]
    table.check()
    patterns, residuals, classes = _residuals(spec, data, patterns)
    return Design(
        spec.traits,
        tuple(groups),
        tuple(slots),
        tuple(terms),
        tuple(table.arrays),
        patterns,
        responses,
        data.records.weights,
        residuals,
        classes,
    )


def _residuals(
    spec: ModelSpec, data: ModelData, patterns: Patterns
) -> tuple[Patterns, tuple[NDArray[np.float64], ...], tuple[str, ...]]:
    """Return the patterns split by residual class, Sigma of each class, and the levels of the classes."""
    variance, n_traits = spec.residual, len(spec.traits)
    if variance.by is None:
        return patterns, (sigma_of(variance, n_traits),), ("",)
    column = seen_levels(class_column(data, variance.by), patterns.any_of(list(range(n_traits))))
    levels = tuple(column.labels.text())
    known = dict(variance.classes)
    sigmas = [replace(variance, sigma=known.get(level, variance.sigma)) for level in levels]
    split = by_class(patterns, np.maximum(column.codes, 0), len(levels))
    return split, tuple(sigma_of(s, n_traits) for s in sigmas), levels


def sigma_of(variance: VarianceSpec, size: int) -> NDArray[np.float64]:
    """Return Sigma of `variance` as an array, checked to be `size` by `size`."""
    if variance.sigma is None:
        raise ModelError(f"variance {variance.name!r} has no sigma; give one, or estimate it with the reml job")
    sigma = np.array(variance.sigma, np.float64)
    if sigma.shape != (size, size):
        raise ModelError(f"sigma of {variance.name!r} is {sigma.shape[0]} by {sigma.shape[-1]}, not {size} by {size}")
    return sigma


@dataclass(frozen=True)
class GroupPlan:
    """What is known of a group before its levels are: enough to estimate memory.

    variables: its class variables; kind and relationship: as in `Covariance`; n_fixed_terms: 0 for a random group.
    """

    name: str
    variables: tuple[str, ...]
    width: int
    kind: str
    relationship: str | None
    n_coefficients: int
    n_fixed_terms: int


def group_plans(spec: ModelSpec) -> list[GroupPlan]:
    """Return the groups that `build_design` will make of `spec`."""
    plans = []
    for draft in _drafts(spec):
        uses = draft.uses()
        variance = draft.variance
        plans.append(
            GroupPlan(
                draft.name,
                tuple(variable for variable, _ in dict.fromkeys(_slot_key(use.term) for use in uses)),
                len(variance.sigma or ()) if variance else sum(len(m.positions) for m in draft.members),
                variance.gamma.kind if variance else "identity",
                variance.gamma.name if variance else None,
                sum(max(1, len(use.term.polynomials)) for use in uses if use.term.kind == "covariate"),
                0 if variance else sum(max(1, len(use.term.polynomials)) for use in uses),
            )
        )
    return plans


def _drafts(spec: ModelSpec) -> list[_Draft]:
    """Return the groups in order: fixed ones by first use, then random ones in the order of the variances."""
    uses: dict[str, list[_Use]] = {}
    order = 0
    for trait, equation in enumerate(spec.equations):
        for term in equation.terms:
            if term.kind == "group":
                raise NotSupportedError(f"group regression ({term.variable!r} in the equation of {equation.trait!r})")
            uses.setdefault(term.subfactor, []).append(_Use(trait, order, term))
            order += 1
    drafts: dict[tuple[str, str | SlotKey], _Draft] = {}
    for name, mine in uses.items():
        subfactor = spec.subfactor(name)
        if subfactor.variance is not None:
            continue
        first = mine[0].term
        factor = FIXED_COVARIATES if first.kind == "covariate" else FIXED_CLASSES
        key: tuple[str, str | SlotKey] = (factor, _slot_key(first)) if len(mine) == 1 else ("shared", name)
        draft = drafts.setdefault(key, _Draft(factor))
        width = sum(len(m.positions) for m in draft.members)
        draft.members.append(_Member(subfactor, mine, list(range(width, width + max(1, len(first.polynomials))))))
    random: list[_Draft] = []
    for variance in spec.variances:
        members = [
            _Member(s, uses[s.name], [p - 1 for p in s.positions])
            for s in (spec.subfactor(name) for name in uses)
            if s.variance == variance.name
        ]
        if members:
            random.append(_Draft(variance.name, variance, members))
    return [*drafts.values(), *random]


def _slot_key(term: Term) -> SlotKey:
    return term.level_variable or NO_LEVEL, term.where


def _levels(
    draft: _Draft, number: int, data: ModelData, patterns: Patterns, slots: list[Slot]
) -> tuple[Group, dict[SlotKey, int]]:
    """Return the group, and the slot of each of its level variables; the slots are appended to `slots`."""
    keys = list(dict.fromkeys(_slot_key(use.term) for use in draft.uses()))
    labels: Labels
    covariance = None
    if draft.variance is not None:
        covariance = _covariance(draft.variance)
    if covariance is not None and covariance.kind != "identity":
        assert covariance.name is not None
        owner = (data.pedigrees if covariance.kind == "pedigree" else data.matrices)[covariance.name]
        labels = owner.labels
        missing = [v for v, _ in keys if (v, covariance.name) not in data.records.related]
        if missing:
            raise ModelError(f"{missing[0]!r} does not hold individuals of {covariance.kind} {covariance.name!r}")
        codes = [_with(where, data.records.related[v, covariance.name], data) for v, where in keys]
    else:
        columns = [_seen(draft, key, data, patterns) for key in keys]
        labels, codes = union(columns)
    first = len(slots)
    slots += [Slot(number, c) for c in codes]
    group = Group(draft.name, labels, tuple(_positions(draft, covariance)), covariance)
    return group, {key: first + k for k, key in enumerate(keys)}


def _seen(draft: _Draft, key: SlotKey, data: ModelData, patterns: Patterns) -> ClassColumn:
    """Return the class column with the levels seen where a trait that meets it in this group is observed."""
    variable, where = key
    if variable == NO_LEVEL:
        codes = np.zeros(len(data.records), np.int32)
        return ClassColumn(_with(where, codes, data), Labels.from_text([NO_LEVEL]))
    traits = sorted({use.trait for use in draft.uses() if _slot_key(use.term) == key})
    complete = len(patterns.observed) == 1 and bool(patterns.observed[:, traits].any())
    column = class_column(data, variable)
    if where:
        column, complete = replace(column, codes=_with(where, column.codes, data)), False
    return seen_levels(column, None if complete else patterns.any_of(traits))


def _with(where: tuple[tuple[str, str], ...], codes: NDArray[np.int32], data: ModelData) -> NDArray[np.int32]:
    """Return `codes`, UNKNOWN on records that do not have all the levels of `where`."""
    for name, level in where:
        column = class_column(data, name)
        labels = column.labels.text()
        if level not in labels:
            near = unknown("level", level, labels)
            raise ModelError(f"{near} of column {name!r}")
        codes = np.where(column.codes == labels.index(level), codes, np.int32(UNKNOWN))
    return codes


def _positions(draft: _Draft, covariance: Covariance | None) -> Sequence[Position | None]:
    n = len(covariance.sigma) if covariance else sum(len(m.positions) for m in draft.members)
    positions: list[Position | None] = [None] * n
    for member in draft.members:
        first = member.uses[0]
        names = [f"{member.subfactor.name}_{p}" for p in first.term.polynomials] or [member.subfactor.name]
        for at, name in zip(member.positions, names, strict=True):
            positions[at] = Position(draft.name, name, first.order)
    return positions


def _covariance(variance: VarianceSpec) -> Covariance:
    kind = variance.gamma.kind
    if kind in ("H", "G") or variance.type is not None:
        raise NotSupportedError(f"variance {variance.name!r}: {variance.type or kind} cannot be computed yet")
    return Covariance(sigma_of(variance, len(variance.sigma or ())), kind, variance.gamma.name)


def with_kept(
    design: Design, kept: Sequence[NDArray[np.bool_] | None], dropped: Sequence[tuple[int, int, int]]
) -> Design:
    """Return the design with the columns of X that are solved for."""
    return replace(design, kept=tuple(kept), dropped=tuple(dropped))
