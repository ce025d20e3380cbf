"""Directions kept conjugate: histories that rounding does not change, fewer rounds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from henderson.partitions.exchange import SharedMemoryExchange, Vectors
from henderson.partitions.threads import Team
from henderson.solvers import conjugation
from henderson.solvers.conjugation import Conjugation
from henderson.solvers.pcg import pcg
from henderson.solvers.report import SolveReport

Floats = NDArray[np.float64]


class Cut:
    """A dense matrix as an operator of several partitions; `noise` rounds its products otherwise."""

    def __init__(self, matrix: Floats, cuts: list[int], noise: float = 0.0) -> None:
        self.matrix, self.noise = matrix, noise
        self.team = Team(1)
        self.n_partitions = len(cuts) + 1
        self.exchange = SharedMemoryExchange([], self.n_partitions, self.team)
        self.edges = [0, *cuts, len(matrix)]
        self.n_owned = np.diff(self.edges).tolist()
        self.random = np.random.default_rng(3)

    def cut(self, x: Floats) -> Vectors:
        return [x[a:b].copy() for a, b in zip(self.edges, self.edges[1:], strict=False)]

    def zeros(self) -> Vectors:
        return self.cut(np.zeros(len(self.matrix)))

    def apply(self, x: Vectors, out: Vectors) -> None:
        y = self.matrix @ np.concatenate(x)
        y *= 1.0 + self.noise * self.random.choice([-1.0, 0.0, 1.0], len(y))
        for mine, part in zip(out, self.cut(y), strict=True):
            mine[:] = part


class Unpreconditioned:
    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        for mine, product, out in zip(r, q, z, strict=True):
            mine -= alpha * product
            out[:] = mine
        squares = sum(float(part @ part) for part in r)
        return squares, squares


def ill_conditioned(n: int = 120) -> tuple[Floats, Floats]:
    """Return a matrix with a few large eigenvalues far apart, where conjugate gradients lose conjugacy soon."""
    generator = np.random.default_rng(7)
    Q = np.linalg.qr(generator.normal(size=(n, n)))[0]
    values = np.concatenate([np.geomspace(1e-3, 1.0, n - 5), np.geomspace(5.0, 50.0, 5)])
    matrix = Q @ np.diag(values) @ Q.T
    return (matrix + matrix.T) / 2, generator.normal(size=n)


def solve(cuts: list[int], noise: float = 0.0) -> SolveReport[Vectors]:
    matrix, b = ill_conditioned()
    operator = Cut(matrix, cuts, noise)
    return pcg(operator, Unpreconditioned(), operator.cut(b), rtol=1e-10, max_it=2000)


def difference(a: SolveReport[Vectors], b: SolveReport[Vectors]) -> float:
    n = min(len(a.residual_norms), len(b.residual_norms))
    return float(np.abs(np.subtract(a.residual_norms[:n], b.residual_norms[:n])).max())


def test_the_history_does_not_depend_on_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [solve([]), solve([50, 70]), solve([], 1e-16)]
    monkeypatch.setattr(conjugation, "SMALL", 0)
    plain = [solve([]), solve([], 1e-16)]
    assert all(report.converged for report in kept + plain)
    assert difference(*plain) > 1e-2  # this is what rounding does to the recurrence alone
    assert max(difference(kept[0], other) for other in kept[1:]) < 1e-10
    assert kept[0].iterations < 0.5 * plain[0].iterations


def test_more_rounds_than_directions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solve([])
    monkeypatch.setattr(conjugation, "MOST", 10)
    few = solve([30])
    assert few.converged
    assert whole.iterations <= few.iterations
    np.testing.assert_allclose(np.concatenate(few.solution), np.concatenate(whole.solution), rtol=1e-6, atol=1e-12)


def test_what_a_checkpoint_holds_makes_the_next_direction_conjugate_to_all() -> None:
    matrix, b = ill_conditioned()
    operator = Cut(matrix, [40])
    generator = np.random.default_rng(1)
    kept = Conjugation(operator.exchange, operator.n_owned)
    for _ in range(5):
        saved, kept = kept, Conjugation(operator.exchange, operator.n_owned)
        kept.restore(saved.arrays())
        p, q = operator.cut(generator.normal(size=len(b))), operator.zeros()
        kept.correct(p, p)
        operator.apply(p, q)
        kept.remember(p, q)
    P, Q = (np.hstack([p.reshape(5, -1) for p in kept.arrays()[name]]) for name in ("directions", "products"))
    np.testing.assert_allclose(P @ Q.T, np.diag(np.diag(P @ Q.T)), atol=1e-12)
    z = operator.cut(b)
    kept.correct(operator.cut(b - (P @ b / np.diag(P @ Q.T)) @ Q), z)
    along = Q @ np.concatenate(z)
    assert np.abs(along[:-1]).max() < 1e-12
    assert abs(along[-1]) > 1e-3  # the recurrence takes out the last direction itself


def test_small_is_a_matter_of_all_equations() -> None:
    team = Team(1)
    assert Conjugation.of(SharedMemoryExchange([], 2, team), [10, 20]) is not None
    assert Conjugation.of(SharedMemoryExchange([], 2, team), [conjugation.SMALL, 1]) is None
