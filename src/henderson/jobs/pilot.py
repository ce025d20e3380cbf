"""Small solves of pieces of a store: what a round costs here, how many there are, and how both grow with the size."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from henderson.equations.memory import (
    Counts,
    counted,
    counts_of,
    counts_of_store,
    estimate_embedded,
    most_equations,
)
from henderson.jobs.progress import Progress
from henderson.jobs.sequence import options_of, tolerances
from henderson.jobs.write import file_orders, write_page
from henderson.language.spec import JobSpec, ModelSpec
from henderson.partitions.clock import Clock
from henderson.results.solution_tables import PARQUET_ABOVE, write_solutions
from henderson.results.stages import Stages
from henderson.results.summary import digest_effects
from henderson.solvers.conjugation import SMALL
from henderson.solvers.solve import Equations
from henderson.store.pieces import pieces
from henderson.store.slices import StoreParts

PILOT = 2_000_000  # equations of the largest pilot
MOST = 0.4  # of the whole that the largest pilot takes at most
STEPS = (12.0, 3.5, 1.0)  # times that the pilots are smaller than the largest one
STRETCHES = 8
STEADY = (0.8, 1.25)  # seconds a unit grow between two pilots by no more than this, or the machine was busy
CONSTANT = (0.0, 1.25)  # of what takes its time whatever the size
LEVELLING = 0.6  # of the slope between the pilots that goes on beyond them, as rounds level off
FASTEST, SLOWEST = 0.4, 2.5  # rounds of the whole relative to those of the largest pilot, at most
START = 5.0  # seconds: what takes longer at the start is compiled once on every machine

ON_RECORDS = ("design", "rank", "partitions")
ON_EQUATIONS = ("setup", "write")


@dataclass(frozen=True)
class Pilot:
    """What a solve of pieces took: seconds by stage and of a round, as they are if no other program is in the way.

    whole: of all the data; most: upper bound of the equations from counts; beside: bytes of the process at its peak
    beside what was reckoned for it.
    """

    whole: bool
    most: int
    records: int
    individuals: int
    equations: int
    rounds: int
    converged: bool
    round_seconds: float
    seconds: Mapping[str, float]
    beside: int
    row_bytes: float


@dataclass(frozen=True)
class Extrapolated:
    """What the pilots say of the whole: rounds, in which range; seconds of a round and by stage; bytes of the program.

    exact: the pilot was the whole. row_bytes: of a solution in the file of results.
    """

    equations: int
    rounds: int
    rounds_low: int
    rounds_high: int
    round_seconds: float
    seconds: Mapping[str, float]
    program: int
    row_bytes: float
    exact: bool
    converged: bool


def run_pilots(
    spec: ModelSpec,
    job: JobSpec,
    store: Path,
    n_equations: int,
    *,
    threads: int,
    largest: int = PILOT,
    before: float = 0.0,
    progress: Progress | None = None,
) -> tuple[Pilot, ...]:
    """Return pilots of growing size, of at most `largest` equations or `MOST` of the whole; a small whole is solved.

    The first solve, of the smallest pieces, is thrown away: it loads what every run loads. `before`: the processor's
    seconds of this process until the plan began, which every run takes, too.
    """
    parts = StoreParts(store)
    parquet = n_equations > PARQUET_ABOVE
    size = min(float(largest), MOST * n_equations)
    shares = [1.0] if MOST * n_equations <= SMALL else [size / step / n_equations for step in STEPS]
    # smaller ones are solved in another way
    shares = [s for s in shares if s * n_equations > SMALL] or shares[-1:]
    started = time.process_time()
    few = replace(job, options=tuple({**dict(job.options), "max_it": 3}.items()))
    found = [_run(spec, few, parts, shares[0], threads, parquet)]
    start = before + min(START, time.process_time() - started)
    found.clear()
    for k, share in enumerate(shares):
        if progress is not None:
            progress("pilot solves", k, len(shares))
        pilot = _run(spec, job, parts, share, threads, parquet)
        found.append(replace(pilot, seconds={"start": start, **pilot.seconds}))
        if progress is not None:
            progress("pilot solves", k + 1, len(shares))
    return tuple(found)


def _run(spec: ModelSpec, job: JobSpec, parts: StoreParts, share: float, threads: int, parquet: bool) -> Pilot:
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        clock = Clock()
        yield
        seconds[name] = clock.alone

    watched = Stages()
    with watched.stage("pilot"), tempfile.TemporaryDirectory(prefix="henderson-plan-") as folder:
        data = pieces(parts, share, STRETCHES)
        counts = counts_of(data)
        n_records, n_individuals = counts.n_records, sum(counts.n_individuals.values())
        rounds: list[tuple[int, Clock]] = []  # the first, and a clock from its end on
        ends: list[float] = [0.0, 0.0]  # rounds since then, and their seconds
        orders = file_orders(spec, data)

        def clocked(iteration: int, _: float) -> None:
            if not rounds:
                rounds.append((iteration, Clock()))
            ends[:] = [iteration - rounds[0][0], rounds[0][1].alone]

        with Equations(spec, data, threads) as equations:
            equations.let_go_of_records()
            del data
            options: dict[str, Any] = tolerances(job) | options_of(job, "preconditioner", "max_it")
            found = equations.solve(
                callback=clocked,
                **options,
            )
        seconds |= {s.name: s.alone for s in found.stages}
        with timed("write"):
            path = write_solutions(
                found.subfactors, Path(folder), orders=orders, parquet_above=0 if parquet else PARQUET_ABOVE
            )
            n_rows, size = sum(p.n_rows for p in found.subfactors), path.stat().st_size
        with timed("report"):
            write_page(spec, [(job, found)], digest_effects(found.subfactors), [], Path(folder))
    each = ends[1] / ends[0] if ends[0] else seconds["solve"] / max(1, found.report.iterations)
    reckoned = sum(item.bytes for item in estimate_embedded(spec, counts))
    return Pilot(
        share >= 1.0,
        most_equations(spec, counts),
        n_records,
        n_individuals,
        found.n_equations,
        found.report.iterations,
        found.report.converged,
        each,
        seconds,
        watched.done[0].peak_bytes - reckoned,
        size / max(1, n_rows),
    )


def extrapolated(pilots: Sequence[Pilot], spec: ModelSpec, counts: Counts) -> Extrapolated:
    """Return what pilots say of a problem of this size.

    Seconds grow as between the two largest pilots, rounds with the logarithm of the equations. Where counts give but an
    upper bound of the equations, as for interactions, there are fewer by the share of the largest pilot.
    """
    last = pilots[-1]
    exact = last.whole
    work = counts.n_records + sum(counts.n_individuals.values())
    n_equations = round(most_equations(spec, counts) * last.equations / last.most)
    seconds = {"start": last.seconds["start"]}
    for name in ON_RECORDS:
        seconds[name] = grown([(p.records + p.individuals, p.seconds[name]) for p in pilots], work)
    for name in ON_EQUATIONS:
        seconds[name] = grown([(p.equations, p.seconds[name]) for p in pilots], n_equations)
    seconds["report"] = grown([(p.equations, p.seconds["report"]) for p in pilots], n_equations, CONSTANT)
    each = grown([(p.equations, p.round_seconds) for p in pilots], n_equations)
    rounds, low, high = rounds_of_whole([(p.equations, p.rounds) for p in pilots], n_equations)
    if exact:
        rounds = low = high = last.rounds
    return Extrapolated(
        n_equations,
        rounds,
        low,
        high,
        each,
        seconds,
        max(0, round(mean(p.beside for p in pilots))),  # what earlier pilots leave behind adds to the last one's
        last.row_bytes,
        exact,
        all(p.converged for p in pilots),
    )


def rounds_of_whole(pilots: Sequence[tuple[int, int]], n_equations: int) -> tuple[int, int, int]:
    """Return the rounds of `n_equations`, and between what they likely are, from (equations, rounds) of pilots.

    A line over log(equations) that levels off beyond the pilots, the larger of which count more: pieces of few herds
    differ among each other.
    """
    n, last = pilots[-1]
    if len(pilots) == 1:
        return last, max(1, round(0.5 * last)), math.ceil(1.5 * last)
    x = np.log([size for size, _ in pilots])
    slope, level = np.polyfit(x, [rounds for _, rounds in pilots], 1, w=np.exp(x / 4.0)).tolist()
    at = slope * (x[-1] + LEVELLING * max(0.0, math.log(n_equations / n))) + level
    rounds = min(max(at, FASTEST * last), SLOWEST * last)
    off = max(abs(found - slope * math.log(size) - level) for size, found in pilots)
    spread = 0.1 * rounds + off + 0.25 * abs(rounds - last)
    return round(rounds), max(1, round(rounds - spread)), round(rounds + spread)


def grown(points: Sequence[tuple[int, float]], size: int, steady: tuple[float, float] = STEADY) -> float:
    """Return the seconds at `size` from those at smaller sizes, ascending.

    steady: bounds of what a further unit takes, relative to the mean of those so far.
    """
    n, t = points[-1]
    if size <= n:
        return t * size / max(1, n)
    each = t / max(1, n)
    slope = each
    if len(points) > 1 and n > points[-2][0]:
        slope = (t - points[-2][1]) / (n - points[-2][0])
    slope = min(max(slope, steady[0] * each), steady[1] * each)
    return t + slope * (size - n)


def scan(store: Path) -> tuple[Counts, float]:
    """Return the counts of a store, with how many individuals have records or progeny, and bytes decoded a second.

    Cost: see `equations.memory.counted`. The rate is infinite if the records name no individuals.
    """
    parts, clock = StoreParts(store), Clock()
    counts = counted(store, counts_of_store(store))
    decoded = 0
    for _, name in parts.columns.related:
        decoded += 4 * counts.n_records
        if name in parts.pedigrees:
            decoded += 2 * 4 * counts.n_individuals[name]  # sires and dams
    return counts, decoded / clock.alone if decoded else math.inf
