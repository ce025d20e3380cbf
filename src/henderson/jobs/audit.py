"""Checking results: `henderson verify` compares checksums, `henderson rerun` computes everything once more."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from henderson.errors import DifferenceError, InputFileError, Problem, StoreError, UsageError
from henderson.jobs.run import Settings
from henderson.results.circumstances import versions
from henderson.results.manifest import file_sha256, verify_results
from henderson.results.solution_files import places, read_components, read_effects, read_record
from henderson.store.reader import verify_store

LEAST_TOLERANCE = 1e-6
OF_RTOL = 100.0  # solutions of equations of common condition differ by so many times the tolerance of their residual
FLOOR = 1e-6  # of the largest solution of all: what is smaller in a sub-factor counts as this large

Json = dict[str, Any]


def verify(path: Path) -> dict[str, int]:
    """Return the number of files of the store, or of the results and the store beside them, that agree.

    Raises `StoreError` that names every file that is damaged, missing or not declared.
    """
    if (path / "zarr.json").is_file():
        return {"store": verify_store(path)}
    counts: dict[str, int] = {}
    problems: list[Problem] = []
    store = path / "store.zarr"
    for name, folder, check in (("results", path, verify_results), ("store", store, verify_store)):
        if name == "store" and not store.is_dir():
            continue
        try:
            counts[name] = check(folder)
        except StoreError as error:
            problems += error.problems
    if problems:
        raise StoreError(problems)
    return counts


@dataclass(frozen=True)
class Rerun:
    """A run that is to be done again: what it left, the parameter file, the settings, and where paths begin."""

    out: Path
    record: Json
    file: Path
    settings: Settings
    base: Path

    @classmethod
    def of(cls, path: Path, *, out: Path | None = None, store: Path | None = None, base: Path | None = None) -> Rerun:
        """Return what a `run.json` says; results go to `out` (default: beside the old, ``.rerun``), with a new store.

        base: where relative paths begin; None: the folder the run was started in. Raises `InputFileError` if it is not
        the record of a run of a parameter file.
        """
        record = read_record(path)
        try:
            command = record["command"]
            begin = base or Path(command["directory"])
            names = {f.name for f in dataclasses.fields(Settings)}
            given = {k: v for k, v in command["settings"].items() if k in names}
            given |= {k: None if given.get(k) is None else tuple(given[k]) for k in ("jobs", "before")}
            given |= {k: begin / given[k] if given.get(k) else None for k in ("petsc_file", "start", "variances")}
            left = path.resolve().parent
            new = out or left.with_name(f"{left.name}.rerun")
            settings = Settings(**{**given, "out": new, "store": store})
            file = begin / command["file"]
        except (KeyError, TypeError, AttributeError) as error:
            remedy = "only what a finished `henderson run`, `solve` or `reml` has written can be run again"
            raise InputFileError(Problem(f"does not say how it was run ({error})", str(path), remedy=remedy)) from None
        if new.resolve() == left:
            raise UsageError(f"--out {new} holds the results to compare with; name another folder")
        return cls(left, record, file, settings, begin)

    def check_inputs(self) -> None:
        """Raise `InputFileError` that names the inputs that are not what they were. Cost: one read of each."""
        problems = []
        for entry in self.record["inputs"]:
            path = self.base / entry["path"]
            if not path.is_file():
                remedy = "put it back, or give --base DIR: the folder where relative paths of the run begin"
                problems.append(Problem("an input of the run is missing", file=str(path), remedy=remedy))
                continue
            size, digest = path.stat().st_size, file_sha256(path)
            if digest != entry["sha256"]:
                was = f"{entry['bytes']} bytes, sha256 {entry['sha256'][:12]}..."
                remedy = "restore it, or take it as new data: `henderson run`, then `henderson compare`"
                message = f"has changed since the run: {size} bytes, sha256 {digest[:12]}..., was {was}"
                problems.append(Problem(message, file=str(path), remedy=remedy))
        if problems:
            raise InputFileError(problems)

    def changes(self, record: Json) -> list[str]:
        """Return what is not as it was in the old run, in words: model, program, libraries, machine, processes."""
        found = []
        before, now = (json.dumps(r["config"].get("model"), sort_keys=True) for r in (self.record, record))
        if before != now:
            found.append("the model is understood differently (config.model of the two run.json)")
        parallel = self.record.get("engine") == "petsc"
        theirs, ours = self.record.get("versions", {}), versions(parallel=parallel)
        for name in dict.fromkeys([*theirs, *ours]):
            if theirs.get(name) != ours.get(name):
                found.append(f"{name} was {theirs.get(name, 'absent')}, is {ours.get(name, 'absent')}")
        found += [
            f"{name} was {self.record.get(name)}, is {record.get(name)}"
            for name in ("ranks", "threads", "seeds")
            if self.record.get(name) != record.get(name)
        ]
        theirs, ours = (r.get("machine", {}).get("processor") for r in (self.record, record))
        return found + ([f"processor was {theirs}, is {ours}"] if theirs != ours else [])

    def tolerance(self) -> float:
        """Return the difference that two runs may have: 100 rtol of the loosest solve, at least 1e-6."""
        rtols = [self.settings.rtol] if self.settings.rtol is not None else []
        jobs = self.record["config"].get("model", {}).get("jobs", [])
        rtols += [float(v) for j in jobs for k, v in j.get("options", []) if k == "rtol" and j.get("name") == "solve"]
        return max([LEAST_TOLERANCE, *(OF_RTOL * r for r in rtols if math.isfinite(r))])


@dataclass(frozen=True)
class Agreement:
    """How far two runs agree: the largest relative difference, where it is, how many numbers were compared.

    Differences of solutions are relative to the largest of their sub-factor, of components to their size. problems:
    what is beyond `tolerance`, or only in one run.
    """

    largest: float
    where: str
    compared: int
    tolerance: float
    problems: Sequence[str] = ()
    changes: Sequence[str] = ()

    def require(self) -> None:
        """Raise `DifferenceError` if there are problems."""
        if self.problems:
            hint = f"; what is not as it was: {', '.join(self.changes)}" if self.changes else ""
            last = Problem(f"the two runs differ by more than {self.tolerance:g}{hint}")
            raise DifferenceError([last, *map(Problem, self.problems)])


def agreement(old: Path, new: Path, tolerance: float, changes: Sequence[str] = ()) -> Agreement:
    """Return how far the results in two folders agree: solutions with their accuracies, and variance components."""
    theirs, ours = read_effects(old), read_effects(new)
    problems = [f"sub-factor {k[1]!r} of {k[0]!r} is in one run only" for k in sorted(theirs.keys() ^ ours.keys())]
    every = max((float(np.abs(e.value).max(initial=0.0)) for e in theirs.values()), default=0.0)
    largest, where, compared = 0.0, "", 0
    for key in [k for k in theirs if k in ours]:
        before, now = theirs[key], ours[key]
        at = places(before.levels, now.levels)
        if len(at) != len(before.levels) or (at < 0).any():
            count = int((at < 0).sum()) + len(before.levels) - int((at >= 0).sum())
            problems.append(f"{key[1]}: {count} levels are in one run only")
        if before.columns.keys() != now.columns.keys():
            names = ", ".join(sorted(before.columns.keys() ^ now.columns.keys()))
            problems.append(f"{key[1]}: only one run has {names}")
        rows = np.flatnonzero(at >= 0)
        for name in [n for n in before.columns if n in now.columns]:
            a, b = before.columns[name][at[rows]], now.columns[name][rows]
            known = ~(np.isnan(a) & np.isnan(b))
            scale = max(float(np.abs(a[known]).max(initial=0.0)), FLOOR * every) or 1.0
            difference = np.abs(b - a)[known] / scale
            compared += len(difference)
            if not len(difference):
                continue
            worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
            level = now.levels[int(rows[known][worst])].as_py()
            size = float(difference[worst])
            if not size <= tolerance:
                pair = f"{a[known][worst]:.10g} and {b[known][worst]:.10g}"
                problems.append(f"{name} of {key[1]}, level {level!r}: {pair}, a relative difference of {size:.2g}")
            if not size <= largest:
                largest, where = size, f"{name} of {key[1]}, level {level!r}"
    one, other = read_components(old), read_components(new)
    problems += [f"component {name!r} is in one run only" for name in sorted(one.keys() ^ other.keys())]
    for name in [n for n in one if n in other]:
        compared += 1
        size = abs(other[name] - one[name]) / max(abs(one[name]), np.finfo(float).tiny)
        if not size <= tolerance:
            problems.append(f"component {name}: {one[name]:.10g} and {other[name]:.10g}")
        if not size <= largest:
            largest, where = size, f"component {name}"
    return Agreement(largest, where, compared, tolerance, tuple(problems), tuple(changes))
