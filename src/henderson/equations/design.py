"""From a `ModelSpec` and its `ModelData` to the design: groups, slots, terms and coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.covariates import CoefficientTable
from henderson.equations.group_regression import n_groups_of, regress_on_groups
from henderson.equations.levels import ClassColumn, seen_levels
from henderson.equations.model import (
    Covariance,
    Design,
    DesignTerm,
    Group,
    Patterns,
    Position,
    Residuals,
    Slot,
    by_class,
    observed_patterns,
    shared_patterns,
)
from henderson.equations.own_sigmas import level_sigmas, record_sigmas
from henderson.equations.shared_levels import shared_class_column, unite
from henderson.errors import ModelError, NotSupportedError, unknown
from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES, ONE, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.partitions.communicator import ALONE, Communicator
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

    def is_on_groups(self) -> bool:
        """Return whether it is a regression on genetic groups."""
        return any(use.term.kind == "group" for use in self.uses())


def build_design(spec: ModelSpec, data: ModelData, communicator: Communicator = ALONE) -> Design:
    """Return the design of `spec` on `data`, all columns of X still in it (`rank.full_rank` leaves dependent ones out).

    Over several processes `data` are the records of this one, and so is what the design holds by record; groups, levels
    and patterns are those of all, numbered as in one process. Labels are everywhere for fixed groups, elsewhere a
    process has those that its own records use. **Collective**.

    Fixed sub-factors that one term each uses are gathered by class variable, so that a herd is one dense block over the
    traits; a sub-factor that several terms use has a group of its own, whose levels are the union over its variables.
    All sub-factors of a variance form one group. Cost: a few passes over the records per class variable.

    Raises
    ------
    InputFileError
        A covariate has no value where its trait is observed.
    NotSupportedError
        The model has relationship matrices that cannot be computed yet.

    """
    responses = tuple(data.records.responses[t] for t in spec.traits)
    patterns = shared_patterns(observed_patterns(responses), communicator)
    table = CoefficientTable(data.records, spec.polynomials, communicator)
    groups: list[Group] = []
    slots: list[Slot] = []
    terms: list[DesignTerm] = []
    for draft in _drafts(spec):
        if draft.is_on_groups():
            uses = [(use.trait, p, use.term) for m in draft.members for use in m.uses for p in m.positions]
            labels, more = regress_on_groups(uses, len(groups), data, slots, table)
            covariance = None if draft.variance is None else _covariance(draft.variance, spec)
            groups.append(Group(draft.name, labels, tuple(_positions(draft, covariance)), covariance))
            terms += more
            continue
        group, slot_of = _levels(draft, len(groups), spec, data, patterns, slots, communicator)
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
                        group.n_levels,
                    )
                terms += [DesignTerm(use.trait, slot, p, c) for p, c in zip(member.positions, numbers, strict=True)]
    table.check()
    patterns, residuals, classes = _residuals(spec, data, patterns, communicator)
    order = table.in_order()
    number = dict(zip(order.tolist(), range(len(order)), strict=True))
    terms = [replace(t, coefficient=number.get(t.coefficient, t.coefficient)) for t in terms]
    return Design(
        spec.traits,
        tuple(groups),
        tuple(slots),
        tuple(terms),
        tuple(table.arrays[k] for k in order),
        patterns,
        responses,
        data.records.weights,
        residuals,
        classes,
    )


def _residuals(
    spec: ModelSpec, data: ModelData, patterns: Patterns, communicator: Communicator
) -> tuple[Patterns, Residuals, tuple[str, ...]]:
    """Return the patterns split by residual class or record's Sigma, Sigma of each, and the levels of the classes."""
    variance, n_traits = spec.residual, len(spec.traits)
    if variance.blocks is not None:
        return *record_sigmas(spec, data, patterns, communicator), ("",)
    if variance.by is None:
        return patterns, (sigma_of(variance, n_traits),), ("",)
    column = shared_class_column(data, variance.by, communicator)
    labels, (codes,) = unite([seen_levels(column, patterns.any_of(list(range(n_traits))))], communicator, True)
    levels = tuple(labels.text())
    known = dict(variance.classes)
    sigmas = [replace(variance, sigma=known.get(level, variance.sigma)) for level in levels]
    split = by_class(patterns, np.maximum(codes, 0), len(levels), communicator)
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
                _variables(spec, draft),
                spec.n_positions(variance.name) if variance else sum(len(m.positions) for m in draft.members),
                variance.gamma.kind if variance else "identity",
                variance.gamma.name if variance else None,
                sum(_n_coefficients(spec, use.term) for use in uses if use.term.kind != "class"),
                0 if variance else sum(_n_coefficients(spec, use.term) for use in uses),
            )
        )
    return plans


def _n_coefficients(spec: ModelSpec, term: Term) -> int:
    return n_groups_of(spec, term.pedigree) if term.kind == "group" else max(1, len(term.polynomials))


def _variables(spec: ModelSpec, draft: _Draft) -> tuple[str, ...]:
    """Return the class variables of a group's slots; each genetic group is a slot of one level."""
    first = {_slot_key(use.term): use.term for use in draft.uses()}
    slots = [
        [ONE] * n_groups_of(spec, term.pedigree) if term.kind == "group" else [variable]
        for (variable, _), term in first.items()
    ]
    return tuple(variable for each in slots for variable in each)


def _drafts(spec: ModelSpec) -> list[_Draft]:
    """Return the groups in order: fixed ones by first use, then random ones in the order of the variances."""
    uses: dict[str, list[_Use]] = {}
    order = 0
    for trait, equation in enumerate(spec.equations):
        for term in equation.terms:
            uses.setdefault(term.subfactor, []).append(_Use(trait, order, term))
            order += 1
    drafts: dict[tuple[str, str | SlotKey], _Draft] = {}
    for name, mine in uses.items():
        subfactor = spec.subfactor(name)
        if subfactor.variance is not None:
            continue
        first = mine[0].term
        factor = FIXED_CLASSES if first.kind == "class" else FIXED_COVARIATES
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
    if term.kind == "group":
        return f"gg({term.pedigree}) {term.variable}", term.where
    return term.level_variable or NO_LEVEL, term.where


def _levels(
    draft: _Draft,
    number: int,
    spec: ModelSpec,
    data: ModelData,
    patterns: Patterns,
    slots: list[Slot],
    communicator: Communicator,
) -> tuple[Group, dict[SlotKey, int]]:
    """Return the group, and the slot of each of its level variables; the slots are appended to `slots`."""
    keys = list(dict.fromkeys(_slot_key(use.term) for use in draft.uses()))
    labels: Labels
    covariance = None
    if draft.variance is not None:
        covariance = _covariance(draft.variance, spec)
    if covariance is not None and covariance.kind != "identity":
        assert covariance.name is not None
        owner = (data.pedigrees if covariance.kind == "pedigree" else data.matrices)[covariance.name]
        labels = owner.labels
        missing = [v for v, _ in keys if (v, covariance.name) not in data.records.related]
        if missing:
            raise ModelError(f"{missing[0]!r} does not hold individuals of {covariance.kind} {covariance.name!r}")
        codes = [_with(where, data.records.related[v, covariance.name], data, communicator) for v, where in keys]
    else:
        columns = [_seen(draft, key, data, patterns, communicator) for key in keys]
        labels, codes = unite(columns, communicator, covariance is None)
    if covariance is not None and draft.variance is not None and draft.variance.own_sigmas:
        named = [(variable, c) for (variable, _), c in zip(keys, codes, strict=True)]
        width = len(covariance.sigma)
        own = level_sigmas(draft.variance, width, data, labels, named, communicator)
        covariance = replace(covariance, own=own)
    first = len(slots)
    slots += [Slot(number, c) for c in codes]
    group = Group(draft.name, labels, tuple(_positions(draft, covariance)), covariance)
    return group, {key: first + k for k, key in enumerate(keys)}


def _seen(draft: _Draft, key: SlotKey, data: ModelData, patterns: Patterns, communicator: Communicator) -> ClassColumn:
    """Return the class column with the levels seen where a trait that meets it in this group is observed."""
    variable, where = key
    if variable == NO_LEVEL:
        codes = np.zeros(len(data.records), np.int32)
        return ClassColumn(_with(where, codes, data, communicator), Labels.from_text([NO_LEVEL]))
    traits = sorted({use.trait for use in draft.uses() if _slot_key(use.term) == key})
    complete = len(patterns.observed) == 1 and bool(patterns.observed[:, traits].any())
    column = shared_class_column(data, variable, communicator)
    if where:
        column, complete = replace(column, codes=_with(where, column.codes, data, communicator)), False
    return seen_levels(column, None if complete else patterns.any_of(traits))


def _with(
    where: tuple[tuple[str, str], ...], codes: NDArray[np.int32], data: ModelData, communicator: Communicator
) -> NDArray[np.int32]:
    """Return `codes`, UNKNOWN on records that do not have all the levels of `where`."""
    for name, level in where:
        column = shared_class_column(data, name, communicator)
        labels = column.labels.text()
        here = labels.index(level) if level in labels else None
        if not communicator.logical_or(np.array([here is not None]))[0]:
            near = unknown("level", level, sorted({each for mine in communicator.gather_all(labels) for each in mine}))
            raise ModelError(f"{near} of column {name!r}")
        codes = np.where(column.codes == here if here is not None else False, codes, np.int32(UNKNOWN))
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


def _covariance(variance: VarianceSpec, spec: ModelSpec) -> Covariance:
    kind = variance.gamma.kind
    if kind in ("H", "G") or variance.type is not None:
        raise NotSupportedError(f"variance {variance.name!r}: {variance.type or kind} cannot be computed yet")
    n = spec.n_positions(variance.name)
    own = variance.own_sigmas and variance.sigma is None
    return Covariance(np.eye(n) if own else sigma_of(variance, n), kind, variance.gamma.name)


def with_kept(
    design: Design, kept: Sequence[NDArray[np.bool_] | None], dropped: Sequence[tuple[int, int, int]]
) -> Design:
    """Return the design with the columns of X that are solved for."""
    return replace(design, kept=tuple(kept), dropped=tuple(dropped))
