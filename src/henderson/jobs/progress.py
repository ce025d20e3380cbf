"""Who is told how far a run has come."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import henderson
from henderson.jobs.convergence import Convergence
from henderson.jobs.failures import exit_code_of
from henderson.language.spec import ModelSpec
from henderson.reml.names import free_names
from henderson.reml.result import Round
from henderson.results.files import finite
from henderson.results.stages import Stage, Stages

Progress = Callable[[str, int, int], None]  # stage, done, all
Event = Mapping[str, Any]
Sink = Callable[[Event], None]

RECKONED = 0.5  # seconds between two estimates of the end


class Watcher:
    """Tells `sinks` what happens in a run, one event after the other; stands for a `Progress`, too.

    An event has its name, ``event``, ``time`` (UTC), ``elapsed`` (seconds) and

    * ``begin``: version, file, out, engine, ranks, node, pid
    * ``stage``: stage; when it is done also seconds, peak_bytes
    * ``progress``: stage, done, total
    * ``iteration``: stage, iteration, residual, rtol, remaining (seconds, None as long as nothing can be said)
    * ``round``: stage, round, most, loglik, step, decrement, seconds, components by name; of Monte Carlo rounds also
      samples and mc_ratio
    * ``end``: exit_code, message
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._start = time.monotonic()
        self._stage = ""
        self._convergence = Convergence()
        self._remaining: float | None = None
        self._reckoned = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell how much of a stage is done."""
        self._tell("progress", stage=stage, done=done, total=total)

    def begin(self, file: Path, out: Path, engine: str, ranks: int) -> None:
        """Tell that a run begins."""
        where = {"file": str(file), "out": str(out), "node": platform.node(), "pid": os.getpid()}
        self._tell("begin", version=henderson.__version__, engine=engine, ranks=ranks, **where)

    def stage(self, name: str, done: Stage | None) -> None:
        """Tell that a stage begins, or is `done`."""
        if done is None:
            self._stage, self._convergence, self._remaining = name, Convergence(), None
            self._tell("stage", stage=name)
        else:
            self._tell("stage", stage=name, seconds=done.seconds, peak_bytes=done.peak_bytes)

    def iteration(self, number: int, residual: float, rtol: float) -> None:
        """Tell an iteration of a solver, with an estimate of the seconds that are left."""
        now = time.monotonic()
        self._convergence.add(number, residual, now)
        if now - self._reckoned >= RECKONED:
            self._remaining, self._reckoned = self._convergence.remaining(rtol), now
        self._tell(
            "iteration",
            stage=self._stage or "solve",
            iteration=number,
            residual=finite(residual),
            rtol=finite(rtol),
            remaining=self._remaining,
        )

    def round(self, number: int, most: int, spec: ModelSpec, of: Round) -> None:
        """Tell a round of REML."""
        names = free_names(spec, len(of.parameters))
        noise = {} if of.noise is None else {"samples": of.noise.samples, "mc_ratio": of.noise.ratio}
        self._tell(
            "round",
            stage=self._stage or "reml",
            round=number,
            most=most,
            loglik=finite(of.loglik),
            step=of.step,
            decrement=finite(of.decrement),
            seconds=of.seconds,
            components={n: finite(v) for n, v in zip(names, of.parameters, strict=True)},
            **noise,
        )

    def end(self, error: BaseException | None) -> None:
        """Tell how the run has ended."""
        code = 0 if error is None else exit_code_of(error)
        self._tell("end", exit_code=code, message="" if error is None else str(error))

    def _tell(self, event: str, **what: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        elapsed = round(time.monotonic() - self._start, 3)
        for sink in self._sinks:
            sink({"event": event, "time": now, "elapsed": elapsed, **what})


def of_stage(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """Return what tells `progress` how much of one stage is done."""
    return lambda done, total: progress(stage, done, total)


def stages_told(progress: Progress | None) -> Stages:
    """Return the stages of a run, which a `Watcher` is told."""
    return Stages(told=progress.stage) if isinstance(progress, Watcher) else Stages()


def solve_progress(progress: Progress | None, rtol: float) -> Callable[[int, float], None]:
    """Return what tells iterations: to a `Watcher` as they are, else as the share of the way to `rtol`."""
    if isinstance(progress, Watcher):
        return lambda number, residual: progress.iteration(number, residual, rtol)

    def show(_: int, residual: float) -> None:
        if progress is not None and residual > 0:
            progress("solve", int(1000 * way(residual, rtol)), 1000)

    return show


def reml_progress(progress: Progress | None, spec: ModelSpec, most: int) -> Callable[[int, Round], None]:
    """Return what tells the rounds of REML, of which there are at `most` so many."""

    def show(number: int, of: Round) -> None:
        if isinstance(progress, Watcher):
            progress.round(number, most, spec, of)
        elif progress is not None:
            progress("reml", number, most)

    return show


def way(residual: float, rtol: float) -> float:
    """Return the share of the way from 1 to `rtol` that a residual has come, in logarithms."""
    if not (0 < residual < math.inf and 0 < rtol < 1):
        return 0.0
    return min(1.0, max(0.0, math.log(residual) / math.log(rtol)))
