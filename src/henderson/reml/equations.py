"""The equations as patterns that are found once: each round only refills the values of C.

C = W' R^-1 W + blockdiag(Gamma^-1 (x) Sigma^-1); its lower triangle is kept by columns (sorted CSC), with the place of
every contribution beside it. The same places read the traces from the selected inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, eye_array, tril

from henderson.equations.assembly import number_equations
from henderson.equations.model import Covariance, Design
from henderson.kernels import reml_records as kernels
from henderson.pedigree.transform import inverse_relationship, n_fixed_groups
from henderson.pedigree.transform import log_determinant as pedigree_log_determinant
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Masks = Sequence[NDArray[np.bool_]]
LogDeterminant = Callable[[csc_array], float]


@dataclass(frozen=True)
class RecordPart:
    """The records, in the arrays of `kernels.reml_records`; responses (n_records, n_traits), zero where missing."""

    equation: NDArray[np.int32]
    trait: Ints
    column: Ints
    coefficients: Floats
    kind: NDArray[np.uint16]
    observed: NDArray[np.bool_]
    residual_class: Ints
    weights: Floats
    responses: Floats
    pairs: Ints
    place: NDArray[np.int32]

    @property
    def terms(self) -> tuple[NDArray[np.int32], Ints, Ints, Floats]:
        """Return what most kernels begin with."""
        return self.equation, self.trait, self.column, self.coefficients


@dataclass(frozen=True)
class GammaPart:
    """One random group: the lower triangle of Gamma^-1 (level >= other), its place in C, the rows of its equations.

    number: int64 (n_levels, width), -1 where an equation is left out; rank: of Gamma^-1, n_levels without fixed groups
    in it; inverse: the whole Gamma^-1 (CSR), None for the identity; log_determinant: log
    |Gamma|.
    """

    group: int
    number: Ints
    entries: Floats
    diagonal: NDArray[np.bool_]
    place: NDArray[np.int32]
    inverse: csc_array | None
    log_determinant: float
    rank: int


@dataclass(frozen=True)
class EquationPattern:
    """The pattern of C (lower triangle, CSC) and the places of all contributions; `number` as in `assembly`."""

    design: Design
    n: int
    number: tuple[Ints, ...]
    indptr: Ints
    indices: NDArray[np.int32]
    records: RecordPart
    gammas: tuple[GammaPart, ...]

    def values(self, residual: Floats, inverses: Sequence[Floats]) -> Floats:
        """Return C on the pattern for R^-1 by kind and Sigma^-1 by random group."""
        r = self.records
        values = np.zeros(len(self.indices))
        kernels.add_records(
            r.equation, r.place, r.pairs, r.trait, r.column, r.coefficients, r.kind, r.weights, residual, values
        )
        for part, inverse in zip(self.gammas, inverses, strict=True):
            kernels.add_gamma(part.place, part.entries, np.ascontiguousarray(inverse), values)
        return values

    def random_rows(self) -> Ints:
        """Return the rows of C that belong to random effects."""
        rows = [part.number[part.number >= 0] for part in self.gammas]
        return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)


def build_pattern(
    design: Design, data: ModelData, couplings: Masks, residual_couplings: Masks, log_determinant: LogDeterminant
) -> EquationPattern:
    """Return the pattern of C.

    couplings: per random group, which elements of Sigma^-1 can differ from zero; residual_couplings: the same per
    residual class. log_determinant: function of a symmetric positive definite CSC matrix. Memory: 4 bytes for each pair
    of terms of each record, 8 while the pattern is sorted.
    """
    number, n = number_equations(design, pinned=False)
    equation = np.empty((design.n_records, len(design.terms)), np.int32)
    for k, term in enumerate(design.terms):
        slot = design.slots[term.slot]
        rows = np.append(number[slot.group][:, term.position], -1).astype(np.int32)
        equation[:, k] = rows[np.maximum(slot.codes, -1)]
    trait = np.array([t.trait for t in design.terms], np.int64)
    pairs = np.array([(a, b) for a in range(len(trait)) for b in range(a + 1)], np.int64).reshape(-1, 2)
    observed, classes = design.patterns.observed, np.asarray(design.patterns.residual, np.int64)
    wanted = np.empty((len(observed), len(pairs)), np.bool_)
    for k in range(len(observed)):
        meet = residual_couplings[classes[k]] & observed[k][:, None] & observed[k]
        wanted[k] = meet[trait[pairs[:, 0]], trait[pairs[:, 1]]]
    kind = design.patterns.codes
    keys = [np.unique(kernels.pair_keys(equation, kind, wanted, pairs, n)), np.arange(n, dtype=np.int64) * (n + 1)]
    lower = []
    random = [g for g, group in enumerate(design.groups) if group.covariance is not None]
    for g, coupling in zip(random, couplings, strict=True):
        covariance = design.groups[g].covariance
        assert covariance is not None
        inverse, log_gamma = _gamma_inverse(covariance, data, design.groups[g].n_levels, log_determinant)
        part = coo_array(tril(inverse if inverse is not None else eye_array(design.groups[g].n_levels)))
        rows, columns = part.coords
        at = _block_keys(number[g], rows.astype(np.int64), columns.astype(np.int64), coupling, n)
        keys.append(np.unique(at[at >= 0]))
        lower.append((g, part.data.astype(np.float64), rows == columns, at, inverse, log_gamma))
    found = np.unique(np.concatenate(keys))
    indices = (found % n).astype(np.int32)
    indptr = np.searchsorted(found, np.arange(n + 1, dtype=np.int64) * n)
    place = np.empty((design.n_records, len(pairs)), np.int32)
    kernels.pair_places(equation, kind, wanted, pairs, indptr, indices, place)
    gammas = tuple(
        GammaPart(g, number[g], entries, diagonal, _places(found, at), inverse, log_gamma, _rank(design, data, g))
        for g, entries, diagonal, at, inverse, log_gamma in lower
    )
    weights = np.ones(design.n_records) if design.weights is None else np.ascontiguousarray(design.weights)
    records = RecordPart(
        equation,
        trait,
        np.array([t.coefficient for t in design.terms], np.int64),
        np.ascontiguousarray(np.array(design.coefficients).T.reshape(design.n_records, len(design.coefficients))),
        kind,
        observed,
        classes,
        weights,
        np.ascontiguousarray(np.nan_to_num(np.array(design.responses)).T),
        pairs,
        place,
    )
    return EquationPattern(design, n, tuple(number), indptr, indices, records, gammas)


def _gamma_inverse(
    covariance: Covariance, data: ModelData, n_levels: int, log_determinant: LogDeterminant
) -> tuple[csc_array | None, float]:
    """Return Gamma^-1, None for the identity, and log |Gamma|."""
    if covariance.kind == "identity" or covariance.name is None:
        return None, 0.0
    if covariance.kind == "matrix":
        inverse = csc_array(data.matrices[covariance.name].inverse)
        return inverse, -log_determinant(inverse)
    pedigree = data.pedigrees[covariance.name]
    return inverse_relationship(pedigree), pedigree_log_determinant(pedigree)


def _rank(design: Design, data: ModelData, g: int) -> int:
    covariance = design.groups[g].covariance
    pedigree = data.pedigrees.get(covariance.name or "") if covariance is not None else None
    return design.groups[g].n_levels - (n_fixed_groups(pedigree) if pedigree is not None else 0)


def _block_keys(number: Ints, rows: Ints, columns: Ints, coupling: NDArray[np.bool_], n: int) -> Ints:
    """Return the keys column * n + row of the block of each entry (n_entries, width**2), -1 where there is nothing."""
    width = number.shape[1]
    p, q = (k.ravel() for k in np.indices((width, width)))
    i, j = number[rows][:, p], number[columns][:, q]
    keys = np.minimum(i, j) * n + np.maximum(i, j)
    keys[:, ~coupling.ravel()] = -1
    keys[np.ix_(rows == columns, p < q)] = -1  # the block of a level with itself: its lower triangle
    return keys


def _places(found: Ints, keys: Ints) -> NDArray[np.int32]:
    return np.where(keys >= 0, np.searchsorted(found, np.maximum(keys, 0)), -1).astype(np.int32)
