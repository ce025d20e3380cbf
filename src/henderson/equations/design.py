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
    observed_patterns,
)
from henderson.errors import ModelError, NotSupportedError
from henderson.language.spec import FIXED_CLASSES, FIXED_COVARIATES, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.store.model_data import Labels, ModelData

NO_LEVEL = ""  # the one level of a covariate that is not nested


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
                slot = slot_of[_level_key(use.term)]
                numbers = [-1] * len(member.positions)
                if use.term.kind == "covariate":
                    numbers = table.add(
                        use.term,
                        spec.traits[use.trait],
                        patterns.any_of([use.trait]),
                        slots[slot].codes if use.term.nested_in else None,
                        use.term.centred and draft.variance is None,
                    )
                terms += [DesignTerm(use.trait, slot, p, c) for p, c in zip(member.positions, numbers, strict=True)]
    table.check()
    return Design(
        spec.traits,
        tuple(groups),
        tuple(slots),
        tuple(terms),
        tuple(table.arrays),
        patterns,
        responses,
        data.records.weights,
        sigma_of(spec.residual, len(spec.traits)),
    )


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
                tuple(dict.fromkeys(_level_key(use.term) for use in uses)),
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
    drafts: dict[tuple[str, str], _Draft] = {}
    for name, mine in uses.items():
        subfactor = spec.subfactor(name)
        if subfactor.variance is not None:
            continue
        first = mine[0].term
        factor = FIXED_COVARIATES if first.kind == "covariate" else FIXED_CLASSES
        key = (factor, _level_key(first)) if len(mine) == 1 else ("shared", name)
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


def _level_key(term: Term) -> str:
    return term.level_variable or NO_LEVEL


def _levels(
    draft: _Draft, number: int, data: ModelData, patterns: Patterns, slots: list[Slot]
) -> tuple[Group, dict[str, int]]:
    """Return the group, and the slot of each of its level variables; the slots are appended to `slots`."""
    variables = list(dict.fromkeys(_level_key(use.term) for use in draft.uses()))
    labels: Labels
    covariance = None
    if draft.variance is not None:
        covariance = _covariance(draft.variance)
    if covariance is not None and covariance.kind != "identity":
        assert covariance.name is not None
        owner = (data.pedigrees if covariance.kind == "pedigree" else data.matrices)[covariance.name]
        labels = owner.labels
        missing = [v for v in variables if (v, covariance.name) not in data.records.related]
        if missing:
            raise ModelError(f"{missing[0]!r} does not hold individuals of {covariance.kind} {covariance.name!r}")
        codes = [data.records.related[v, covariance.name] for v in variables]
    else:
        columns = [_seen(draft, variable, data, patterns) for variable in variables]
        labels, codes = union(columns)
    first = len(slots)
    slots += [Slot(number, c) for c in codes]
    group = Group(draft.name, labels, tuple(_positions(draft, covariance)), covariance)
    return group, {variable: first + k for k, variable in enumerate(variables)}


def _seen(draft: _Draft, variable: str, data: ModelData, patterns: Patterns) -> ClassColumn:
    """Return the class column with the levels seen where a trait that meets it in this group is observed."""
    if variable == NO_LEVEL:
        n = len(data.records)
        return ClassColumn(np.zeros(n, np.int32), Labels.from_text([NO_LEVEL]))
    traits = sorted({use.trait for use in draft.uses() if _level_key(use.term) == variable})
    complete = len(patterns.observed) == 1 and bool(patterns.observed[:, traits].any())
    return seen_levels(class_column(data, variable), None if complete else patterns.any_of(traits))


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
