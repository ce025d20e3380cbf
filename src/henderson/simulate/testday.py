"""Test-day records of dairy cows, streamed: herds with test dates, lactations, culling, seasons of heat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.pedigree.inbreeding import inbreeding
from henderson.simulate.ahead import in_order
from henderson.simulate.config import SimulationConfig
from henderson.simulate.mating import FEMALE, SimulatedPedigree, simulate_pedigree
from henderson.simulate.records import Columns, animal_names, pedigree_rows
from henderson.simulate.run import whole_folder
from henderson.simulate.streams import Stream, correlated, normals, uniforms
from henderson.simulate.tables import TableWriter, numbers
from henderson.simulate.testday_config import (
    CURVE,
    HEAT_MAX,
    HEAT_MEAN,
    INTERVAL,
    KNOTS,
    LAST_DAY,
    PARITIES,
    PARITY_GAIN,
    RESIDUAL,
    TEST_SD,
    TESTS,
    TRAITS,
    YEARS,
    TestDayConfig,
    effects,
    genetic,
    herd_year,
    model_toml,
    permanent,
    spline,
)
from henderson.simulate.values import breeding_values

YEAR = 365
HERD_TESTS = YEARS * YEAR // INTERVAL + 1  # of a herd in all years
FIRST_CALVING, CALVING_SPREAD = 730, 120  # days of age
CALVING_INTERVAL, INTERVAL_SPREAD = 365, 75
STAYS = (1.0, 0.72, 0.63)  # share of cows that begin each lactation, of those that began the one before
TESTED = 0.966  # share of test days on which a cow in milk is recorded

BORN, CALVED, GAP_2, GAP_3, STAY_2, STAY_3, CULLED = range(7)
N_WORDS = 7 + PARITIES * TESTS
Progress = Callable[[str, int, int], None]


def simulate_testday(config: TestDayConfig, out: Path, progress: Progress | None = None) -> int:
    """Return the number of test days; `out` then holds pedigree, records, the true breeding values and model.toml.

    Memory: the pedigree (some 40 bytes an animal), 4 bytes for each of 15 breeding values an animal, 8 bytes for each
    effect of a herd, and a block for every thread.
    Raises `UsageError` if `out` holds something already.
    """
    tell = progress or (lambda stage, done, total: None)
    with whole_folder(out) as work:
        return _write(config, work, tell)


def _write(config: TestDayConfig, folder: Path, progress: Progress) -> int:
    population = config.population()
    n = config.animals
    pedigree = simulate_pedigree(population, lambda done: progress("mating", done, n))
    F = inbreeding(pedigree.sire, pedigree.dam, pedigree.generation, threads=config.threads)
    u = breeding_values(
        population, pedigree, F, genetic(), lambda done: progress("breeding values", done, n), np.dtype(np.float32)
    )
    with TableWriter(folder / f"pedigree.{config.format}", config.format) as writer:
        for columns in pedigree_rows(population, pedigree):
            writer.write(columns)
    cows = _cows(config, pedigree)
    n_records = 0
    with TableWriter(folder / f"records.{config.format}", config.format) as writer:
        for done, columns in _records(config, population, pedigree, cows, u):
            n_records += len(columns["dim"])
            writer.write(columns)
            progress("test days", done, len(cows))
    with TableWriter(folder / f"truth_animals.{config.format}", config.format) as writer:
        for columns in _truth(population, u):
            writer.write(columns)
    (folder / "model.toml").write_text(model_toml(config), encoding="utf-8")
    truth = {"scale": config.scale, "seed": config.seed, "animals": n, "cows": len(cows), "records": n_records}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return n_records


def _cows(config: TestDayConfig, pedigree: SimulatedPedigree) -> NDArray[np.int32]:
    """Return the cows with records, in order of birth: females born early enough to calve."""
    last = int(pedigree.cohort_start[YEARS - 2])
    eligible = np.flatnonzero(pedigree.sex[:last] == FEMALE).astype(np.int32)
    n = min(config.cows, len(eligible))
    if n == len(eligible):
        return eligible
    priority = uniforms(config.seed, Stream.RECORDED, 1, 0, last)[eligible, 0]
    return np.sort(eligible[np.argpartition(priority, n)[:n]])


@dataclass(frozen=True)
class _Herds:
    """The effects of herds, drawn once: curves of herd-years (n, 3, 4), levels of herd-test-days (n,)."""

    curves: NDArray[np.float64]
    tests: NDArray[np.float64]

    @classmethod
    def drawn(cls, config: TestDayConfig, n_herds: int) -> _Herds:
        factor = np.linalg.cholesky(herd_year())
        z = normals(config.seed, Stream.HERD_YEAR, len(factor), 0, n_herds * YEARS)
        curves = correlated(factor, z).reshape(-1, PARITIES, len(KNOTS))
        return cls(curves, TEST_SD * normals(config.seed, Stream.TEST, 1, 0, n_herds * HERD_TESTS)[:, 0])


def _records(
    config: TestDayConfig,
    population: SimulationConfig,
    pedigree: SimulatedPedigree,
    cows: NDArray[np.int32],
    u: NDArray[np.float32],
) -> Iterator[tuple[int, Columns]]:
    """Return an iterator over (cows done, columns of their test days); a cow's numbers depend on its rank alone."""
    names = animal_names(population)
    factor = np.linalg.cholesky(permanent())
    herds = _Herds.drawn(config, population.n_herds)
    cohort = np.searchsorted(pedigree.cohort_start, cows, side="right") - 1
    noise = np.sqrt(np.array(RESIDUAL))
    basis = spline(np.arange(LAST_DAY + 1)).T  # (4, days in milk from 0)

    def block(start: int) -> tuple[int, Columns]:
        stop = min(start + config.block, len(cows))
        cow, herd = cows[start:stop], pedigree.herd[cows[start:stop]].astype(np.int64)
        words = uniforms(config.seed, Stream.TEST_DAY, N_WORDS, start, stop)
        row, parity, number, day, dim = _test_days(words, cohort[start:stop], herd, config.seed)
        z = normals(config.seed, Stream.RESIDUAL, PARITIES * TESTS, start, stop)
        own = correlated(factor, normals(config.seed, Stream.PERMANENT, len(factor), start, stop))
        own += u[cow]
        herd = herd[row]
        hy = herd * YEARS + day // YEAR
        htd = herd * HERD_TESTS + number
        heat = _heat(herd, day)
        y = PARITY_GAIN * parity + HEAT_MEAN * heat
        y += heat * own[row, parity * 5 + 4]
        for k, weight in enumerate(basis[:, dim]):
            y += weight * (CURVE[k] + own[row, parity * 5 + k] + herds.curves[hy, parity, k])
        y += herds.tests[htd]
        y += noise[parity] * z[row, parity * TESTS + _rank_in(row, parity)]
        y = np.round(y, 2)
        columns: dict[str, Any] = {"id": names.column(cow[row])}
        columns |= {"htd": numbers(htd), "hy": numbers(hy), "dim": numbers(dim), "heat": numbers(heat)}
        for p, trait in enumerate(TRAITS):
            columns[trait] = numbers(np.where(parity == p, y, np.nan))
        return stop, columns

    yield from in_order(block, range(0, len(cows), config.block), config.threads)


def _test_days(
    words: NDArray[np.float64], cohort: NDArray[np.int64], herd: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], ...]:
    """Return cow (row of `words`), parity from 0, number of the herd's test, day, days in milk; by cow and day."""
    calving = np.empty((len(words), PARITIES), np.int64)
    calving[:, 0] = cohort * YEAR + words[:, BORN] * YEAR + FIRST_CALVING + words[:, CALVED] * CALVING_SPREAD
    alive = np.ones((len(words), PARITIES), np.bool_)
    for p, (gap, stay) in enumerate(((GAP_2, STAY_2), (GAP_3, STAY_3)), start=1):
        calving[:, p] = calving[:, p - 1] + CALVING_INTERVAL + words[:, gap] * INTERVAL_SPREAD
        alive[:, p] = alive[:, p - 1] & (words[:, stay] < STAYS[p])
    last = alive.sum(axis=1) - 1
    leaves = np.full((len(words), PARITIES), LAST_DAY, np.int64)
    leaves[np.arange(len(words)), last] = (60 + words[:, CULLED] * 400).astype(np.int64)
    phase = (uniforms(seed, Stream.HERD_PHASE, 1, 0, int(herd.max(initial=0)) + 1)[:, 0] * INTERVAL).astype(np.int64)
    phase = phase[herd][:, None]
    first = -(-(calving + KNOTS[0] - phase) // INTERVAL)  # number of the first test after calving
    number = first[:, :, None] + np.arange(TESTS)
    day = phase[:, :, None] + number * INTERVAL
    dim = day - calving[:, :, None]
    seen = alive[:, :, None] & (dim >= KNOTS[0]) & (dim <= np.minimum(leaves, LAST_DAY)[:, :, None])
    seen &= words[:, 7:].reshape(seen.shape) < TESTED
    seen &= day < YEARS * YEAR
    row, parity, _ = np.nonzero(seen)
    return row, parity, number[seen], day[seen], dim[seen]


def _rank_in(row: NDArray[np.int64], parity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each test day within its cow and parity."""
    key = row * PARITIES + parity
    new = np.append(True, key[1:] != key[:-1]) if len(key) else np.zeros(0, np.bool_)
    starts = np.flatnonzero(new)
    return np.arange(len(key)) - np.repeat(starts, np.diff(np.append(starts, len(key))))


def _heat(herd: NDArray[np.int64], day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return whole degrees above the threshold: hotter regions, hotter summers."""
    region = herd % 7
    season = np.cos(2 * np.pi * (day % YEAR - 200) / YEAR)
    return np.clip(np.round(4.0 * season + region - 1.0), 0, HEAT_MAX).astype(np.int64)


def _truth(population: SimulationConfig, u: NDArray[np.float32]) -> Iterator[Columns]:
    names = animal_names(population)
    for start in range(0, len(u), population.block):
        stop = min(start + population.block, len(u))
        block = u[start:stop]
        columns = {"id": names.column(np.arange(start, stop))}
        yield columns | {name: numbers(np.ascontiguousarray(block[:, k])) for k, name in enumerate(effects())}
