"""Predictions from the earlier data against the whole: what `henderson validate` finds in two folders of results."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from henderson.errors import InputFileError, Problem
from henderson.ingest.files import expand
from henderson.jobs.animal_columns import BORN, column_of, find_column
from henderson.jobs.bulls import LEAST_DAUGHTERS, daughters_of_bulls, years_after
from henderson.jobs.compare import PastRun
from henderson.jobs.focal import MANY_FAMILIES, ByModel, Compared, deviations
from henderson.jobs.individuals import record_counts
from henderson.jobs.sequence import read_ids
from henderson.pedigree.average import mean_relationship
from henderson.results.comparison import Agreement, agree_by
from henderson.results.lr import (
    FEW_FAMILIES,
    LEAST_FAMILIES,
    Bootstrap,
    LrStatistics,
    TrendTest,
    lr_statistics,
    trend_test,
)
from henderson.results.solution_files import places
from henderson.results.solution_tables import labels_to_arrow
from henderson.results.trend_validation import LEAST_BULLS, LEAST_NEW, MethodThree, method_three
from henderson.store.model_data import Pedigree
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Choices:
    """How to validate: file of focal individuals (None: those whose records are all later), column of birth times.

    replicates, seed: of the bootstrap; daughters: with earlier records, that a bull has at least in method III.
    """

    focal: Path | None = None
    born: str | None = None
    replicates: int = 1000
    seed: int = 1
    daughters: int = LEAST_DAUGHTERS


@dataclass(frozen=True)
class EffectValidation:
    """One sub-factor: method LR, the trend test (None: no different birth times), means by birth time, and solutions.

    groups_by: what the groups are: birth year or generation; ids, partial, whole: of the focal individuals; bulls:
    method III, None if there are too few; by_model: whether intervals of bias and trend are also those of the model.
    """

    factor: str
    subfactor: str
    lr: LrStatistics
    trend: TrendTest | None
    groups_by: str
    groups: tuple[tuple[str, Agreement], ...]
    ids: pa.Array = field(repr=False)
    partial: Floats = field(repr=False)
    whole: Floats = field(repr=False)
    bulls: MethodThree | None = None
    by_model: bool = False


@dataclass(frozen=True)
class Validation:
    """A model validated by a cut-off: records before it and in all, its sub-factors, remarks."""

    column: str
    cut_off: str
    n_partial: int
    n_whole: int
    effects: tuple[EffectValidation, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Level:
    """One coefficient (or index) of the individuals of a pedigree: its names, variance, the records that name them."""

    factor: str
    subfactor: str
    pedigree: str
    sigma2: float
    columns: tuple[str, ...]
    traits: tuple[str, ...]
    position: int = -1  # of a coefficient, in Sigma


def validate(partial: Path, whole: Path, choices: Choices, by_model: ByModel | None = None) -> Validation:
    """Return how the results in folder `partial` foretold those in `whole`, for each genetic sub-factor.

    by_model: gives the variances of contrasts, in the earlier run and in that of all (`jobs.contrasts`); asked where
    there are few families. Raises `InputFileError` if nothing can be validated: no sub-factor of a pedigree, no focal
    individuals.
    """
    runs = PastRun(partial), PastRun(whole)
    stores = [StoreParts(run.store()) for run in runs]
    cutoff = runs[0].model["data"]["cutoff"]
    levels = _levels(runs[0])  # whose variances are known
    if not levels:
        message = "the model has no random effect related by a pedigree; there is nothing to validate"
        raise InputFileError(Problem(message, file=str(whole)))
    notes: list[str] = []
    known = {name: _Known(runs, stores, name, choices, notes) for name in dict.fromkeys(lv.pedigree for lv in levels)}
    focal = [(lv, f) for lv in levels if (f := _focal(lv, known[lv.pedigree], runs, notes)) is not None]
    if not focal:
        remedy = "choose another cut-off, or name the individuals with --focal"
        raise InputFileError([Problem(note, file=str(whole), remedy=remedy) for note in notes])
    bulls = [_bulls(level, known[level.pedigree], runs) for level, _ in focal]
    wanted = [f.of_focal() if f.are_few else None for _, f in focal] + [
        b.of_bulls() if b.are_few else None for b in bulls
    ]
    sds = deviations(by_model, wanted)
    effects = []
    for (level, f), b, of_focal, of_bulls in zip(focal, bulls, sds, sds[len(focal) :], strict=False):
        effect = _effect(level, f, known[level.pedigree], choices, of_focal)
        resampled = b.bootstrap(choices.replicates, choices.seed)
        effects.append(replace(effect, bulls=method_three(b.p, b.w, b.time, level.sigma2, resampled, of_bulls)))
        n = effect.lr.families
        if n < FEW_FAMILIES:
            said = "there are no intervals" if n < LEAST_FAMILIES else "the intervals are only rough"
            notes.append(f"{effect.subfactor}: the focal individuals are of {n} families: {said}")
    if all(e.bulls is None for e in effects):
        notes.append(
            f"there is no method III: fewer than {LEAST_BULLS} bulls have {choices.daughters} daughters with records "
            f"before the cut-off (--daughters), or fewer than {LEAST_NEW} of them have new ones"
        )
    return Validation(
        cutoff["column"], cutoff["value"], stores[0].n_records, stores[1].n_records, tuple(effects), tuple(notes)
    )


def _levels(run: PastRun) -> list[_Level]:
    """Return the coefficients of all variances related by a pedigree."""
    found = []
    terms = [(e["trait"], t) for e in run.model["equations"] for t in e["terms"]]
    for variance in run.model["variances"]:
        pedigree = run.pedigree_of(variance["name"])
        for s in run.model["subfactors"]:
            if pedigree is None or s["variance"] != variance["name"]:
                continue
            uses = [(trait, t) for trait, t in terms if t["subfactor"] == s["name"]]
            columns = {str(t["nested_in"] if t["kind"] == "covariate" else t["variable"]) for _, t in uses}
            polynomials = uses[0][1]["polynomials"]
            names = [f"{s['name']}_{k}" for k in polynomials] or [s["name"]]
            for name, position in zip(names, s["positions"], strict=True):
                sigma2 = float(variance["sigma"][position - 1][position - 1])
                traits = tuple(dict.fromkeys(trait for trait, _ in uses))
                found.append(
                    _Level(variance["name"], name, pedigree, sigma2, tuple(sorted(columns)), traits, position - 1)
                )
        found += _indices(run, variance, found)
    return found


def _indices(run: PastRun, variance: dict[str, Any], coefficients: list[_Level]) -> list[_Level]:
    """Return the indices of a variance, from its coefficients."""
    of = {lv.subfactor: lv for lv in coefficients if lv.factor == variance["name"]}
    found = []
    for index in run.model.get("indices", ()) if of else ():
        if index["variance"] != variance["name"]:
            continue
        weights = np.zeros(len(variance["sigma"]))
        for name, weight in index["weights"]:
            weights[of[name].position] = weight
        mine = [of[name] for name, _ in index["weights"]]
        columns = tuple(sorted({c for lv in mine for c in lv.columns}))
        traits = tuple(dict.fromkeys(t for lv in mine for t in lv.traits))
        sigma2 = float(weights @ np.array(variance["sigma"]) @ weights)
        found.append(_Level(variance["name"], index["name"], mine[0].pedigree, sigma2, columns, traits))
    return found


class _Known:
    """What is known of the individuals of a pedigree; in the order of the store of the whole data."""

    def __init__(
        self, runs: tuple[PastRun, PastRun], stores: list[StoreParts], name: str, choices: Choices, notes: list[str]
    ) -> None:
        self._stores, self._name = stores, name
        self._runs, self._least = runs, choices.daughters
        self._counts: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Mask, Mask]] = {}
        group = group_path("pedigree", name)
        n = stores[1].sizes()[name]
        self.ids, theirs = (labels_to_arrow(s.labels(group).take(np.arange(n))) for s in reversed(stores))
        self._row = places(theirs, self.ids)  # in the store of the earlier data
        everyone = {k: (0, size) for k, size in stores[1].sizes().items()}
        self.pedigree: Pedigree = stores[1].read((0, 0), everyone).pedigrees[name]
        self.named: Mask | None = None
        if choices.focal is not None:
            given = pa.array(read_ids(choices.focal, "name a file of ids, one a line"), pa.string())
            rows = places(self.ids, given)
            if (rows < 0).any():
                absent = given.filter(pa.array(rows < 0))
                some = ", ".join(absent.slice(0, 5).to_pylist())
                notes.append(f"{len(absent)} individuals of {choices.focal} are not in pedigree {name}: {some}")
            self.named = np.zeros(n, np.bool_)
            self.named[rows[rows >= 0]] = True
        self.born_by, self.labels, self.codes = _birth(runs[1], name, self, choices.born, notes)

    def focal(self, level: _Level) -> Mask:
        """Return who is focal: neither a record before the cut-off, nor progeny with one, but either after it."""
        if self.named is not None:
            return self.named
        with_data = []
        for own in self.recorded(level):
            there = own.copy()
            for parent in (self.pedigree.sire, self.pedigree.dam):
                there[parent[(parent >= 0) & own]] = True
            with_data.append(there)
        return with_data[1] & ~with_data[0]

    def recorded(self, level: _Level) -> tuple[Mask, Mask]:
        """Return who has a record of a coefficient before the cut-off, and who has one at all."""
        key = level.columns, level.traits
        if key not in self._counts:
            found = []
            n = len(self.ids)
            for store, place in zip(self._stores, (self._row, None), strict=True):
                own = sum((record_counts(store, c, self._name, level.traits, n) for c in level.columns), np.zeros(n))
                found.append((own if place is None else own[place]) > 0)
            self._counts[key] = (found[0], found[1])
        return self._counts[key]

    def bulls(self, level: _Level) -> tuple[Indices, Floats]:
        """Return the bulls of method III, and their t."""
        run, cutoff = self._runs[1], self._runs[0].model["data"]["cutoff"]
        files = [(path, c) for path in expand(run.model["data"]["records"], run.folder, "") for c in level.columns]
        return daughters_of_bulls(
            self.pedigree, *self.recorded(level), years_after(cutoff, files, self.ids), self._least
        )

    def families(self, rows: Indices) -> Indices:
        """Return the family of each individual: its sire's; of few, those of sires with one sire are one together.

        The progeny of that sire's sire belong to it, too; without a known sire an individual is a family by itself.
        """
        sire = self.pedigree.sire[rows].astype(np.int64)
        family = np.where(sire >= 0, sire, -1 - np.arange(len(rows)))
        if len(np.unique(family)) >= MANY_FAMILIES:
            return family
        above = np.where(sire >= 0, self.pedigree.sire[np.maximum(sire, 0)], -1).astype(np.int64)
        return np.where(above >= 0, above, family)

    def variance_factor(self, rows: Indices) -> float:
        """Return the genetic variance among individuals, per unit of that of the base: 1 + mean F - mean A."""
        F = self.pedigree.inbreeding[rows]
        return float(1.0 + F.mean() - mean_relationship(self.pedigree, rows))

    def times(self) -> Floats:
        """Return the birth time of all individuals, NaN where it is not known."""
        values = np.array([float(label) for label in self.labels] + [np.nan])
        return values[self.codes]


def _birth(
    run: PastRun, name: str, known: _Known, born: str | None, notes: list[str]
) -> tuple[str, list[str], Indices]:
    """Return what tells of birth times: title, its different values, the place in them of each individual, or -1."""
    factor = next(v["name"] for v in run.model["variances"] if run.pedigree_of(v["name"]) == name)
    place = find_column(run.files_of(factor, name), BORN if born is None else [born])
    if place is None and born is not None:
        notes.append(f"no file of {factor} has a column {born!r}: the trend is by generation")
    if place is not None:
        labels, codes = column_of(*place, known.ids)
        if not _are_numbers(labels):
            labels, codes = column_of(*place, known.ids, year=True)
        if labels:
            order = np.argsort([float(label) for label in labels], kind="stable")
            rank = np.empty(len(order) + 1, np.int64)
            rank[order], rank[-1] = np.arange(len(order)), -1
            return "birth year", [labels[k] for k in order.tolist()], rank[codes]
    last = int(known.pedigree.generation.max(initial=0))
    return "generation", [str(k) for k in range(last + 1)], known.pedigree.generation.astype(np.int64)


def _are_numbers(labels: list[str]) -> bool:
    try:
        return all(np.isfinite(float(label)) for label in labels)
    except ValueError:
        return False


def _focal(level: _Level, known: _Known, runs: tuple[PastRun, PastRun], notes: list[str]) -> Compared | None:
    key = level.factor, level.subfactor
    if key not in runs[0].effects or key not in runs[1].effects:
        notes.append(f"{level.subfactor}: one of the runs has no solutions of it")
        return None
    found = _compared(level, known, runs, np.flatnonzero(known.focal(level)), known.times())
    if len(found.rows) < 2:
        notes.append(f"{level.subfactor}: {len(found.rows)} focal individuals, with records after the cut-off only")
        return None
    return found


def _bulls(level: _Level, known: _Known, runs: tuple[PastRun, PastRun]) -> Compared:
    rows, t = known.bulls(level)
    time = np.zeros(len(known.ids))
    time[rows] = t
    return _compared(level, known, runs, rows, time)


def _compared(level: _Level, known: _Known, runs: tuple[PastRun, PastRun], rows: Indices, time: Floats) -> Compared:
    """Return those of some individuals that have solutions in both runs; `time` is of all individuals."""
    ids = known.ids.take(pa.array(rows))
    effects = [run.effects[level.factor, level.subfactor] for run in runs]
    at = [places(effect.levels, ids) for effect in effects]
    there = (at[0] >= 0) & (at[1] >= 0)
    p, w = (effect.value[a[there]] for effect, a in zip(effects, at, strict=True))
    rows, ids = rows[there], ids.filter(pa.array(there))
    return Compared(level.factor, level.subfactor, rows, ids, p, w, known.families(rows), time[rows])


def _effect(level: _Level, focal: Compared, known: _Known, choices: Choices, by_model: list[float]) -> EffectValidation:
    p, w = focal.p, focal.w
    variance = level.sigma2 * known.variance_factor(focal.rows)
    bootstrap = focal.bootstrap(choices.replicates, choices.seed)
    lr = lr_statistics(p, w, level.sigma2, variance, bootstrap, by_model[:2])
    born = np.isfinite(focal.time)
    trend = trend_test(
        focal.time[born],
        p[born],
        w[born],
        level.sigma2,
        Bootstrap(focal.family[born], choices.replicates, choices.seed),
        by_model[2] if len(by_model) > 2 else None,
    )
    groups = tuple(agree_by(known.labels, known.codes[focal.rows], p, w))
    key = level.factor, level.subfactor
    return EffectValidation(*key, lr, trend, known.born_by, groups, focal.ids, p, w, by_model=bool(by_model))
