"""Factors whose levels have a Sigma of their own, and records with one: from the numbers in the store to arrays.

Of a random factor the covariance is Theta_L (Gamma (x) I) Theta_L', Theta the block diagonal of the Sigma_i; of the
residual it is Theta itself. Equal Sigmas are kept once, with a number for each level or record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import LevelSigmas, Patterns
from henderson.errors import MAX_PRINTED, InputFileError, ModelError, Problem
from henderson.kernels import level_sigmas as kernels
from henderson.language.spec import ModelSpec, VarianceSpec
from henderson.partitions.communicator import Communicator
from henderson.partitions.layout import GroupLayout
from henderson.store.model_data import ZERO, Labels, ModelData, StoredSigmas

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Slots = Sequence[tuple[str, Codes]]  # variable, and level in the group of each record


def level_sigmas(
    variance: VarianceSpec, width: int, data: ModelData, labels: Labels, slots: Slots, communicator: Communicator
) -> LevelSigmas | None:
    """Return the Sigmas of the levels of a random group, None if all have one. **Collective**.

    labels: of the group.

    Raises
    ------
    ModelError
        On all processes alike: a level has no Sigma, and there is none for all others.

    """
    if not variance.own_sigmas:
        return None
    stored = data.sigmas[variance.name]
    default = None if variance.sigma is None else np.array(variance.sigma, np.float64).reshape(-1)
    if variance.by is not None:
        names = data.levels[variance.by] if variance.by in data.levels else _related(data, variance.by)
        classes = {level: np.array(sigma, np.float64).reshape(-1) for level, sigma in variance.classes}
        found = LevelSigmas(width, {}, None, names, classes, default)
    else:
        found = LevelSigmas(width, {}, stored.table, None, {}, default)
    name = variance.gamma.name
    number: Any
    if variance.gamma.kind == "identity":
        number, checked = _of_classes(stored, len(labels), data, slots, communicator)
    else:
        owner = data.pedigrees[name or ""] if variance.gamma.kind == "pedigree" else data.matrices[name or ""]
        number, checked = stored.of_level[slots[0][0]], np.arange(owner.start, owner.start + len(owner))
    found = LevelSigmas(width, number, found.table, found.labels, found.classes, default)
    lacking = found.lacking(checked)
    texts = [text for part in communicator.gather_all(labels.take(lacking[:MAX_PRINTED]).text()) for text in part]
    if texts:
        where = f"no class of {variance.by!r}" if variance.by else f"{variance.blocks.file if variance.blocks else ''}"
        raise ModelError(
            f"variance {variance.name!r}: levels without a Sigma, from {where} or for all others: "
            f"{', '.join(texts[:MAX_PRINTED])}; give 'sigma' for those that have none of their own"
        )
    return found


def _related(data: ModelData, column: str) -> Labels:
    name = next(name for of, name in data.records.related if of == column)
    return (data.pedigrees.get(name) or data.matrices[name]).labels


def _of_classes(
    stored: StoredSigmas, n_levels: int, data: ModelData, slots: Slots, communicator: Communicator
) -> tuple[NDArray[np.signedinteger[Any]], NDArray[np.int64]]:
    """Return the number of every level, known to all processes, and the levels that the records here use.

    Memory: one byte a level, two or four where there are more than 127 Sigmas.
    """
    number = np.full(n_levels, -1, np.int32)
    known = np.zeros(n_levels, np.bool_)
    for variable, codes in slots:
        used, first = np.unique(codes, return_index=True)
        first, used = first[used >= 0], used[used >= 0].astype(np.int64)
        own = _codes_of(data, variable)[first]
        of_level = stored.of_level[variable]
        mine = of_level[np.where(own == ZERO, len(of_level) - 1, own).astype(np.int64)]
        number[used] = np.maximum(number[used], mine)
        known[used] = True
    most = max(communicator.gather_all(int(number.max(initial=0))))
    small = next(t for t in (np.int8, np.int16, np.int32) if most <= np.iinfo(t).max)
    return np.negative(communicator.minimum(np.negative(number.astype(small)))), np.flatnonzero(known)


def _codes_of(data: ModelData, variable: str) -> Codes:
    """Return the levels of a column as the store numbers them."""
    if variable in data.records.classes:
        return data.records.classes[variable]
    keys = [key for key in data.records.related if key[0] == variable]
    return data.records.related[next((k for k in keys if k[1] in data.pedigrees), keys[0])]


@dataclass(frozen=True)
class LocalSigmas:
    """The Sigmas of the levels of one group in one partition."""

    levels: kernels.Levels

    def standardised(self, x: Floats) -> Floats:
        """Return Theta_L^-1 x on the levels of the group, zero elsewhere; x (n_local,) or (n_local, n_columns)."""
        out = np.zeros_like(x)
        kernels.standardise(self.levels, x.reshape(len(x), -1), out.reshape(len(x), -1))
        return out

    def add_restored(self, v: Floats, y: Floats) -> None:
        """Add Theta_L^-T v to `y`."""
        kernels.add_restored(self.levels, v.reshape(len(v), -1), y.reshape(len(y), -1))

    def add_diagonal(self, column: int, gamma: Floats, y: Floats) -> None:
        """Add one column of the diagonal blocks of Gamma^-1 with these Sigmas; gamma: diagonal at first elements."""
        kernels.add_diagonal(self.levels, column, gamma, y)

    def blocks(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
        """Return L_i^-T L_j^-1 of levels given by their first elements, (n, width**2)."""
        width = self.levels.width
        left, right = (
            self.levels.factors[self.levels.row[self._level(at)]].reshape(-1, width, width) for at in (rows, columns)
        )
        return np.asarray(np.einsum("nki,nkj->nij", left, right).reshape(len(rows), -1))

    def _level(self, element: NDArray[np.int64]) -> NDArray[np.int64]:
        width, first_owned, n_owned, first_ghost, _, _ = self.levels
        ghost = element >= first_ghost
        return np.where(ghost, n_owned + (element - first_ghost) // width, (element - first_owned) // width)


def local_sigmas(levels: LevelSigmas, name: str, local: GroupLayout) -> LocalSigmas:
    """Return the Sigmas of the levels that a partition owns or reads, each once. Memory: 4 bytes a level, the table."""
    here = np.concatenate([local.owned_levels(), local.ghosts]).astype(np.int64)
    index, sigmas = levels.distinct(here)
    factors = inverse_factors(sigmas, name).reshape(len(sigmas), -1)
    where = (levels.width, local.first_owned, local.n_owned, local.first_ghost)
    return LocalSigmas(kernels.Levels(*where, index, factors))


def inverse_factors(sigmas: Floats, name: str) -> Floats:
    """Return L^-1 of positive definite matrices (n, w, w), L L' = Sigma. Raises `ModelError` if one is not."""
    try:
        return np.tril(np.linalg.inv(np.linalg.cholesky(sigmas)))
    except np.linalg.LinAlgError:
        low = float(np.linalg.eigvalsh(sigmas).min())
        raise ModelError(f"a sigma of {name!r} is not positive definite: smallest eigenvalue {low:.3g}") from None


def record_sigmas(
    spec: ModelSpec, data: ModelData, patterns: Patterns, communicator: Communicator
) -> tuple[Patterns, Floats]:
    """Return the patterns split by the Sigma of each record, and the Sigmas at hand (n, n_traits, n_traits).

    Equal ones are one; over several processes they are those of the records here. **Collective**.

    Raises
    ------
    InputFileError
        On all processes alike: a record has no Sigma, or none for a trait that it observes.

    """
    variance, n_traits = spec.residual, len(spec.traits)
    stored = data.sigmas[variance.name]
    assert stored.of_record is not None
    assert stored.table is not None
    seen = patterns.any_of(list(range(n_traits)))
    used, number = np.unique(stored.of_record, return_inverse=True)
    own = used[used >= 0].astype(np.int64)
    sigmas = np.asarray(stored.table[own]).reshape(-1, n_traits, n_traits)
    if len(used) and used[0] < 0:
        default = np.full((n_traits, n_traits), np.nan) if variance.sigma is None else np.array(variance.sigma)
        sigmas = np.concatenate([default[None], sigmas])
    there = np.asarray(~np.isnan(np.diagonal(sigmas, axis1=1, axis2=2)))
    joint = number.reshape(-1) * len(patterns.observed) + patterns.codes
    pairs, codes = np.unique(joint, return_inverse=True)
    residual, of = pairs // len(patterns.observed), pairs % len(patterns.observed)
    lacking = np.asarray((patterns.observed[of] & ~there[residual]).any(axis=1))
    bad = lacking[codes.reshape(-1)] & seen
    rows = [int(r) for part in communicator.gather_all(np.sort(data.records.row[bad])[:MAX_PRINTED]) for r in part]
    if rows:
        file = variance.blocks.file if variance.blocks is not None else None
        remedy = "give every observed trait of a record a variance, or 'sigma' for records that the file leaves out"
        raise InputFileError(
            [
                Problem(f"record {r + 1} has no Sigma for a trait that it observes", file, remedy=remedy)
                for r in sorted(rows)
            ]
        )
    dtype = np.uint16 if len(pairs) <= 1 << 16 else np.uint32
    split = Patterns(codes.reshape(-1).astype(dtype), patterns.observed[of], residual.astype(np.int64))
    return split, cast(Floats, sigmas)
