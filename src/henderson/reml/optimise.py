"""The rounds: Newton steps with the average information, damped towards EM steps until the log-likelihood rises.

In working parameters phi the Hessian is J'AI J minus the curvature of Sigma(phi); the damped step solves (H + lambda M)
d = g with M near the complete-data information, so that it goes from the AI step (lambda = 0) to a scaled EM step
(lambda large), which raises the log-likelihood (Dempster, Laird & Rubin 1977; Levenberg 1944). Rounds end when the
distance to the maximum that the gradient promises, the last rise and the last change of the parameters are all small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from henderson.reml.checkpoint import write_checkpoint
from henderson.reml.likelihood import Likelihood, Point
from henderson.reml.result import RemlOptions, RemlStop, Round
from henderson.reml.structures import Structure

Floats = NDArray[np.float64]
Callback = Callable[[int, Round], None]

TRIALS = 25  # damped steps tried in a round
SMALL_CHANGE = 1e-3  # relative change of the parameters of the last round
SMALL_RISE = 1e-4  # rise of the log-likelihood in the last round
ROUNDING = 1e-10  # relative rounding error of the log-likelihood
NEARLY = 1e-3  # distance to a maximum at the boundary where rounding may end the rounds


@dataclass
class Climb:
    """Where the rounds ended."""

    point: Point
    phis: list[Floats]
    stop: RemlStop
    history: list[Round]


def climb(
    likelihood: Likelihood,
    structures: Sequence[Structure],
    start: Sequence[Floats],
    options: RemlOptions,
    callback: Callback | None = None,
    label: str = "",
) -> Climb:
    """Return the maximum of the likelihood from `start`, one Sigma per structure; `label` goes into the checkpoint.

    Cost of a round: a factorisation for each step tried, one selected inverse, one multiple solve.
    """
    phis = [s.pack(v) for s, v in zip(structures, start, strict=True)]
    phis = [inside(s, phi) for s, phi in zip(structures, phis, strict=True)]
    history: list[Round] = []
    clock = time.perf_counter()
    point = likelihood.evaluate(sigmas_of(structures, phis))
    if point is None:
        empty = Point([], [], np.zeros((0, 0, 0)), float("nan"), np.zeros(0), np.zeros((0, 0)), [], np.zeros(0), 0.0)
        return Climb(empty, phis, RemlStop.NOT_FINITE, history)
    if sum(len(p) for p in phis) == 0:
        return Climb(point, phis, RemlStop.ALL_FIXED, history)
    step, damping, rise, change = "start", 0.0, np.inf, np.inf
    if (rescaled := _rescale(likelihood, structures, phis, point)) is not None:
        phis, point = rescaled
        step = "scale"
    stop = RemlStop.MAX_ROUNDS
    for number in range(options.max_rounds + 1):
        likelihood.differentiate(point)
        system = System(likelihood, structures, phis, point, options.method == "em")
        decrement = system.decrement(phis, 1.0 if options.method == "em" else 0.0, em=options.method == "em")
        now = time.perf_counter()
        history.append(Round(point.loglik, free_values(structures, point.sigmas), step, decrement, now - clock))
        clock = now
        if callback is not None:
            callback(number, history[-1])
        if options.checkpoint:
            write_checkpoint(Path(options.checkpoint), label, point.sigmas, number, point.loglik)
        noise = ROUNDING * max(1.0, abs(point.loglik))
        if abs(decrement) < options.tolerance and (number == 0 or (rise < SMALL_RISE and change < SMALL_CHANGE)):
            stop = RemlStop.CONVERGED
            break
        if number == options.max_rounds:
            break
        before, best = point, None
        for _ in range(TRIALS):
            target = system.step(phis, damping, em=options.method == "em")
            ahead = target - np.concatenate(phis)
            promised = float(system.gradient @ ahead - 0.5 * ahead @ system.hessian @ ahead)
            trial = likelihood.evaluate(sigmas_of(structures, split(structures, target)))
            gain = -np.inf if trial is None else trial.loglik - before.loglik
            level = abs(promised) < 10.0 * noise and gain > -noise  # nothing left but rounding
            if trial is not None and (gain > max(1e-4 * promised, 0.0) or level):
                best = trial
                break
            damping = max(4.0 * damping, 0.05)
        if best is None:
            point = before
            enough = NEARLY if singular(structures, before.sigmas) else 1e3 * noise
            stop = RemlStop.CONVERGED if abs(decrement) < enough else RemlStop.NO_ASCENT
            likelihood.evaluate(before.sigmas)
            break
        step = "EM" if options.method == "em" else "AI" if damping == 0.0 else f"AI+EM {damping:.2g}"
        if gain < 0.25 * promised and promised > 10 * noise:
            damping = max(2.0 * damping, 0.02)
        elif gain > 0.75 * promised or promised < 10 * noise:
            damping = damping / 5.0 if damping > 0.02 else 0.0
        point, rise = best, abs(gain)
        phis = split(structures, target)
        reference = np.abs(target) + 1e-3 * max(1e-300, float(np.abs(target).max()))
        change = float(np.max(np.abs(ahead) / reference))
    if stop is RemlStop.CONVERGED and singular(structures, point.sigmas):
        stop = RemlStop.BOUNDARY
    return Climb(point, phis, stop, history)


class HasGradients(Protocol):
    """A point that knows its gradient by every Sigma."""

    gradients: list[Floats]


P = TypeVar("P", bound=HasGradients)
P_in = TypeVar("P_in", bound=HasGradients, contravariant=True)


class Information(Protocol[P_in]):
    """What a step needs of a likelihood besides the gradient."""

    def average_information(self, point: P_in, directions: Sequence[Floats]) -> Floats:
        """Return the average information for directions of every Sigma."""

    def complete_information(self, point: P_in, directions: Sequence[Floats]) -> Floats:
        """Return the information of the complete data."""


class System:
    """Gradient and Hessians in working parameters at a point."""

    def __init__(
        self,
        likelihood: Information[P],
        structures: Sequence[Structure],
        phis: Sequence[Floats],
        point: P,
        em: bool = False,
    ) -> None:
        self._structures = structures
        directions = [s.derivatives(phi) for s, phi in zip(structures, phis, strict=True)]
        self.gradient = np.concatenate(
            [np.tensordot(d, g, 2) for d, g in zip(directions, point.gradients, strict=True)]
        )
        self.information = likelihood.average_information(point, directions)
        self.hessian = self.information.copy()
        first = 0
        for s, phi, g in zip(structures, phis, point.gradients, strict=True):
            here = slice(first, first + len(phi))
            if not s.n_lacking:  # of a reduced rank it leads astray: the gradient across what is missing stays large
                self.hessian[here, here] -= s.curvature(phi, g)
            first += len(phi)
        complete = likelihood.complete_information(point, directions)
        first = 0
        for s, phi in zip(structures, phis, strict=True):
            here = slice(first, first + len(phi))
            if not em:
                complete[here, here] = s.metric(phi, complete[here, here])
            first += len(phi)
        size = np.sqrt(np.maximum(np.diag(complete), 1e-300))  # traits may be of very different scales
        values, vectors = np.linalg.eigh(complete / np.outer(size, size))
        half = vectors / np.sqrt(np.maximum(values, 1e-12 * values.max()))
        self._half = half / size[:, None]  # M^-1 = half half'
        inner = self._half.T @ self.hessian @ self._half
        self._values, rotation = np.linalg.eigh((inner + inner.T) / 2.0)
        self._half = self._half @ rotation

    def ahead(self, phis: Sequence[Floats], damping: float, *, em: bool = False) -> Floats:
        """Return the step, along the boundary where it would leave a Sigma that has reached it.

        It maximises g'd - 1/2 d'K d under C d >= 0 for the normals C of the boundary that it meets, by the dual
        problem: least squares with non-negative multipliers (Lawson & Hanson 1974, chapter 23).
        """
        from scipy.optimize import nnls  # slow to import, and the jobs that solve only import this module, too

        weight = 1.0 + 0.0 * self._values if em and damping <= 1.0 else np.maximum(np.abs(self._values), 1e-8) + damping
        half = self._half / np.sqrt(weight)
        wanted = half.T @ self.gradient
        found = half @ wanted
        normals: list[Floats] = []
        for _ in range(2 * len(found)):
            first, known = 0, len(normals)
            for s, phi in zip(self._structures, phis, strict=True):
                here = slice(first, first + len(phi))
                if (own := s.blocked(phi, found[here])) is not None:
                    joint = np.zeros(len(found))
                    joint[here] = own
                    normals.append(joint)
                first += len(phi)
            if len(normals) == known:
                break
            inner = half.T @ np.array(normals).T
            size = np.maximum(np.linalg.norm(inner, axis=0), 1e-300)
            multipliers, _ = nnls(inner / size, -wanted)
            found = half @ (wanted + inner / size @ multipliers)
        return np.asarray(found)

    def step(self, phis: Sequence[Floats], damping: float, *, em: bool = False) -> Floats:
        """Return the working parameters after a step, each structure kept in its parameter space."""
        return np.concatenate(self._kept(phis, self.ahead(phis, damping, em=em)))

    def decrement(self, phis: Sequence[Floats], damping: float, *, em: bool = False) -> float:
        """Return the rise of the log-likelihood that the gradient promises; a step is not cut short for it."""
        ahead = self.ahead(phis, damping, em=em)
        kept = self._kept(phis, ahead)
        found, first = 0.0, 0
        for s, phi, after in zip(self._structures, phis, kept, strict=True):
            here = slice(first, first + len(phi))
            whole = s.mode in ("linear", "correlations")
            found += 0.5 * float(self.gradient[here] @ (ahead[here] if whole else after - phi))
            first += len(phi)
        return found

    def _kept(self, phis: Sequence[Floats], ahead: Floats) -> list[Floats]:
        """Return the working parameters of each structure after the step, its own halved until it stays inside."""
        found = []
        for s, phi, own in zip(self._structures, phis, split(self._structures, ahead), strict=True):
            after = phi
            for k in range(40):
                within = s.confine(phi + 0.5**k * own, phi)
                if within is not None:
                    after = within
                    break
            found.append(after)
        return found


def inside(structure: Structure, phi: Floats) -> Floats:
    """Return the working parameters, moved off the boundary."""
    found = structure.confine(phi, phi)
    return phi if found is None else found


def split(structures: Sequence[Structure], joint: Floats) -> list[Floats]:
    """Return the working parameters of each structure."""
    ends = np.cumsum([s.n_free for s in structures])[:-1]
    return np.split(joint, ends)


def sigmas_of(structures: Sequence[Structure], phis: Sequence[Floats]) -> list[Floats]:
    """Return Sigma of each structure."""
    return [s.sigma(phi) for s, phi in zip(structures, phis, strict=True)]


def _rescale(
    likelihood: Likelihood, structures: Sequence[Structure], phis: Sequence[Floats], point: Point
) -> tuple[list[Floats], Point] | None:
    """Return the point with all covariance matrices multiplied by the one factor that is best; None if that is 1.

    With everything in proportion the maximum over the factor is y'P y / (n - rank X).
    """
    if any(s.fix.any() for s in structures):
        return None
    n = likelihood.n_observations - (likelihood.n_fixed if likelihood.reml else 0)
    factor = point.quadratic / max(n, 1)
    if not np.isfinite(factor) or factor <= 0 or 0.9 < factor < 1.1:
        return None
    moved = [s.pack(factor * sigma) for s, sigma in zip(structures, point.sigmas, strict=True)]
    moved = [inside(s, phi) for s, phi in zip(structures, moved, strict=True)]
    found = likelihood.evaluate(sigmas_of(structures, moved))
    if found is None or found.loglik < point.loglik:
        likelihood.evaluate(point.sigmas)
        return None
    return moved, found


def free_values(structures: Sequence[Structure], sigmas: Sequence[Floats]) -> tuple[float, ...]:
    """Return the values of the elements that are not held."""
    return tuple(
        float(sigma[e.row, e.col])
        for s, sigma in zip(structures, sigmas, strict=True)
        for e in s.elements()
        if not e.fixed
    )


def singular(structures: Sequence[Structure], sigmas: Sequence[Floats]) -> bool:
    """Return whether a Sigma that is estimated lies on the boundary."""
    return any(s.n_free and s.null_directions(v).shape[1] for s, v in zip(structures, sigmas, strict=True))
