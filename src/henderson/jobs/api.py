"""The library in one call: a parameter file in, pandas objects out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from henderson.errors import UsageError, unknown
from henderson.jobs.fit import Fit
from henderson.jobs.fitting import fit_file, fit_frames, model_table, variance_tables
from henderson.jobs.frames import File
from henderson.jobs.run import Settings, run
from henderson.jobs.tables import Key, SolutionTables
from henderson.results.solution_tables import labels_to_arrow
from henderson.solvers.solutions import ACCURACIES, SubfactorSolutions

ALGORITHMS = ("ai", "em", "mc-ai", "mc-em", "auto")


@dataclass(frozen=True)
class Result(SolutionTables):
    """What a run found. `record` is the content of `run.json`."""

    record: dict[str, Any]
    parts: tuple[SubfactorSolutions, ...]

    @property
    def subfactors(self) -> tuple[Key, ...]:
        """Return (factor, sub-factor) of all solutions, in their order."""
        return tuple((p.factor, p.subfactor) for p in self.parts)

    def _levels(self, key: Key) -> pa.Array:
        part = self._part(key)
        return labels_to_arrow(part.labels if part.kept is None else part.labels.take(np.flatnonzero(part.kept)))

    def _columns(self, key: Key) -> dict[str, Any]:
        part = self._part(key)
        columns = {"value": part.values} | {n: v for n in ACCURACIES if (v := getattr(part, n)) is not None}
        return columns if part.kept is None else {n: v[part.kept] for n, v in columns.items()}

    def _part(self, key: Key) -> SubfactorSolutions:
        return next(p for p in self.parts if (p.factor, p.subfactor) == key)


def solve(file: str | Path, *, out: str | Path | None = None, threads: int | None = None) -> Result:
    """Return the solutions of a parameter file (TOML, or lmt's XML), after all the jobs it lists.

    Parameters
    ----------
    file
        The parameter file.
    out
        Folder for store and result files; None: a temporary one that is removed.
    threads
        Threads; None: all cores for large problems.

    Raises
    ------
    HendersonError
        For what is wrong in the parameter file, its files, or the iteration.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="henderson.") as folder:
            return solve(file, out=folder, threads=threads)
    outcome = run(Path(file), Settings(out=Path(out), threads=threads))
    return Result(outcome.record, outcome.parts)


def reml(
    fixed: str | Path,
    random: str | None = None,
    residual: str | None = None,
    *,
    data: File | None = None,
    pedigree: Any = None,
    matrix: Any = None,
    method: str = "REML",
    start: str | Mapping[str, Any] | None = None,
    variance: Mapping[str, Mapping[str, Any]] | None = None,
    functions: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    weights: str | None = None,
    missing: float | None = None,
    polynomials: Sequence[str] = (),
    out: str | Path | None = None,
    threads: int | None = None,
    **options: Any,
) -> Fit:
    """Return the fit of variance components by REML or ML: exact, or by Monte Carlo where that is too dear.

    ``reml("model.toml")`` fits the model of a parameter file (TOML, or lmt's XML). Otherwise:

    Parameters
    ----------
    fixed
        A formula in the words of ASReml-R, ``"cbind(milk, fat) ~ trait + trait:herd"``, a whole lme4 formula,
        ``"y ~ x + (x | Subject)"``, or equations in lmt's language.
    random, residual
        Formulas, ``"~ us(trait):vm(id, ped)"``, ``"~ units:us(trait)"``.
    data
        The records: a DataFrame or a file. Text and categorical columns are classes.
    pedigree
        A DataFrame or file (id, sire, dam first), which formulas call ``ped``; several by name; a mapping
        ``{"file": ..., "inbreeding": False}`` sets its switches.
    matrix
        User relationship matrices by name: DataFrames with the ids as index and columns, or files; with ``inverse``
        as ``{"K": {"file": frame, "inverse": True}}``.
    method
        ``REML``, or ``ML`` (lme4's REML = FALSE), both exact; or an algorithm of REML: ``ai`` (exact), ``em`` (exact),
        ``mc-ai`` (Monte Carlo, any size), ``mc-em`` (Monte Carlo, for many parameters), ``auto``.
    start
        ``"data"``, ``"simpler"`` (diagonal, then bivariate models first), or start values by variance.
    variance
        What a table ``[variance.NAME]`` of a parameter file holds: sigma, structure, gamma, fix, equal, by.
    functions
        Expressions by name, reported with standard errors.
    classes, weights, missing
        As in ``[data]``: numeric columns that are classes; column of weights; code of missing responses.
    polynomials
        Those of equations.
    out
        For a parameter file: folder of the store and of all result files; None: a temporary one that is removed.
    threads
        Threads; None: all cores.
    options
        Further options of the job: max_rounds, rtol, REML; of Monte Carlo mc_error, samples, most_samples, seed.

    Raises
    ------
    HendersonError
        For what is wrong in the model or the data; `NotConvergedError` if no maximum was found.

    """
    if "REML" in options:
        method = "REML" if options.pop("REML") else "ML"
    if not (start is None or isinstance(start, (str, Mapping))):
        raise UsageError(
            f'reml: start= must be "data", "simpler" or start values by variance, {{"S": [[1.0]]}}, not '
            f"{type(start).__name__}"
        )
    if method in ALGORITHMS:
        options["method"], method = method, "REML"
    if method not in ("REML", "ML"):
        raise UsageError(unknown("method", str(method), ("REML", "ML", *ALGORITHMS)))
    if data is None:
        given = {"random": random, "residual": residual, "pedigree": pedigree, "matrix": matrix, "variance": variance}
        if "~" in str(fixed) or any(v is not None for v in given.values()):
            raise UsageError("reml: data= is missing, a DataFrame or the file of the records")
        job = dict(options) | ({"REML": False} if method == "ML" else {}) | ({"start": start} if start else {})
        return fit_file(Path(fixed), job, out, threads)
    if out is not None:
        raise UsageError("reml: out= is for parameter files; a fit of a DataFrame is returned, and writes nothing")
    if isinstance(start, str):
        options["start"] = start
    tables: dict[str, Any] = {
        "model": model_table(str(fixed), random, residual, polynomials),
        "jobs": {"run": ["reml"], "reml": {**options, "REML": method == "REML"}},
        "variance": variance_tables(variance, start if isinstance(start, Mapping) else None),
        "functions": dict(functions or {}),
    }
    settings = {"classes": list(classes), "weights": weights, "missing": missing}
    return fit_frames(
        tables, {k: v for k, v in settings.items() if v not in (None, [])}, data, pedigree, matrix, threads
    )
