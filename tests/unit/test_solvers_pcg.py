"""How PCG ends: converged, or with the reason why not; the true residual decides."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from henderson.partitions.exchange import SharedMemoryExchange, Vectors
from henderson.partitions.threads import Team
from henderson.solvers.pcg import pcg
from henderson.solvers.report import StopReason
from henderson.solvers.trace import Trace


class Dense:
    """A dense matrix as an operator of one partition."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix
        self.team = Team(1)
        self.exchange = SharedMemoryExchange([], 1, self.team)
        self.n_partitions = 1
        self.n_owned = [len(matrix)]
        self.products = 0

    def zeros(self) -> Vectors:
        return [np.zeros(len(self.matrix))]

    def apply(self, x: Vectors, out: Vectors) -> None:
        self.products += 1
        with np.errstate(invalid="ignore"):
            out[0][:] = self.matrix @ x[0]


class Jacobi:
    def __init__(self, matrix: np.ndarray) -> None:
        self.inverse = 1.0 / np.abs(np.diag(matrix))

    def descend(self, alpha: float, q: Vectors, r: Vectors, z: Vectors) -> tuple[float, float]:
        r[0] -= alpha * q[0]
        z[0][:] = self.inverse * r[0]
        return float(r[0] @ r[0]), float(r[0] @ z[0])


def spd(n: int, condition: float = 1e3, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    matrix = Q @ np.diag(np.geomspace(1.0, condition, n)) @ Q.T
    return (matrix + matrix.T) / 2


def solve(matrix: np.ndarray, b: np.ndarray, **options: object):  # type: ignore[no-untyped-def]
    return pcg(Dense(matrix), Jacobi(matrix), [b.copy()], **options)  # type: ignore[arg-type]


def test_converged_by_the_true_residual() -> None:
    matrix, b = spd(40), np.arange(40.0)
    seen = []
    report = solve(matrix, b, rtol=1e-10, callback=lambda it, rel: seen.append((it, rel)))
    x = report.solution[0]
    assert report.reason is StopReason.CONVERGED
    assert report.converged
    true = np.linalg.norm(b - matrix @ x) / np.linalg.norm(b)
    assert report.relative_residual == pytest.approx(true, rel=1e-3)
    assert true <= 1e-10
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=1e-6, atol=1e-7)
    assert [it for it, _ in seen] == list(range(1, report.iterations + 1))
    assert [rel for _, rel in seen] == list(report.residual_norms[1:])
    assert report.residual_norms[0] == 1.0


def test_the_right_hand_side_is_left_as_it_is() -> None:
    b = np.arange(5.0)
    rhs = [b.copy()]
    matrix = spd(5)
    pcg(Dense(matrix), Jacobi(matrix), rhs)
    np.testing.assert_array_equal(rhs[0], b)


def test_a_good_start_needs_fewer_iterations_and_an_exact_one_none() -> None:
    matrix, b = spd(60), np.ones(60)
    exact = np.linalg.solve(matrix, b)
    cold = solve(matrix, b)
    warm = solve(matrix, b, x0=[exact * (1.0 + 1e-6)])
    assert warm.converged
    assert 0 < warm.iterations < cold.iterations
    done = solve(matrix, b, x0=[exact.copy()])
    assert (done.reason, done.iterations) == (StopReason.CONVERGED, 0)


def test_one_equation() -> None:
    report = solve(np.array([[4.0]]), np.array([2.0]))
    assert report.converged
    assert report.solution[0] == pytest.approx(0.5)


def test_zero_right_hand_side() -> None:
    report = solve(spd(5), np.zeros(5), x0=[np.ones(5)])
    assert report.reason is StopReason.RHS_ZERO
    assert report.converged
    assert not report.solution[0].any()


def test_too_few_iterations_are_not_convergence() -> None:
    matrix, b = spd(60, 1e6), np.ones(60)
    report = solve(matrix, b, max_it=3)
    assert report.reason is StopReason.MAX_ITERATIONS
    assert not report.converged
    assert report.iterations == 3
    assert report.relative_residual > 1e-8
    assert "max_it" in report.reason.value


def test_indefinite_equations_break_down() -> None:
    report = solve(np.diag([1.0, 2.0, -1.0]), np.ones(3))
    assert report.reason is StopReason.BREAKDOWN
    assert not report.converged


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite(value: float) -> None:
    matrix, b = spd(4), np.ones(4)
    assert solve(matrix, b * value).reason is StopReason.NOT_FINITE
    matrix[1, 2] = matrix[2, 1] = value
    report = solve(matrix, b)
    assert report.reason in (StopReason.NOT_FINITE, StopReason.BREAKDOWN)
    assert not report.converged


def test_a_tolerance_below_rounding_stagnates() -> None:
    report = solve(spd(80, 1e4), np.random.default_rng(2).normal(size=80), rtol=1e-18)
    assert report.reason is StopReason.STAGNATED
    assert not report.converged
    assert report.relative_residual > 1e-18


def test_restart_from_the_true_residual() -> None:
    """Products that are off for a while: the recurrence believes them, the true residual does not."""

    class Drifting(Dense):
        def apply(self, x: Vectors, out: Vectors) -> None:
            super().apply(x, out)
            if 5 < self.products < 12:
                out[0][0] += 1e-5 * np.linalg.norm(out[0])

    matrix, b = spd(30, 1e2), np.ones(30)
    operator = Drifting(matrix)
    report = pcg(operator, Jacobi(matrix), [b], rtol=1e-10)
    assert report.converged
    assert np.linalg.norm(b - matrix @ report.solution[0]) <= 1e-10 * np.linalg.norm(b)
    assert operator.products > report.iterations + 1  # the true residual was computed more than once


def test_small_last_step_guards_solutions_beside_a_large_mean() -> None:
    """A mean of many records makes ||b|| 1e6, so rtol alone would allow the other solutions an error of 1e-2."""
    matrix = np.zeros((51, 51))
    matrix[0, 0] = 1e6
    matrix[1:, 1:] = spd(50, 1e2)
    b = np.ones(51)
    b[0] = 1e6
    report = solve(matrix, b, rtol=1e-8)
    assert report.converged
    exact = np.linalg.solve(matrix, b)
    assert np.linalg.norm(report.solution[0] - exact) <= 1e-6 * np.linalg.norm(exact)


def test_the_last_change_decides_if_it_is_asked() -> None:
    matrix, b = spd(60, 1e4), np.ones(60)
    xs = [solve(matrix, b, rtol=1e-300, max_it=k).solution[0] for k in range(1, 58)]
    changes = [np.linalg.norm(y - x) / np.linalg.norm(x) for x, y in pairwise(xs)]
    first = next(k for k, change in enumerate(changes, 2) if change <= 1e-2)
    trace = Trace()
    report = solve(matrix, b, rtol=math.inf, xtol=1e-2, trace=trace)
    assert report.reason is StopReason.SMALL_CHANGE
    assert report.converged
    assert report.iterations == first
    assert report.relative_residual > 1e-8
    true = np.linalg.norm(b - matrix @ report.solution[0]) / np.linalg.norm(b)
    assert report.relative_residual == pytest.approx(true)
    assert math.isinf(trace.steps[0].change)
    np.testing.assert_allclose([s.change for s in trace.steps[1:]], changes[: first - 1], rtol=1e-6)
    np.testing.assert_allclose([s.residual for s in trace.steps], report.residual_norms[1:])
    lengths = [s.product for s in trace.steps]
    np.testing.assert_allclose([s.beta for s in trace.steps[1:]], np.divide(lengths[1:], lengths[:-1]), rtol=1e-6)
    assert all(s.alpha > 0 and s.seconds >= 0 for s in trace.steps)


def test_both_criteria_hold_if_both_are_asked() -> None:
    matrix, b = spd(60, 1e4), np.ones(60)
    loose = solve(matrix, b, rtol=math.inf, xtol=1e-2)
    both = solve(matrix, b, rtol=1e-9, xtol=1e-2)
    assert both.reason is StopReason.CONVERGED
    assert both.iterations > loose.iterations
    assert both.relative_residual <= 1e-9


def test_too_few_iterations_for_a_small_change() -> None:
    report = solve(spd(60, 1e6), np.ones(60), rtol=math.inf, xtol=1e-9, max_it=4)
    assert report.reason is StopReason.MAX_ITERATIONS
    assert report.iterations == 4
    assert solve(np.array([[4.0]]), np.array([2.0]), rtol=math.inf, xtol=1e-9).converged
    assert solve(np.full((2, 2), math.nan), np.ones(2), rtol=math.inf, xtol=1e-3).reason is StopReason.NOT_FINITE
