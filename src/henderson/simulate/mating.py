"""Simulated pedigrees: who is whose parent, in which herd, of which sex; animals numbered in order of birth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.simulate.config import SimulationConfig
from henderson.simulate.streams import Stream, uniforms

MALE, FEMALE = 1, 2
UNKNOWN_PARENT = -1

# Ages, in years, at which dairy cattle have progeny; the first two years have founders only.
DAM_AGES = (2, 6)
SIRE_AGES = (2, 5)
HOME_BRED = 0.95  # share of animals whose dam is of their own herd
POPULARITY_EXPONENT = -0.75  # use of a bull is uniform^-0.75: of 300 bulls the best has about 6 % of all progeny

HERD, SEX, SIRE, DAM, BOUGHT, SIRE_UNKNOWN, DAM_UNKNOWN, CHOSEN, POPULARITY = range(9)
N_WORDS = 9  # random numbers of an animal, in the order above


@dataclass(frozen=True)
class SimulatedPedigree:
    """A pedigree in order of birth; all arrays but `cohort_start` have shape (n_animals,).

    sire, dam: int32 index or -1; generation: int32, 0 for founders, else 1 + the larger of the parents'; herd: int32;
    sex: int8, 1 male, 2 female; cohort_start: int64 (n_cohorts + 1,), parents are always of earlier cohorts.
    """

    sire: NDArray[np.int32]
    dam: NDArray[np.int32]
    generation: NDArray[np.int32]
    herd: NDArray[np.int32]
    sex: NDArray[np.int8]
    cohort_start: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sire)

    def cohorts(self) -> Iterator[tuple[int, int]]:
        """Return an iterator over (first, last + 1) of the cohorts."""
        yield from zip(self.cohort_start[:-1].tolist(), self.cohort_start[1:].tolist(), strict=True)


def simulate_pedigree(config: SimulationConfig, progress: Callable[[int], None]) -> SimulatedPedigree:
    """Return the pedigree; `progress` is called with the number of animals done.

    Cost: 17 bytes an animal, and the candidates of one cohort.
    """
    n = config.animals
    starts = np.arange(config.n_cohorts + 1, dtype=np.int64) * n // config.n_cohorts
    pedigree = SimulatedPedigree(
        sire=np.full(n, UNKNOWN_PARENT, dtype=np.int32),
        dam=np.full(n, UNKNOWN_PARENT, dtype=np.int32),
        generation=np.zeros(n, dtype=np.int32),
        herd=np.empty(n, dtype=np.int32),
        sex=np.empty(n, dtype=np.int8),
        cohort_start=starts,
    )
    choose = _DairyParents(config, pedigree) if config.pedigree == "dairy" else _RandomParents(config, pedigree)
    shares = _herd_shares(config)
    for cohort, (first, last) in enumerate(pedigree.cohorts()):
        choose.begin(cohort)
        for start in range(first, last, config.block):
            stop = min(start + config.block, last)
            words = uniforms(config.seed, Stream.MATING, N_WORDS, start, stop)
            pedigree.herd[start:stop] = np.searchsorted(shares, words[:, HERD])
            pedigree.sex[start:stop] = np.where(words[:, SEX] < config.female_share, FEMALE, MALE)
            sire, dam = choose.parents(pedigree.herd[start:stop], words)
            sire[words[:, SIRE_UNKNOWN] < config.share_unknown] = UNKNOWN_PARENT
            dam[words[:, DAM_UNKNOWN] < config.share_unknown] = UNKNOWN_PARENT
            pedigree.sire[start:stop], pedigree.dam[start:stop] = sire, dam
            pedigree.generation[start:stop] = 1 + np.maximum(_generation(pedigree, sire), _generation(pedigree, dam))
            choose.born(start, stop, words)
            progress(stop)
    return pedigree


def _generation(pedigree: SimulatedPedigree, parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the parents' generations, -1 for the unknown."""
    return np.where(parent >= 0, pedigree.generation[parent], np.int32(-1))


def _herd_shares(config: SimulationConfig) -> NDArray[np.float64]:
    """Return the cumulative shares of the herds but the last, whose sizes are exponential above a floor."""
    size = 0.2 - np.log(uniforms(config.seed, Stream.HERD_SIZE, 1, 0, config.n_herds)[:, 0])
    cumulative = np.cumsum(size)
    return np.asarray(cumulative[:-1] / cumulative[-1], dtype=np.float64)


def _pick(candidates: NDArray[np.int32], u: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return one candidate for each uniform number, -1 if there is none."""
    if len(candidates) == 0:
        return np.full(len(u), UNKNOWN_PARENT, dtype=np.int32)
    return candidates[(u * len(candidates)).astype(np.int64)]


class _RandomParents:
    """Parents of discrete generations: `n_sires` males and all females of the generation before, mated at random."""

    def __init__(self, config: SimulationConfig, pedigree: SimulatedPedigree) -> None:
        self.pedigree = pedigree
        self.n_sires = config.n_sires
        self.priority = np.empty(0)
        self.sires = self.dams = np.empty(0, dtype=np.int32)

    def begin(self, cohort: int) -> None:
        """Choose the parents of a generation from the one before."""
        starts, sex = self.pedigree.cohort_start, self.pedigree.sex
        if cohort > 0:
            first, last = int(starts[cohort - 1]), int(starts[cohort])
            animals = np.arange(first, last, dtype=np.int32)
            self.dams = animals[sex[first:last] == FEMALE]
            self.sires = _lowest(animals, self.priority, sex[first:last] == MALE, self.n_sires)
        self.first = int(starts[cohort])
        self.priority = np.empty(int(starts[cohort + 1]) - self.first)

    def parents(
        self, herd: NDArray[np.int32], words: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the sires and dams of a block of animals."""
        return _pick(self.sires, words[:, SIRE]), _pick(self.dams, words[:, DAM])

    def born(self, start: int, stop: int, words: NDArray[np.float64]) -> None:
        """Keep what decides which of these animals become sires."""
        self.priority[start - self.first : stop - self.first] = words[:, CHOSEN]


class _DairyParents:
    """Parents of overlapping years: bulls active for years and used unequally, cows mostly of the progeny's herd."""

    def __init__(self, config: SimulationConfig, pedigree: SimulatedPedigree) -> None:
        self.pedigree = pedigree
        self.n_new = max(1, config.n_sires // (SIRE_AGES[1] - SIRE_AGES[0] + 1))
        self.n_herds = config.n_herds
        self.bulls: list[NDArray[np.int32]] = []  # by year of birth, those that will be used
        self.popularity: list[NDArray[np.float64]] = []
        self.priority = self.use = np.empty(0)

    def begin(self, cohort: int) -> None:
        """Choose the parents of a year's births."""
        starts, sex = self.pedigree.cohort_start, self.pedigree.sex
        if cohort > 0:
            first, last = int(starts[cohort - 1]), int(starts[cohort])
            born = np.arange(last - first, dtype=np.int32)
            chosen = _lowest(born, self.priority, sex[first:last] == MALE, self.n_new)
            self.bulls.append((chosen + first).astype(np.int32))
            self.popularity.append(self.use[chosen] ** POPULARITY_EXPONENT)
        self.first = int(starts[cohort])
        self.priority, self.use = (np.empty(int(starts[cohort + 1]) - self.first) for _ in range(2))
        years = slice(max(0, cohort - SIRE_AGES[1]), max(0, cohort - SIRE_AGES[0] + 1))
        self.sires = np.concatenate([np.empty(0, dtype=np.int32), *self.bulls[years]])
        share = np.cumsum(np.concatenate([np.empty(0), *self.popularity[years]]))
        self.sire_shares = share[:-1] / share[-1] if len(share) else share
        self._cows(int(starts[max(0, cohort - DAM_AGES[1])]), int(starts[max(0, cohort - DAM_AGES[0] + 1)]))

    def _cows(self, first: int, last: int) -> None:
        """List the females of first..last by herd."""
        cows = (np.flatnonzero(self.pedigree.sex[first:last] == FEMALE) + first).astype(np.int32)
        herd = self.pedigree.herd[cows]
        self.dams = cows[np.argsort(herd, kind="stable")]
        self.herd_count = np.bincount(herd, minlength=self.n_herds)
        self.herd_first = np.cumsum(self.herd_count) - self.herd_count

    def parents(
        self, herd: NDArray[np.int32], words: NDArray[np.float64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the sires and dams of a block of animals."""
        if len(self.sires):
            sire = self.sires[np.searchsorted(self.sire_shares, words[:, SIRE])]
        else:
            sire = np.full(len(herd), UNKNOWN_PARENT, dtype=np.int32)
        count = self.herd_count[herd]
        dam = _pick(self.dams, words[:, DAM])  # bought from any herd
        home = (count > 0) & (words[:, BOUGHT] < HOME_BRED)
        dam[home] = self.dams[self.herd_first[herd[home]] + (words[home, DAM] * count[home]).astype(np.int64)]
        return sire, dam

    def born(self, start: int, stop: int, words: NDArray[np.float64]) -> None:
        """Keep what decides which of these animals become sires, and how much they are used."""
        here = slice(start - self.first, stop - self.first)
        self.priority[here], self.use[here] = words[:, CHOSEN], words[:, POPULARITY]


def _lowest(
    animals: NDArray[np.int32], priority: NDArray[np.float64], eligible: NDArray[np.bool_], n: int
) -> NDArray[np.int32]:
    """Return the `n` eligible animals (all, if fewer) with the lowest priority values, in order of birth."""
    animals, priority = animals[eligible], priority[eligible]
    if len(animals) > n:
        animals = np.sort(animals[np.argpartition(priority, n)[:n]])
    return animals
