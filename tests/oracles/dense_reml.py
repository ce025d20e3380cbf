"""Dense restricted likelihood of a small model from its definition: V as a linear function of all covariance matrices.

Nothing is shared with the program but the description of the model and the data; all loops are plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from henderson.language.spec import ModelSpec
from henderson.store.model_data import ModelData
from oracles.dense_mme import entries, label_at, relationship

Key = tuple[str, str | None]


@dataclass(frozen=True)
class DenseModel:
    """y, X of full column rank, and for each Sigma the matrices by which its elements enter V."""

    y: np.ndarray
    X: np.ndarray
    parts: dict[Key, np.ndarray]  # (n, n, size, size)

    def covariance(self, sigmas: dict[Key, np.ndarray]) -> np.ndarray:
        return sum(np.tensordot(self.parts[k], sigmas[k], 2) for k in self.parts)

    def projection(self, V: np.ndarray) -> np.ndarray:
        W = np.linalg.inv(V)
        return W - W @ self.X @ np.linalg.inv(self.X.T @ W @ self.X) @ self.X.T @ W

    def loglik(self, sigmas: dict[Key, np.ndarray], reml: bool = True) -> float:
        V = self.covariance(sigmas)
        value = np.linalg.slogdet(V)[1] + self.y @ self.projection(V) @ self.y
        if reml:
            value += np.linalg.slogdet(self.X.T @ np.linalg.solve(V, self.X))[1]
        return -0.5 * float(value)

    def average_information(
        self, sigmas: dict[Key, np.ndarray], directions: list[tuple[Key, np.ndarray]]
    ) -> np.ndarray:
        P = self.projection(self.covariance(sigmas))
        f = np.array([np.tensordot(self.parts[key], d, 2) @ P @ self.y for key, d in directions])
        return 0.5 * f @ P @ f.T


def dense_model(spec: ModelSpec, data: ModelData) -> DenseModel:
    rows = [
        (t, r)
        for r in range(len(data.records))
        for t, trait in enumerate(spec.traits)
        if not np.isnan(data.records.responses[trait][r])
    ]
    n = len(rows)
    sized = replace(
        spec,
        variances=tuple(v if v.sigma or v.name == "res" else replace(v, sigma=((1.0,),)) for v in spec.variances),
    )
    effects: dict[tuple[str, int, str], np.ndarray] = {}
    for k, (t, r) in enumerate(rows):
        for term in spec.equations[t].terms:
            for position, (level, value) in enumerate(entries(sized, data, term, t, r) or []):
                effects.setdefault((term.subfactor, position, level), np.zeros(n))[k] += value
    parts: dict[Key, np.ndarray] = {}
    for variance in spec.variances:
        if variance.name == "res":
            continue
        size = len(variance.sigma or ((1.0,),))
        if variance.gamma.kind == "pedigree":
            levels = data.pedigrees[variance.gamma.name].labels.text()
            gamma = relationship(data.pedigrees[variance.gamma.name])
        elif variance.gamma.kind == "matrix":
            levels = data.matrices[variance.gamma.name].labels.text()
            gamma = np.linalg.inv(data.matrices[variance.gamma.name].inverse.toarray())
        else:
            names = {s.name for s in spec.subfactors if s.variance == variance.name}
            levels = sorted({key[2] for key in effects if key[0] in names})
            gamma = np.eye(len(levels))
        Z = np.zeros((size, n, len(levels)))
        for s in spec.subfactors:
            if s.variance == variance.name:
                for k, position in enumerate(s.positions):
                    for c, level in enumerate(levels):
                        Z[position - 1, :, c] += effects.get((s.name, k, level), np.zeros(n))
        parts[variance.name, None] = np.einsum("pic,cd,qjd->ijpq", Z, gamma, Z)
    size = len(spec.traits)
    by = spec.residual.by
    for k, (t, r) in enumerate(rows):
        label = label_at(data, by, r) if by else None
        part = parts.setdefault(("res", label), np.zeros((n, n, size, size)))
        for m, (u, s) in enumerate(rows):
            if r == s:
                weight = 1.0 if data.records.weights is None else data.records.weights[r]
                part[k, m, t, u] = 1.0 / weight
    fixed = {s.name for s in spec.subfactors if s.variance is None}
    columns: list[np.ndarray] = []
    for key, column in effects.items():
        if key[0] in fixed and np.any(column):
            candidate = np.array([*columns, column]).T
            if np.linalg.matrix_rank(candidate / np.linalg.norm(candidate, axis=0), tol=1e-8) == candidate.shape[1]:
                columns.append(column)
    y = np.array([data.records.responses[spec.traits[t]][r] for t, r in rows])
    return DenseModel(y, np.array(columns).T.reshape(n, len(columns)), parts)
