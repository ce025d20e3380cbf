"""Generalised least squares with dense matrices: tests and predictions from the definitions, for small frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


def dummies(values: Sequence[str], levels: Sequence[str]) -> np.ndarray:
    """One column of zeros and ones for each level."""
    return np.array([[float(v == level) for level in levels] for v in values]).reshape(len(values), len(levels))


def interaction(frame: pd.DataFrame, columns: Sequence[str], levels: dict[str, list[str]]) -> np.ndarray:
    """One column for each combination of levels, whether it occurs or not."""
    product = np.ones((len(frame), 1))
    for column in columns:
        mine = dummies(list(frame[column]), levels[column])
        product = np.einsum("ij,ik->ijk", product, mine).reshape(len(frame), -1)
    return product


@dataclass(frozen=True)
class Dense:
    """y ~ N(X b, V), X with all columns, dependent ones too."""

    y: np.ndarray
    X: np.ndarray
    V: np.ndarray

    @property
    def information(self) -> np.ndarray:
        return self.X.T @ np.linalg.solve(self.V, self.X)

    def reduction(self, columns: np.ndarray) -> tuple[float, int]:
        """R(columns) = y' V^-1 X (X'V^-1 X)^- X' V^-1 y, and the rank of X there."""
        X = self.X[:, columns]
        if X.shape[1] == 0:
            return 0.0, 0
        half = np.linalg.cholesky(np.linalg.inv(self.V)).T
        Q, _, _ = np.linalg.svd(half @ X, full_matrices=False)
        rank = int(np.linalg.matrix_rank(half @ X, tol=1e-8 * np.linalg.norm(half @ X)))
        return float(np.sum((Q[:, :rank].T @ (half @ self.y)) ** 2)), rank

    def estimate(self, L: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """L b with its standard errors, and whether each row is estimable."""
        inverse = np.linalg.pinv(self.information, rcond=1e-11)
        b = inverse @ self.X.T @ np.linalg.solve(self.V, self.y)
        _, s, Vt = np.linalg.svd(self.X)
        null = Vt[int(np.sum(s > 1e-9 * s[0])) :]
        estimable = np.abs(L @ null.T).max(axis=1, initial=0.0) < 1e-8 * np.maximum(np.abs(L).max(axis=1), 1.0)
        return L @ b, np.sqrt(np.einsum("ij,jk,ik->i", L, inverse, L)), estimable

    def predict(self, L: np.ndarray, K: np.ndarray, Z: np.ndarray, G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """L b + K u with standard errors of L (b_hat - b) + K (u_hat - u); V must be Z G Z' + R."""
        inverse = np.linalg.pinv(self.information, rcond=1e-11)
        half = np.linalg.solve(self.V, self.X)
        P = np.linalg.inv(self.V) - half @ inverse @ half.T
        b = inverse @ half.T @ self.y
        u = G @ Z.T @ P @ self.y
        cross = -inverse @ half.T @ Z @ G  # Cov(b_hat - b, u_hat - u)
        pev = G - G @ Z.T @ P @ Z @ G
        variance = (
            np.einsum("ij,jk,ik->i", L, inverse, L)
            + 2 * np.einsum("ij,jk,ik->i", L, cross, K)
            + np.einsum("ij,jk,ik->i", K, pev, K)
        )
        return L @ b + K @ u, np.sqrt(variance)
