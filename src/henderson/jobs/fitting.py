"""From a parameter file, or from formulas and data frames, to a fit."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from henderson.errors import HendersonError, NotConvergedError, NotSupportedError, Problem, UsageError
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.jobs.fit import Fit
from henderson.jobs.frames import File, matrix_tables, numbered_classes, pedigree_tables, plain, records_table
from henderson.jobs.reml import at_loglik, options_of
from henderson.jobs.run import Settings, run, understand
from henderson.language.jobs import make_job
from henderson.language.load import load_tables
from henderson.language.spec import ModelSpec
from henderson.language.support import unsupported
from henderson.reml.fit import fit_reml
from henderson.store.reader import open_store

CALL = "henderson.reml()"


def fit_file(file: Path, options: Mapping[str, Any], out: str | Path | None, threads: int | None) -> Fit:
    """Return the fit of a parameter file; `options` replace those of its job reml.

    With `out` the store and all files of results are left there, as by the command line.
    """
    if out is not None:
        if options:
            remedy = f"write {', '.join(options)} into its table [jobs], or leave out= out"
            raise UsageError(f"reml: with out= the options are those of the parameter file; {remedy}")
        outcome = run(file, Settings(out=Path(out), threads=threads, jobs=("reml",)))
        return Fit(outcome.fits[-1])
    spec = understand(file, ("reml",))
    faults: list[str] = []
    job = make_job("reml", {**dict(spec.jobs[0].options), **options}, lambda _, message: faults.append(message))
    if faults or job is None:
        raise UsageError("; ".join(faults))
    with tempfile.TemporaryDirectory(prefix="henderson.") as folder:
        return _fit(replace(spec, jobs=(job,)), Path(folder), threads)


def fit_frames(
    tables: dict[str, Any], settings: Mapping[str, Any], data: File, pedigree: Any, matrix: Any, threads: int | None
) -> Fit:
    """Return the fit of a model that is given as tables, on frames or files; temporary files are removed."""
    given = plain(settings)
    if classes := [*given.get("classes", []), *numbered_classes(data, str(tables["model"]))]:
        given["classes"] = list(dict.fromkeys(classes))
    with tempfile.TemporaryDirectory(prefix="henderson.") as name:
        folder = Path(name)
        whole = tables | {
            "data": records_table(data, folder) | given,
            "pedigree": pedigree_tables(pedigree, folder),
            "matrix": matrix_tables(matrix, folder),
        }
        try:
            spec = load_tables(whole, folder, read_schema, read_levels, CALL)
            if problems := unsupported(spec):
                raise NotSupportedError([replace(p, file=CALL) for p in problems])
            return _fit(spec, folder, threads)
        except HendersonError as error:
            raise type(error)([_told(p, folder) for p in error.problems]) from None


def _told(problem: Problem, folder: Path) -> Problem:
    """Return a problem without the names of temporary files, and without lines of what is no file."""

    def plainly(text: str) -> str:
        return re.sub(r"\b(data|pedigree_\d+|matrix_\d+)\.(parquet|csv)\b", r"\1", text.replace(f"{folder}/", ""))

    file = None if problem.file is None else plainly(problem.file)
    line = None if file == CALL else problem.line
    return replace(problem, message=plainly(problem.message), file=file, line=line)


def model_table(
    fixed: str, random: str | None, residual: str | None, polynomials: Sequence[str]
) -> dict[str, str | list[str]]:
    """Return the table ``[model]`` of formulas, or of equations where `fixed` has no ``~``."""
    if "~" in fixed or "=" not in fixed:
        formulas = {"fixed": fixed, "random": random, "residual": residual}
        table: dict[str, str | list[str]] = {k: v for k, v in formulas.items() if v is not None}
    elif random is None and residual is None:
        table = {"equations": fixed}
    else:
        raise UsageError("reml: equations have their random terms in them; random= and residual= belong to formulas")
    return table | ({"polynomials": list(polynomials)} if polynomials else {})


def variance_tables(
    variance: Mapping[str, Mapping[str, Any]] | None, start: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Return the tables ``[variance.NAME]``, with start values as sigma."""
    tables = {str(k): plain(v) for k, v in (variance or {}).items()}
    for name, sigma in (start or {}).items():
        table = tables.setdefault(str(name), {})
        if "sigma" in table:
            raise UsageError(f"reml: variance {name!r} has a sigma in variance= and in start=")
        table["sigma"] = plain(sigma)
    return tables


def _fit(spec: ModelSpec, folder: Path, threads: int | None) -> Fit:
    store = folder / "store.zarr"
    ingest(spec, store, workers=threads or os.cpu_count() or 1)
    fit = fit_reml(spec, open_store(store), options=replace(options_of(spec.jobs[0]), threads=threads))
    if not fit.stop_reason.converged:
        raise NotConvergedError(f"REML stopped after {fit.rounds} rounds{at_loglik(fit)}: {fit.stop_reason.value}")
    return Fit(fit)
