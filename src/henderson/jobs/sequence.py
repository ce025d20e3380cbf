"""The jobs of a run in order: which solve is missing before them, what each of them needs to know, what it leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from henderson.errors import InputFileError, Problem
from henderson.language.spec import JobSpec, ModelSpec, Option
from henderson.solvers.solutions import Solutions

SOLVING = ("method", "preconditioner", "rtol", "xtol", "max_it")
RECORD_JOBS = ("yhat", "residuals")  # they write a file of the records, from solutions that are there
DEFAULT_RTOL = 1e-8  # as lmt; the last step has to be small too (solvers.pcg)


@dataclass(frozen=True)
class JobDone:
    """What a job has left: its entry in `run.json`, solutions if any (over processes, what all know), its files."""

    job: JobSpec
    record: dict[str, Any]
    solutions: Solutions | None = None
    files: tuple[Path, ...] = ()

    @property
    def converged(self) -> bool:
        """Return whether the jobs after it can be done."""
        return self.solutions is None or self.solutions.report.converged


def with_solves(jobs: Sequence[JobSpec], *, factors: bool = True) -> tuple[JobSpec, ...]:
    """Return the jobs with a solve before the first that needs solutions and finds none.

    factors: whether the engine can factor the equations, which gives accuracies and solutions at once.
    """
    done: list[JobSpec] = []
    for job in jobs:
        if not any(d.name not in RECORD_JOBS for d in done) and needs_solutions(job, factors):
            sampled = job.name == "pev" and pev_method(job) in ("sampling", "approximate")
            options = {k: v for k, v in job.options if k in SOLVING and not sampled}
            done.append(JobSpec("solve", tuple(options.items())))
        done.append(job)
        if job.name == "reml" and job.get("residuals") is True and all(j.name != "residuals" for j in jobs):
            done.append(JobSpec("residuals"))
    return tuple(done)


def with_preconditioners(spec: ModelSpec) -> ModelSpec:
    """Return the model with a preconditioner in each job that iterates and names none.

    It is ``sweep`` where levels are individuals of a pedigree, whose relatives it takes in turn, else ``border``.
    """
    related = {v.name for v in spec.variances if v.gamma.kind == "pedigree" and not v.own_sigmas}
    kind = "sweep" if any(s.variance in related for s in spec.subfactors) else "border"

    def chosen(job: JobSpec) -> JobSpec:
        iterates = job.name == "solve" and job.get("method") != "direct"
        iterates |= job.name == "pev" and pev_method(job) == "pcg"
        if not iterates or job.get("preconditioner") is not None:
            return job
        return replace(job, options=(*job.options, ("preconditioner", kind)))

    return replace(spec, jobs=tuple(chosen(job) for job in spec.jobs))


def needs_solutions(job: JobSpec, factors: bool) -> bool:
    """Return whether a job begins from solutions."""
    return job.name in RECORD_JOBS or (job.name == "pev" and not (factors and pev_method(job) == "direct"))


def pev_method(job: JobSpec) -> Literal["pcg", "direct", "sampling", "approximate"]:
    """Return how accuracies are computed: all by a factor, by samples or nearly, or chosen ones by solves."""
    chosen = any(job.get(key) is not None for key in ("factor", "levels", "levelfile", "nrhs"))
    sampled = any(job.get(key) is not None for key in ("samples", "seed"))
    nearly = bool(job.get("contributions")) or job.get("exact") is not None
    known = "pcg" if chosen else "sampling" if sampled else "approximate" if nearly else "direct"
    method = job.get("method", known)
    return method if method in ("pcg", "sampling", "approximate") else "direct"  # type: ignore[return-value]


def sampling_options(job: JobSpec) -> dict[str, Any]:
    """Return the options of a job that samples prediction error variances."""
    found = options_of(job, "samples", "seed", "rtol", "max_it")
    return {"n_samples" if k == "samples" else k: v for k, v in found.items()}


def rtol_of(job: JobSpec) -> float:
    """Return the tolerance by which the progress of a job is measured: `rtol`, else `xtol`, else the default."""
    values = [job.get(key) for key in ("rtol", "xtol")]
    return next((float(v) for v in values if isinstance(v, int | float)), DEFAULT_RTOL)


def tolerances(job: JobSpec) -> dict[str, float]:
    """Return `rtol` and, if the job has it, `xtol`; with `xtol` alone only the last change of the solutions counts."""
    xtol = job.get("xtol")
    if not isinstance(xtol, int | float):
        return {"rtol": rtol_of(job)}
    return {"rtol": math.inf if job.get("rtol") is None else rtol_of(job), "xtol": float(xtol)}


def options_of(job: JobSpec, *names: str) -> dict[str, Any]:
    """Return those of the options `names` that a job has."""
    return {k: v for k, v in job.options if k in names}


def factors_of(job: JobSpec) -> tuple[str, ...]:
    """Return the factors and sub-factors that a job names."""
    return _texts(job.get("factor"))


def levels_of(job: JobSpec, spec: ModelSpec) -> tuple[str, ...] | None:
    """Return the ids that a job names, in its list and in its file; None if it has neither.

    Raises `InputFileError` for a file that cannot be read, or without ids.
    """
    if job.get("levels") is None and job.get("levelfile") is None:
        return None
    levels = _texts(job.get("levels"))
    name = job.get("levelfile")
    return levels if name is None else (*levels, *read_ids(spec.path(str(name)), "correct 'levelfile'"))


def _texts(option: Option | None) -> tuple[str, ...]:
    if option is None:
        return ()
    return tuple(map(str, option)) if isinstance(option, tuple) else (str(option),)


def read_ids(path: Path, remedy: str) -> list[str]:
    """Return the ids in a file, separated by commas or lines; `#` begins a comment.

    Raises `InputFileError` if it cannot be read (with the `remedy`), or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputFileError(Problem("there is no such file", file=str(path), remedy=remedy)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputFileError(Problem(f"the ids cannot be read ({error})", file=str(path))) from None
    ids = [part.strip() for line in lines if not line.lstrip().startswith("#") for part in line.split(",")]
    if not (found := [i for i in ids if i]):
        raise InputFileError(Problem("holds no ids", file=str(path), remedy="write one id a line, or leave it out"))
    return found
