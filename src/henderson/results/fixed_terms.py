"""The fixed part of a fit: its terms, all columns of X with those left out, and which combinations are estimable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, vstack
from scipy.sparse.linalg import splu

from henderson.equations.model import Design
from henderson.language.spec import ONE, ModelSpec, Term
from henderson.reml.result import RemlFit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FixedTerm:
    """A term as users speak of it: the same variable for all traits; `columns` number those of all of X."""

    name: str
    variables: frozenset[str]
    columns: Ints


@dataclass(frozen=True)
class FixedPart:
    """All p columns of X, those left out among them.

    number: per fixed group int64 (n_levels, width), the column; None for a random group. row: int64 (p,), the row of C,
    -1 where left out. X: per trait, CSR (n_records, p). order: int64 (p,), rank of each column's term in the equations.
    """

    number: tuple[Ints | None, ...]
    row: Ints
    X: tuple[csr_array, ...]
    order: Ints

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Return which columns were solved for."""
        return np.asarray(self.row >= 0)


def fixed_part(fit: RemlFit) -> FixedPart:
    """Return the fixed part of a fit. Memory: X."""
    design = fit.design
    number: list[Ints | None] = []
    row, order, p = [], [], 0
    for g, group in enumerate(design.groups):
        if group.covariance is not None:
            number.append(None)
            continue
        number.append(np.arange(p, p + group.size, dtype=np.int64).reshape(group.n_levels, group.width))
        row.append(fit.number[g].ravel())
        ranks = np.array([at.order if at is not None else -1 for at in group.positions], np.int64)
        order.append(np.tile(ranks, group.n_levels))
        p += group.size
    X = tuple(_design_matrix(design, number, t, p) for t in range(design.n_traits))
    nothing = np.zeros(0, np.int64)
    return FixedPart(tuple(number), np.concatenate([nothing, *row]), X, np.concatenate([nothing, *order]))


def _design_matrix(design: Design, number: list[Ints | None], trait: int, p: int) -> csr_array:
    """Return X of one trait, rows without an observation empty."""
    observed = design.patterns.any_of([trait])
    rows, columns, values = [], [], []
    for term in design.terms:
        numbers = number[design.slots[term.slot].group]
        if term.trait != trait or numbers is None:
            continue
        codes = design.slots[term.slot].codes
        at = np.flatnonzero(observed & (codes >= 0))
        rows.append(at)
        columns.append(numbers[codes[at], term.position])
        values.append(np.ones(len(at)) if term.coefficient < 0 else design.coefficients[term.coefficient][at])
    if not rows:
        return csr_array((design.n_records, p))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(design.n_records, p))


def fixed_terms(spec: ModelSpec, part: FixedPart) -> list[FixedTerm]:
    """Return the fixed terms in the order of the equations; terms of several traits on one variable are one."""
    found: dict[str, tuple[frozenset[str], list[Ints]]] = {}
    several = len(spec.equations) > 1
    shared = _shared(spec)
    order = 0
    for equation in spec.equations:
        for term in equation.terms:
            columns = np.flatnonzero(part.order == order)
            order += 1
            if len(columns) == 0:
                continue
            per_trait = several and term.subfactor not in shared
            name, variables = _name(term, spec, per_trait)
            found.setdefault(name, (variables, []))[1].append(columns)
    return [FixedTerm(name, variables, np.concatenate(c)) for name, (variables, c) in found.items()]


def _shared(spec: ModelSpec) -> set[str]:
    """Return the sub-factors that all traits have together."""
    uses: dict[str, set[str]] = {}
    for equation in spec.equations:
        for term in equation.terms:
            uses.setdefault(term.subfactor, set()).add(equation.trait)
    return {name for name, traits in uses.items() if len(traits) > 1}


def _name(term: Term, spec: ModelSpec, per_trait: bool) -> tuple[str, frozenset[str]]:
    classes = [c for c in (term.level_variable or ONE).split(":") if c != ONE]
    parts = [*classes, *(f"at({column}, {level})" for column, level in term.where)]
    if term.kind == "covariate":
        texts = [spec.polynomials[p - 1] for p in term.polynomials]
        parts.append(f"{term.variable}[{', '.join(texts)}]" if texts else term.variable)
    elif term.kind == "group":
        parts = [f"groups({term.pedigree})"]
    if per_trait:
        parts.insert(0, "trait")
    return ":".join(parts) or "(Intercept)", frozenset(parts)


@dataclass(frozen=True)
class Aliases:
    """How the columns left out depend on those kept: X_left = X_kept T, T float64 (n_kept, n_left)."""

    kept: Ints
    left: Ints
    T: Floats

    def estimable(self, K: csr_array, tolerance: float = 1e-6) -> NDArray[np.bool_]:
        """Return whether each row k of K, (m, p), is a combination of rows of X: k_left = T' k_kept."""
        if K.shape[1] == 0:
            return np.ones(K.shape[0], np.bool_)
        gap = csr_array(K)[:, self.left].toarray() - csr_array(K)[:, self.kept] @ self.T
        size = np.maximum(abs(K).max(axis=1).toarray().ravel(), 1e-300)
        return np.asarray(np.abs(gap).max(axis=1, initial=0.0) <= tolerance * size)


def aliases(part: FixedPart) -> Aliases:
    """Return the dependences among the columns of X. Cost: one sparse factor of X'X of the columns kept."""
    kept, left = np.flatnonzero(part.kept), np.flatnonzero(~part.kept)
    T = np.zeros((len(kept), len(left)))
    if len(left) and len(kept):
        stacked = csc_array(vstack(part.X))
        Xk, Xl = stacked[:, kept], stacked[:, left]
        T = splu(csc_array(Xk.T @ Xk)).solve(np.asarray((Xk.T @ Xl).toarray()))
        T[np.abs(T) < 1e-10] = 0.0
    return Aliases(kept, left, T)


def solution_vector(fit: RemlFit) -> Floats:
    """Return the solutions in the order of the rows of C."""
    parts = iter(fit.solutions)
    vector = np.zeros(max((int(n.max(initial=-1)) for n in fit.number), default=-1) + 1)
    for g, group in enumerate(fit.design.groups):
        for k, position in enumerate(group.positions):
            if position is not None:
                rows = fit.number[g][:, k]
                vector[rows[rows >= 0]] = next(parts).values[rows >= 0]
    return vector


def inverse_block(fit: RemlFit, rows: Ints, block: int = 256) -> Floats:
    """Return the elements of C^-1 among `rows`, (k, k). Cost: k solves, `block` at a time."""
    n = len(solution_vector(fit))
    found = np.empty((len(rows), len(rows)))
    for start in range(0, len(rows), block):
        mine = rows[start : start + block]
        rhs = np.zeros((n, len(mine)))
        rhs[mine, np.arange(len(mine))] = 1.0
        found[:, start : start + len(mine)] = fit.inverse_columns(rhs)[rows]
    return (found + found.T) / 2.0
