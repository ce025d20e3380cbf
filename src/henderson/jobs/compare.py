"""Two runs beside each other: `henderson compare OLD NEW`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from henderson.errors import HendersonError, InputFileError, Problem
from henderson.ingest.files import expand
from henderson.jobs.animal_columns import BORN, SEX, column_of, find_column
from henderson.jobs.individuals import REASONS, Differences, Individuals, differences, individuals_of
from henderson.results.comparison import Agreement, Matched, agree, agree_by, largest_changes, match
from henderson.results.solution_files import places, read_components, read_effects, read_record

NOTABLE = 0.25  # of an animal's change: what of it comes from parents, or more, is told

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mover:
    """A level that has changed much: change, relative to the old standard deviation, and the reasons that are known."""

    level: str
    old: float
    new: float
    change: float
    standardised: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class EffectComparison:
    """One sub-factor: how the two runs agree over all its levels and within groups, and its top movers.

    groups: by what they are (sex, birth year, ...) the agreement in each.
    """

    factor: str
    subfactor: str
    only_old: int
    only_new: int
    all: Agreement
    groups: dict[str, list[tuple[str, Agreement]]]
    movers: tuple[Mover, ...]
    matched: Matched = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """Two runs: their sub-factors, components (old, new), sub-factors that one has alone, remarks."""

    old: Path
    new: Path
    effects: tuple[EffectComparison, ...]
    components: dict[str, tuple[float | None, float | None]]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    notes: tuple[str, ...]


class PastRun:
    """A folder of results with what its `run.json` says of the files behind it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.record = read_record(out / "run.json")
        self.effects = read_effects(out)
        self.components = read_components(out)
        self.base = Path(self.record.get("command", {}).get("directory", "."))

    @cached_property
    def model(self) -> dict[str, Any]:
        """Return the model as it was understood."""
        model: dict[str, Any] = self.record["config"]["model"]
        return model

    @cached_property
    def folder(self) -> Path:
        """Return the folder of the parameter file, where the paths in it begin."""
        return Path(self.base / self.record.get("command", {}).get("file", "")).parent

    def store(self) -> Path:
        """Return where the store is, or was."""
        recorded = self.base / str(self.record["config"].get("store", "store.zarr"))
        beside = self.out / "store.zarr"
        return beside if beside.is_dir() else recorded

    def pedigree_of(self, factor: str) -> str | None:
        """Return the pedigree that relates the levels of a factor."""
        gammas = {v["name"]: v["gamma"] for v in self.model["variances"]}
        gamma = gammas.get(factor)
        return gamma["name"] if gamma is not None and gamma["kind"] == "pedigree" else None

    def files_of(self, factor: str, pedigree: str) -> list[tuple[Path, str | int]]:
        """Return the files that may tell of the animals of a factor, each with its column of ids."""
        found: list[tuple[Path, str | int]] = [
            (self.folder / p["file"], 0) for p in self.model["pedigrees"] if p["name"] == pedigree
        ]
        mine = {s["name"] for s in self.model["subfactors"] if s["variance"] == factor}
        variables = [t["variable"] for e in self.model["equations"] for t in e["terms"] if t["subfactor"] in mine]
        try:
            records = expand(self.model["data"]["records"], self.folder, "[data] records")
        except InputFileError:
            records = []
        return found + [(path, v) for v in dict.fromkeys(variables) for path in records[:1]]


def compare(old: Path, new: Path, *, top: int = 20, sex: str | None = None, born: str | None = None) -> Comparison:
    """Return how the results in two folders differ, with what has changed in the data behind the top movers.

    top: movers of each sub-factor; sex, born: columns of the pedigree or record files, where they have other names
    than `animal_columns` knows. Raises `InputFileError` if a folder has no results, or the two have nothing in common.
    """
    runs = PastRun(old), PastRun(new)
    shared = [key for key in runs[1].effects if key in runs[0].effects]
    if not shared:
        theirs, ours = (", ".join(k[1] for k in run.effects) for run in runs)
        message = f"the runs have no sub-factor in common: {theirs} and {ours}"
        raise InputFileError(Problem(message, file=str(new), remedy="compare runs of one model"))
    known = _Known(runs, sex, born)
    effects = tuple(_effect(match(runs[0].effects[k], runs[1].effects[k]), known, top, runs) for k in shared)
    components = dict.fromkeys([*runs[0].components, *runs[1].components])
    return Comparison(
        old,
        new,
        effects,
        {n: (runs[0].components.get(n), runs[1].components.get(n)) for n in components},
        tuple(k[1] for k in runs[0].effects if k not in runs[1].effects),
        tuple(k[1] for k in runs[1].effects if k not in runs[0].effects),
        tuple(known.notes),
    )


class _Known:
    """What is known of the animals behind a factor; read once for each pedigree."""

    def __init__(self, runs: tuple[PastRun, PastRun], sex: str | None, born: str | None) -> None:
        self._runs, self._sex, self._born = runs, sex, born
        self._individuals: dict[str, tuple[Individuals, Individuals] | None] = {}
        self._columns: dict[str, list[tuple[str, list[str], NDArray[np.int64]]]] = {}
        self.notes: list[str] = []

    def individuals(self, factor: str) -> tuple[Individuals, Individuals] | None:
        """Return the individuals of a factor in both runs, None if it has none, or a store is not there."""
        names = [run.pedigree_of(factor) for run in self._runs]
        if names[0] is None or names[1] is None:
            return None
        if names[1] not in self._individuals:
            try:
                first, second = (individuals_of(r.store(), str(n)) for r, n in zip(self._runs, names, strict=True))
                self._individuals[names[1]] = (first, second)
            except (HendersonError, OSError) as error:
                self.notes.append(f"no reasons for changes of {factor}, the stores of both runs tell them: {error}")
                self._individuals[names[1]] = None
        return self._individuals[names[1]]

    def columns(self, factor: str, people: Individuals) -> list[tuple[str, list[str], NDArray[np.int64]]]:
        """Return what groups the individuals of the new run: title, names of the groups, group of each, -1: none."""
        if factor not in self._columns:
            run = self._runs[1]
            files = run.files_of(factor, str(run.pedigree_of(factor)))
            found = []
            for title, given, names in (("sex", self._sex, SEX), ("birth year", self._born, BORN)):
                place = find_column(files, names if given is None else [given])
                if place is None and given is not None:
                    self.notes.append(f"no file of {factor} has a column {given!r}")
                if place is not None:
                    labels, codes = column_of(*place, people.ids, year=title == "birth year")
                    found += [(title, labels, codes)] if labels else []
            if all(title != "birth year" for title, *_ in found):
                last = int(people.generation.max(initial=0))
                found.append(("generation", [str(k) for k in range(last + 1)], people.generation))
            self._columns[factor] = found
        return self._columns[factor]


def _effect(matched: Matched, known: _Known, top: int, runs: tuple[PastRun, PastRun]) -> EffectComparison:
    old, new = matched.values
    groups: dict[str, list[tuple[str, Agreement]]] = {}
    people = known.individuals(matched.new.factor)
    told: Differences | None = None
    if people is not None:
        levels = matched.new.levels.take(pa.array(matched.new_rows))
        rows = places(people[0].ids, levels), places(people[1].ids, levels)
        told = differences(*people, *rows)
        for title, labels, codes in known.columns(matched.new.factor, people[1]):
            own = np.where(rows[1] >= 0, codes[np.maximum(rows[1], 0)], -1)
            groups[title] = agree_by(labels, own, old, new)
        groups["reason"] = [(r, agree(old[told.holds[r]], new[told.holds[r]])) for r in REASONS if told.holds[r].any()]
    everything = agree(old, new)
    parents = None if told is None else _parents_moved(matched, told)
    movers = []
    for k in largest_changes(old, new, top).tolist():
        change = float(new[k] - old[k])
        reasons = [] if told is None else told.reasons(k)
        if parents is not None:
            reasons += _inherited(parents, k, change)
            reasons = reasons or [REASONS[-1]]
        sd = everything.sd_old
        relative = (change - everything.mean_change) / sd if sd > 0 else float("nan")
        level = str(matched.new.levels[int(matched.new_rows[k])].as_py())
        movers.append(Mover(level, float(old[k]), float(new[k]), change, relative, tuple(reasons)))
    effect = matched.new
    return EffectComparison(
        effect.factor, effect.subfactor, matched.only_old, matched.only_new, everything, groups, tuple(movers), matched
    )


def _parents_moved(matched: Matched, told: Differences) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the change of the sire and of the dam of each level, NaN where that is not known."""
    at = np.full(len(told.new.ids) + 1, np.nan)  # the last: unknown parents
    old, new = matched.values
    rows = told.new_rows
    at[rows[rows >= 0]] = (new - old)[rows >= 0]
    there = np.maximum(rows, 0)

    def of(parent: NDArray[np.int64]) -> NDArray[np.float64]:
        whose = np.where(rows >= 0, parent[there], -1)
        return np.asarray(at[np.where(whose >= 0, whose, len(at) - 1)], np.float64)

    return of(told.new.sire), of(told.new.dam)


def _inherited(parents: Sequence[NDArray[np.float64]], k: int, change: float) -> list[str]:
    """Return which parents have moved so much that half of it is a notable part of the change."""
    found = []
    for name, moved in zip(("sire", "dam"), parents, strict=True):
        if abs(0.5 * moved[k]) >= NOTABLE * abs(change) > 0.0:
            found.append(f"{name} moved {moved[k]:+.3g}")
    return found
