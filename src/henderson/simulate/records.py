"""The rows of the simulated files, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from henderson.simulate.config import SimulationConfig
from henderson.simulate.mating import FEMALE, SimulatedPedigree
from henderson.simulate.streams import Stream, correlated, normals, random_order, uniforms
from henderson.simulate.tables import Names, numbers
from henderson.simulate.values import Truth

AGE_MEAN, AGE_RANGE = 750, 300  # days; ages are whole days, uniform within the mean +- range / 2
FIRST_YEAR = 2000  # of birth; cohorts follow each other year by year
DECIMALS = 4  # of the written responses
Columns = dict[str, Any]


def animal_names(config: SimulationConfig) -> Names:
    """Return the ids of the animals."""
    return Names("DE", 10, config.ids)


def herd_names(config: SimulationConfig) -> Names:
    """Return the ids of the herds."""
    return Names("H", 7, config.ids)


def pedigree_rows(config: SimulationConfig, pedigree: SimulatedPedigree) -> Iterator[Columns]:
    """Return an iterator over blocks of id, sire, dam."""
    names, n = animal_names(config), len(pedigree)
    order = random_order(config.seed, Stream.PEDIGREE_ORDER, n) if config.shuffle else None
    for start in range(0, n, config.block):
        stop = min(start + config.block, n)
        animal = np.arange(start, stop) if order is None else order[start:stop]
        yield {
            "id": names.column(animal),
            "sire": names.column(pedigree.sire[animal]),
            "dam": names.column(pedigree.dam[animal]),
        }


def record_rows(config: SimulationConfig, pedigree: SimulatedPedigree, truth: Truth) -> Iterator[Columns]:
    """Return an iterator over blocks of id, (dam,) herd, (sex,) age, year of birth and the traits.

    y = mean + herd + sex + b (age - mean age) + u_animal (+ maternal u_dam) (+ permanent) + e, e ~ N(0, Sigma_e).
    Residuals, ages and missing values belong to the row of the file, so a block needs no other.
    """
    animals, herds, t = animal_names(config), herd_names(config), config.n_traits
    cohorts = pedigree.cohort_start[1:]
    order = random_order(config.seed, Stream.RECORD_ORDER, config.n_records) if config.shuffle else None
    factor, missing = np.linalg.cholesky(config.residual()), config.per_trait(config.missing)
    sex_labels = pa.array(["M", "F"]) if config.ids == "text" else pa.array([1, 2])
    for start in range(0, config.n_records, config.block):
        stop = min(start + config.block, config.n_records)
        record = np.arange(start, stop) if order is None else order[start:stop]
        rank = record // config.repeats
        animal = truth.recorded[rank]
        dam, herd, is_female = pedigree.dam[animal], pedigree.herd[animal], pedigree.sex[animal] == FEMALE
        words = uniforms(config.seed, Stream.RECORD, 1 + t, start, stop)
        age = AGE_MEAN - AGE_RANGE // 2 + (words[:, 0] * (AGE_RANGE + 1)).astype(np.int64)

        y = correlated(factor, normals(config.seed, Stream.RESIDUAL, t, start, stop))
        y += truth.mean + truth.herd[herd] + is_female[:, None] * truth.sex + (age - AGE_MEAN)[:, None] * truth.age
        y += truth.u[animal, :t]
        if config.maternal:  # an unknown dam contributes nothing, as in the model
            y[dam >= 0] += truth.u[dam[dam >= 0], t:]
        if truth.permanent is not None:
            y += truth.permanent[rank]
        y = np.round(y, DECIMALS)
        y[words[:, 1:] < missing] = np.nan

        columns = {"id": animals.column(animal)}
        if config.maternal:
            columns["dam"] = animals.column(dam)
        columns["herd"] = herds.column(herd)
        if config.records_all:
            columns["sex"] = sex_labels.take(pa.array(is_female.astype(np.int8)))
        columns["age"] = numbers(age)
        columns["born"] = numbers(FIRST_YEAR + np.searchsorted(cohorts, animal, side="right"))
        yield columns | {name: numbers(y[:, i]) for i, name in enumerate(config.traits)}


def true_animal_rows(config: SimulationConfig, truth: Truth) -> Iterator[Columns]:
    """Return an iterator over blocks of id, true breeding values (``u_y1``; maternal ones ``m_y1``) and inbreeding."""
    names, n = animal_names(config), len(truth.u)
    prefixes = ("u_", "m_") if config.maternal else ("u_",)
    effects = [f"{prefix}{trait}" for prefix in prefixes for trait in config.traits]
    for start in range(0, n, config.block):
        stop = min(start + config.block, n)
        columns = {"id": names.column(np.arange(start, stop))}
        columns |= {name: numbers(truth.u[start:stop, i]) for i, name in enumerate(effects)}
        yield columns | {"inbreeding": numbers(truth.inbreeding[start:stop])}


def true_herd_rows(config: SimulationConfig, truth: Truth) -> Iterator[Columns]:
    """Return an iterator over blocks of herd and its true effects by trait."""
    names = herd_names(config)
    for start in range(0, config.n_herds, config.block):
        stop = min(start + config.block, config.n_herds)
        columns = {"herd": names.column(np.arange(start, stop))}
        yield columns | {name: numbers(truth.herd[start:stop, i]) for i, name in enumerate(config.traits)}
