"""Dense BLUP of a small model from its definition: V = Z G Z' + R, generalised least squares, u = G Z' V^-1 (y - X b).

Nothing is shared with the program but the description of the model and the data; all loops are plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from henderson.language.polynomials import evaluate
from henderson.language.spec import ModelSpec, Term
from henderson.store.model_data import ModelData, Pedigree


@dataclass(frozen=True)
class DenseBlup:
    """Random solutions and PEV by (sub-factor, position, level); the fixed part by (trait, record); its columns."""

    random: dict[tuple[str, int, str], float]
    pev: dict[tuple[str, int, str], float]
    prior: dict[tuple[str, int, str], float]
    fixed_part: dict[tuple[int, int], float]
    columns: list[tuple[str, int, str]]
    X: np.ndarray
    rank: int


def relationship(pedigree: Pedigree) -> np.ndarray:
    """A = T D T', T by path tracing: row i is e_i + (T_sire + T_dam) / 2, D the mendelian variances."""
    n = len(pedigree)
    T = np.zeros((n, n))
    for i in np.argsort(pedigree.generation, kind="stable"):
        T[i, i] = 1.0
        for parent in (pedigree.sire[i], pedigree.dam[i]):
            if parent >= 0:
                T[i] += 0.5 * T[parent]
    return T @ np.diag(pedigree.mendelian_variance) @ T.T


def label_at(data: ModelData, variable: str, record: int, related_to: str | None = None) -> str | None:
    """The level of `variable` on a record as text, None if it has none."""
    records = data.records
    if variable == "1":
        return "1"
    if variable in records.classes:
        code = int(records.classes[variable][record])
        return data.levels[variable].text(code, code + 1)[0] if code >= 0 else None
    keys = [k for k in records.related if k[0] == variable and related_to in (None, k[1])]
    if keys:
        code = int(records.related[keys[0]][record])
        owner = data.pedigrees.get(keys[0][1]) or data.matrices[keys[0][1]]
        if code >= 0:
            return owner.labels.text(code, code + 1)[0]
        return "0" if code == -2 and related_to is None else None
    parts = [label_at(data, part, record) for part in variable.split(":")]
    return None if None in parts else ":".join(parts)


def entries(spec: ModelSpec, data: ModelData, term: Term, trait: int, record: int) -> list[tuple[str, float]] | None:
    """(level, coefficient) of each position of a term on a record, or None if it has no level there."""
    variance = spec.subfactor(term.subfactor).variance
    gamma = spec.variance(variance).gamma if variance else None
    level = ""
    if term.level_variable is not None:
        found = label_at(data, term.level_variable, record, gamma.name if gamma else None)
        if found is None:
            return None
        level = found
    if term.kind == "class":
        return [(level, 1.0)]
    column = data.records.covariates[term.variable]
    x = float(column[record])
    if term.centred and variance is None:
        y = data.records.responses[spec.traits[trait]]
        same = [
            float(column[r])
            for r in range(len(data.records))
            if not np.isnan(y[r]) and (term.nested_in is None or label_at(data, term.nested_in, r) == level)
        ]
        x -= float(np.mean(same))
    if not term.polynomials:
        return [(level, x)]
    return [(level, float(evaluate(spec.polynomials[p - 1], np.array([x]))[0])) for p in term.polynomials]


def dense_blup(spec: ModelSpec, data: ModelData) -> DenseBlup:
    rows = [
        (t, r)
        for r in range(len(data.records))
        for t, trait in enumerate(spec.traits)
        if not np.isnan(data.records.responses[trait][r])
    ]
    design: dict[tuple[str, int, str], dict[int, float]] = {}
    for k, (t, r) in enumerate(rows):
        for term in spec.equations[t].terms:
            for position, (level, value) in enumerate(entries(spec, data, term, t, r) or []):
                column = design.setdefault((term.subfactor, position, level), {})
                column[k] = column.get(k, 0.0) + value
    y = np.array([data.records.responses[spec.traits[t]][r] for t, r in rows])

    def dense(keys: list[tuple[str, int, str]]) -> np.ndarray:
        W = np.zeros((len(rows), len(keys)))
        for c, key in enumerate(keys):
            for k, value in design.get(key, {}).items():
                W[k, c] = value
        return W

    sigma_e = np.array(spec.residual.sigma)
    R = np.zeros((len(rows), len(rows)))
    for i, (t, r) in enumerate(rows):
        for j, (u, s) in enumerate(rows):
            if r == s:
                w = 1.0 if data.records.weights is None else data.records.weights[r]
                R[i, j] = sigma_e[t, u] / w
    V = R.copy()
    parts = []
    for variance in spec.variances:
        if variance.name == "res":
            continue
        members = [s for s in spec.subfactors if s.variance == variance.name]
        sigma = np.array(variance.sigma)
        if variance.gamma.kind == "pedigree":
            levels = data.pedigrees[variance.gamma.name].labels.text()
            gamma = relationship(data.pedigrees[variance.gamma.name])
        elif variance.gamma.kind == "matrix":
            matrix = data.matrices[variance.gamma.name]
            levels = matrix.labels.text()
            gamma = np.linalg.inv(matrix.inverse.toarray())
        else:
            names = {s.name for s in members}
            levels = sorted({key[2] for key in design if key[0] in names})
            gamma = np.eye(len(levels))
        keys, at = [], []
        for s in members:
            for k, position in enumerate(s.positions):
                for n, level in enumerate(levels):
                    keys.append((s.name, k, level))
                    at.append((n, position - 1))
        G = np.array([[gamma[i, j] * sigma[p, q] for j, q in at] for i, p in at])
        Z = dense(keys)
        V += Z @ G @ Z.T
        parts.append((keys, Z, G))
    fixed = {s.name for s in spec.subfactors if s.variance is None}
    columns = [key for key in design if key[0] in fixed]
    X = dense(columns)
    V_inverse = np.linalg.inv(V)
    half = np.linalg.cholesky(V_inverse).T
    beta = np.linalg.lstsq(half @ X, half @ y, rcond=1e-10)[0]
    P = V_inverse - V_inverse @ X @ np.linalg.pinv(half @ X, rcond=1e-10) @ half
    random, pev, prior = {}, {}, {}
    for keys, Z, G in parts:
        u = G @ Z.T @ V_inverse @ (y - X @ beta)
        variance_of = G - G @ Z.T @ P @ Z @ G
        for c, key in enumerate(keys):
            random[key], pev[key], prior[key] = u[c], variance_of[c, c], G[c, c]
    scaled = X / np.maximum(np.sqrt((X**2).sum(axis=0)), 1e-300)
    kept = [c for c in range(len(columns)) if np.any(X[:, c] != 0.0)]
    rank = int(np.linalg.matrix_rank(scaled[:, kept], tol=1e-6)) if kept else 0
    fitted = X @ beta
    return DenseBlup(
        random, pev, prior, {rows[k]: fitted[k] for k in range(len(rows))}, [columns[c] for c in kept], X[:, kept], rank
    )
