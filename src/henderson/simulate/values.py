"""The truth: breeding values with exactly known Mendelian variances, herd and permanent effects, who is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import UsageError
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from henderson.simulate.ahead import in_order
from henderson.simulate.config import SimulationConfig
from henderson.simulate.mating import FEMALE, SimulatedPedigree
from henderson.simulate.streams import Stream, correlated, normals, uniforms

INTERCEPT = 100.0
BLOCK = 1 << 14  # animals at a time, whose effects stay in the cache
DOUBLE = np.dtype(np.float64)


@dataclass(frozen=True)
class Truth:
    """What the records are made of.

    u: float64 (n_animals, n_traits, or twice as many with maternal effects); inbreeding: float64 (n_animals,);
    herd: float64 (n_herds, n_traits); recorded: int32 (n_recorded,) animals with records, in order of birth;
    permanent: float64 (n_recorded, n_traits) or None; mean, sex, age: float64 (n_traits,), `sex` the excess of females.
    """

    u: NDArray[np.float64]
    inbreeding: NDArray[np.float64]
    herd: NDArray[np.float64]
    recorded: NDArray[np.int32]
    permanent: NDArray[np.float64] | None
    mean: NDArray[np.float64]
    sex: NDArray[np.float64]
    age: NDArray[np.float64]


def draw_truth(config: SimulationConfig, pedigree: SimulatedPedigree, progress: Callable[[int], None]) -> Truth:
    """Return all effects; `progress` is called with the number of animals done."""
    recorded = _recorded(config, pedigree)
    F = inbreeding(pedigree.sire, pedigree.dam, pedigree.generation, threads=config.threads)
    herd_sd = config.per_trait(config.herd_sd)
    permanent = None
    if config.has_permanent:
        factor = np.linalg.cholesky(config.permanent())
        permanent = correlated(factor, normals(config.seed, Stream.PERMANENT, config.n_traits, 0, len(recorded)))
    return Truth(
        u=breeding_values(config, pedigree, F, config.genetic(), progress),
        inbreeding=F,
        herd=normals(config.seed, Stream.HERD_EFFECT, config.n_traits, 0, config.n_herds) * herd_sd,
        recorded=recorded,
        permanent=permanent,
        mean=np.full(config.n_traits, INTERCEPT),
        sex=config.per_trait(config.sex_effect if config.records_all else 0.0),
        age=config.per_trait(config.age_effect),
    )


def breeding_values(
    config: SimulationConfig,
    pedigree: SimulatedPedigree,
    F: NDArray[np.float64],
    sigma: NDArray[np.float64],
    progress: Callable[[int], None],
    dtype: np.dtype[Any] = DOUBLE,
) -> NDArray[Any]:
    """Return u_i = (u_sire + u_dam) / 2 + m_i with Var(m_i) = d_i `sigma`, (n_animals, n_effects).

    An unknown parent's breeding value counts as zero; d_i is then larger. Source: Quaas (1976), Biometrics 32:949.
    """
    d = mendelian_variance(pedigree.sire, pedigree.dam, F)
    factor = np.linalg.cholesky(sigma)
    n_effects = len(factor)
    u = np.empty((len(pedigree), n_effects), dtype)

    def draw(span: tuple[int, int]) -> int:
        start, stop = span
        m = correlated(factor, normals(config.seed, Stream.MENDELIAN, n_effects, start, stop))
        m *= np.sqrt(d[start:stop])[:, None]
        for parent in (pedigree.sire[start:stop], pedigree.dam[start:stop]):
            known = parent >= 0
            m[known] += 0.5 * u[parent[known]]
        u[start:stop] = m
        return stop

    block = min(config.block, BLOCK)
    for first, last in pedigree.cohorts():  # parents are of earlier ones
        spans = [(start, min(start + block, last)) for start in range(first, last, block)]
        for stop in in_order(draw, spans, config.threads):
            progress(stop)
    return u


def _recorded(config: SimulationConfig, pedigree: SimulatedPedigree) -> NDArray[np.int32]:
    """Return the animals with records, exactly as many as asked for, drawn at random from those that may have them."""
    eligible = np.arange(len(pedigree), dtype=np.int32)
    if not config.records_all:
        eligible = eligible[pedigree.sex == FEMALE]
    n = config.n_recorded
    if n > len(eligible):
        kind = "animals" if config.records_all else "females"
        raise UsageError(
            f"simulate: {config.n_records} records need {n} recorded animals, but the pedigree has {len(eligible)} "
            f"{kind}; ask for fewer records, for repeats > 1, or for recorded = 'all'"
        )
    if n == len(eligible):
        return eligible
    priority = uniforms(config.seed, Stream.RECORDED, 1, 0, len(pedigree))[eligible, 0]
    return np.sort(eligible[np.argpartition(priority, n)[:n]])
