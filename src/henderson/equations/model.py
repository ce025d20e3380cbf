"""The equations as tables: groups of levels by positions, slots that tie records to levels, and terms.

A record's prediction of trait t is the sum over its terms of ``coefficient * solution[group of slot][level,
position]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from henderson.errors import ModelError
from henderson.kernels.record_loops import TermLists
from henderson.kernels.record_spans import Spans
from henderson.kernels.records import Bundles
from henderson.kernels.vectors import count_codes
from henderson.partitions.communicator import ALONE, Communicator
from henderson.store.columns import Observed
from henderson.store.model_data import Labels

Residuals = tuple[NDArray[np.float64], ...] | NDArray[np.float64]


@dataclass(frozen=True)
class Position:
    """One column of a group: where its solutions are printed.

    factor: ``fxcl``, ``fxco`` or the variance's name; subfactor: as printed (``c_2`` for the second polynomial of
    ``c``); order: rank in the equations' term order, which decides which of dependent columns stays.
    """

    factor: str
    subfactor: str
    order: int


@dataclass(frozen=True)
class LevelSigmas:
    """A Sigma for each level of a random group: its number, and which Sigma that is; of -1 it is `default`.

    number: int32 by level, or what is indexed like it. Numbers are rows of `table`, float64 (n, width**2), or, without
    it, places in `labels`, whose Sigma `classes` has by text.
    """

    width: int
    number: Any
    table: NDArray[np.float64] | None
    labels: Labels | None
    classes: Mapping[str, NDArray[np.float64]]
    default: NDArray[np.float64] | None

    def distinct(self, levels: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        """Return the place of each level's Sigma among the different ones, and these, (n, width, width)."""
        used, place = np.unique(self.number[levels], return_inverse=True)
        return place.reshape(-1).astype(np.uint32), self._sigmas(used).reshape(-1, self.width, self.width)

    def lacking(self, levels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of the levels that have no Sigma."""
        if self.default is not None:
            return levels[:0]
        used, place = np.unique(self.number[levels], return_inverse=True)
        none = np.asarray(np.isnan(self._sigmas(used)).any(axis=1))
        return levels[none[place.reshape(-1)]]

    def variances(self, levels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the diagonal of Sigma of each level, (n_levels, width)."""
        place, sigmas = self.distinct(levels)
        return np.asarray(np.diagonal(sigmas, axis1=1, axis2=2)[place])

    def quadratic(self, levels: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return w' Sigma w of each level, (n_levels,)."""
        place, sigmas = self.distinct(levels)
        return np.asarray((sigmas @ weights @ weights)[place])

    def _sigmas(self, used: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the Sigmas of numbers that ascend, NaN where there is none."""
        default = np.full(self.width**2, np.nan) if self.default is None else self.default
        out = np.tile(default, (len(used), 1))
        own = used >= 0
        if self.table is not None:
            out[own] = self.table[used[own].astype(np.int64)]
        elif self.labels is not None:
            texts = self.labels.take(used[own]).text()
            out[own] = np.array([self.classes.get(t, default) for t in texts]).reshape(-1, self.width**2)
        return out


@dataclass(frozen=True)
class Covariance:
    """Gamma (x) Sigma of a random group; kind ``identity``, ``pedigree`` or ``matrix``, `name` of the latter two.

    own: levels have a Sigma of their own; `sigma` is then that of the others, or the identity.
    """

    sigma: NDArray[np.float64]
    kind: str = "identity"
    name: str | None = None
    own: LevelSigmas | None = None

    def variances(self, levels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the diagonal of Sigma of each level, (n_levels, width) or one row for all."""
        return np.diag(self.sigma)[None] if self.own is None else self.own.variances(levels)

    def quadratic(self, levels: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return w' Sigma w of each level, (n_levels,) or (1,) for all."""
        if self.own is None:
            return np.array([weights @ self.sigma @ weights])
        return self.own.quadratic(levels, weights)


@dataclass(frozen=True)
class Group:
    """A block of equations, level-major: equation (level, position) is number level * width + position of the group.

    covariance: None if fixed; a position is None if no sub-factor has it (its solutions are predicted all the same).
    """

    name: str
    labels: Labels
    positions: tuple[Position | None, ...]
    covariance: Covariance | None = None

    @property
    def n_levels(self) -> int:
        """Return the number of levels."""
        return len(self.labels)

    @property
    def width(self) -> int:
        """Return the number of positions."""
        return len(self.positions)

    @property
    def pedigree(self) -> str | None:
        """Return the name of the pedigree that relates the levels, if one does."""
        return self.covariance.name if self.covariance is not None and self.covariance.kind == "pedigree" else None

    @property
    def size(self) -> int:
        """Return the number of equations."""
        return self.n_levels * self.width


@dataclass(frozen=True)
class Slot:
    """The level of group `group` that each record has: int32 (n_records,), negative where it has none."""

    group: int
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class DesignTerm:
    """One term: ``eta[trait] += coefficient * solution[slot's level, position]``; coefficient -1 stands for 1."""

    trait: int
    slot: int
    position: int
    coefficient: int = -1


@dataclass(frozen=True)
class Patterns:
    """Which traits a record has and which residual Sigma: `codes` (n_records,) into the rows of both tables.

    observed: bool (n_patterns, n_traits); residual: int64 (n_patterns,), number of the residual class.
    """

    codes: NDArray[np.uint16]  # uint32 where records have Sigmas of their own and there are more
    observed: NDArray[np.bool_]
    residual: NDArray[np.int64]

    def any_of(self, traits: list[int]) -> NDArray[np.bool_]:
        """Return, per record, whether at least one of `traits` is observed."""
        return np.asarray(self.observed[:, traits].any(axis=1), np.bool_)[self.codes]

    def counts(self) -> NDArray[np.int64]:
        """Return the number of records with each pattern."""
        return count(self.codes, len(self.observed))


def _lists(observed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Return the different sets of observed traits, and which one each pattern has."""
    of_list, of_pattern = np.unique(observed, axis=0, return_inverse=True)
    return of_list, of_pattern.reshape(-1).astype(np.int32)


@dataclass(frozen=True)
class Design:
    """The whole design: W as groups, slots, terms and coefficients, and what each record observed.

    coefficients: float64 arrays (n_records,), shared by terms; never NaN.
    kept: per fixed group a bool (n_levels, width), False where the column is empty or was left out; None for random
    groups. dropped: the dependent columns that were left out, as (group, level, position).
    pinned: equations of genetic groups in a relationship matrix that are held at 0, as (group, level, position).
    residuals: Sigma of every residual class, or of records (n, n_traits, n_traits), NaN for traits that are not
    observed; residual_classes: their levels, one empty text if there are no classes.
    first_record: number of the first record here among those of all processes.
    """

    traits: tuple[str, ...]
    groups: tuple[Group, ...]
    slots: tuple[Slot, ...]
    terms: tuple[DesignTerm, ...]
    coefficients: tuple[NDArray[np.float64], ...]
    patterns: Patterns
    responses: tuple[NDArray[np.float64], ...]
    weights: NDArray[np.float64] | None
    residuals: Residuals
    residual_classes: tuple[str, ...] = ("",)
    kept: tuple[NDArray[np.bool_] | None, ...] = ()
    dropped: tuple[tuple[int, int, int], ...] = field(default=())
    pinned: tuple[tuple[int, int, int], ...] = ()
    first_record: int = 0

    @property
    def n_records(self) -> int:
        """Return the number of records."""
        return len(self.patterns.codes)

    @property
    def n_traits(self) -> int:
        """Return the number of traits."""
        return len(self.traits)

    def without_records(self) -> Design:
        """Return the design without levels and coefficients of records, which partitions have in their own form."""
        slots = tuple(Slot(s.group, np.empty(0, np.int32)) for s in self.slots)
        return replace(self, slots=slots, coefficients=tuple(np.empty(0) for _ in self.coefficients))

    @property
    def first_equation(self) -> list[int]:
        """Return the global number of each group's first equation, and their total."""
        return [0, *np.cumsum([g.size for g in self.groups]).tolist()]

    @property
    def n_equations(self) -> int:
        """Return the number of equations that are solved."""
        left_out = sum(int((~k).sum()) for k in self.kept if k is not None)
        return sum(g.size for g in self.groups) - left_out

    def term_lists(self, groups: frozenset[int] | None = None, *, observed: bool = True) -> TermLists:
        """Return the terms of each pattern of observed traits, those of `groups` if given; else of all traits alike."""
        of_list, of_pattern = _lists(self.patterns.observed if observed else np.ones_like(self.patterns.observed))
        rows, first = [], [0]
        for traits in of_list:
            mine = (t for t in self.terms if traits[t.trait])
            rows += [t for t in mine if groups is None or self.slots[t.slot].group in groups]
            first.append(len(rows))
        table = [(t.trait, t.slot, t.position, t.coefficient) for t in rows]
        return TermLists(of_pattern, np.array(first, np.int64), np.array(table, np.int32).reshape(-1, 4))

    def spans(self, groups: frozenset[int] | None = None, steady: frozenset[int] = frozenset()) -> Spans:
        """Return the terms (of `groups`) by list, trait and slot, those with consecutive elements together.

        Those of the slots in `steady` come first.
        """
        of_list, of_pattern = _lists(self.patterns.observed)
        found: list[list[int]] = []
        traits: list[int] = []
        first_trait, first_span = [0], [0]
        loose: list[int] = []
        for observed in of_list:
            for trait in np.flatnonzero(observed).tolist():
                spans: list[list[int]] = []
                for t in (term for term in self.terms if term.trait == trait):
                    if groups is not None and self.slots[t.slot].group not in groups:
                        continue
                    for s in spans:
                        step = 0 if s[3] < 0 else s[2]
                        if (s[0], s[1] + s[2], s[3] + step) == (t.slot, t.position, t.coefficient):
                            s[2] += 1
                            break
                    else:
                        spans.append([t.slot, t.position, 1, t.coefficient])
                spans.sort(key=lambda s: s[0] not in steady)
                loose.append(len(found) + sum(s[0] in steady for s in spans))
                found += spans
                traits.append(trait)
                first_span.append(len(found))
            first_trait.append(len(traits))
        slot, position, length, column = np.array(found, np.int64).reshape(-1, 4).T.copy()
        return Spans(
            of_pattern.astype(np.uint64),
            np.array(first_trait, np.uint64),
            np.array(traits, np.uint64),
            np.array(first_span, np.uint64),
            slot.astype(np.uint64),
            position.astype(np.uint64),
            length.astype(np.uint64),
            column,
            np.array(sorted(steady), np.uint64),
            np.array(loose, np.uint64),
        )

    def bundles(self, groups: frozenset[int] | None = None) -> Bundles:
        """Return the terms (of `groups`) bundled by slot: one of each trait at most; loops over the traits unroll."""
        rows: list[tuple[int, dict[int, DesignTerm]]] = []
        for term in self.terms:
            if groups is not None and self.slots[term.slot].group not in groups:
                continue
            for slot, row in rows:
                if slot == term.slot and term.trait not in row:
                    row[term.trait] = term
                    break
            else:
                rows.append((term.slot, {term.trait: term}))
        shape = (len(rows), self.n_traits)
        position, column, factor = np.zeros(shape, np.uint32), np.full(shape, -1, np.int32), np.zeros(shape)
        for k, (_, row) in enumerate(rows):
            for trait, term in row.items():
                position[k, trait], column[k, trait], factor[k, trait] = term.position, term.coefficient, 1.0
        steps = position.astype(np.int64) - np.arange(self.n_traits)
        aligned = (column < 0).all(1) & (factor == 1.0).all(1) & (steps == steps[:, :1]).all(1)
        return Bundles(np.array([slot for slot, _ in rows], np.int64), aligned, position, column, factor)


def count(codes: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return how often each of 0..n-1 is among unsigned `codes`; no copy is made."""
    out = np.zeros(n, np.int64)
    count_codes(codes, out)
    return out


def observed_patterns(responses: tuple[NDArray[np.float64], ...]) -> Patterns:
    """Return the patterns of missing traits that occur. Cost: one pass per trait, or one where the store has them."""
    if isinstance(response := responses[0], Observed) and all(
        isinstance(r, Observed) and r.pattern is response.pattern for r in responses
    ):
        observed = np.column_stack([cast(Observed, r).place >= 0 for r in responses])
        present = count(response.pattern, len(observed)) > 0
        table, number = np.unique(observed[present], axis=0, return_inverse=True)
        of_pattern = np.zeros(len(observed), np.uint16)
        of_pattern[present] = number.reshape(-1)
        return Patterns(of_pattern[response.pattern], table, np.zeros(len(table), np.int64))
    n_records = len(responses[0])
    codes = np.zeros(n_records, np.int64)
    table = np.zeros((1, 0), np.bool_)
    for response in responses:
        codes = 2 * codes + ~np.isnan(response)
        table = np.concatenate([np.repeat(table, 2, axis=0), np.tile([[False], [True]], (len(table), 1))], axis=1)
        if len(table) > 4096 or response is responses[-1]:
            present = np.bincount(codes, minlength=len(table)) > 0
            codes = (np.cumsum(present) - 1)[codes]
            table = table[present]
    return Patterns(codes.astype(np.uint16), table, np.zeros(len(table), np.int64))


def shared_patterns(patterns: Patterns, communicator: Communicator) -> Patterns:
    """Return the patterns with the table of those that occur on any process, as one process has it. **Collective**."""
    if communicator.size == 1:
        return patterns
    everyone = np.concatenate([patterns.observed, *communicator.gather_all(patterns.observed)])
    table, number = np.unique(everyone, axis=0, return_inverse=True)
    of_mine = number.reshape(-1)[: len(patterns.observed)].astype(np.uint16)
    return Patterns(of_mine[patterns.codes], table, np.zeros(len(table), np.int64))


def by_class(
    patterns: Patterns, codes: NDArray[np.int32], n_classes: int, communicator: Communicator = ALONE
) -> Patterns:
    """Return the patterns split by the residual class of each record: int32 codes (n_records,), all of 0..n_classes-1.

    Those that occur on any process are kept. Raises `ModelError` if there are more than 65,536 of them. **Collective**.
    """
    joint = patterns.codes.astype(np.int64) * n_classes + codes
    occurs = np.bincount(joint, minlength=len(patterns.observed) * n_classes) > 0
    present = np.flatnonzero(communicator.logical_or(occurs))
    if len(present) > np.iinfo(np.uint16).max + 1:
        raise ModelError(f"{len(present)} combinations of residual class and missing traits, more than 65,536")
    number = np.zeros(len(patterns.observed) * n_classes, np.uint16)
    number[present] = np.arange(len(present))
    return Patterns(number[joint], patterns.observed[present // n_classes], present % n_classes)
