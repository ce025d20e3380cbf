"""Rounds of Monte Carlo EM-REML for many parameters, accelerated; then AI steps with one information matrix.

The average information takes a solve for each parameter, 240 for two unstructured 15 x 15 matrices; an EM step takes
none besides those of the gradient. So:

1. EM steps (Dempster, Laird & Rubin 1977) extrapolated from the last `MEMORY` rounds (Anderson 1965, type II). An
   extrapolated step is taken if the gradients at its ends say that the likelihood rises, and that an EM step from its
   end promises at most `FARTHER` times what one from its beginning does; else the memory is dropped and the plain EM
   step is taken.
2. When the rise that an EM step promises is below `SWITCH` of its Monte Carlo noise, or above half of what it was
   `SLOW` rounds before, the average information is computed once. Rounds go on as those of mc-ai with this matrix,
   carried to the parameters of each round, and end as those do. It is computed again where a round has not brought the
   decrement down to `STALE` of the one before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from henderson.equations.border import inverse_of_border
from henderson.reml.monte_carlo import SampledLikelihood, SampledPoint
from henderson.reml.optimise import Information, System, sigmas_of, split
from henderson.reml.result import Noise, RemlStop
from henderson.reml.sampled import NEAR, SampledRun
from henderson.reml.structures import Structure

Floats = NDArray[np.float64]

MEMORY = 6  # rounds that an extrapolation looks back
FARTHER = 2.0
SWITCH = 0.1
SLOW = 4
STALE = 0.25
CLOSE = 0.1  # decrement where the information was computed up to which it serves at the end


class Frozen:
    """The average information at one point, carried to the directions of others."""

    def __init__(self, likelihood: SampledLikelihood, point: SampledPoint, directions: Sequence[Floats]) -> None:
        self._likelihood, self._directions = likelihood, directions
        self._information = likelihood.average_information(point, directions)

    def average_information(self, point: SampledPoint, directions: Sequence[Floats]) -> Floats:
        """Return the average information for directions that those of the point span."""
        blocks = []
        for known, wanted in zip(self._directions, directions, strict=True):
            flat = known.reshape(len(known), -1).T
            blocks.append(np.linalg.lstsq(flat, wanted.reshape(len(wanted), -1).T, rcond=None)[0])
        total = sum(b.shape[1] for b in blocks)
        joint = np.zeros((len(self._information), total))
        row = column = 0
        for b in blocks:
            joint[row : row + b.shape[0], column : column + b.shape[1]] = b
            row, column = row + b.shape[0], column + b.shape[1]
        return np.asarray(joint.T @ self._information @ joint)

    def complete_information(self, point: SampledPoint, directions: Sequence[Floats]) -> Floats:
        """Return the information of the complete data."""
        return self._likelihood.complete_information(point, directions)


class EmRun(SampledRun):
    """The state of the rounds."""

    _frozen: Frozen | None = None
    _at_freeze = np.inf
    _stale = False

    def _begin(self) -> None:
        self._memory: list[tuple[Floats, Floats]] = []

    def information(self) -> Information[SampledPoint]:
        """Return where standard errors come from."""
        return self._frozen if self._frozen is not None and self._at_freeze <= CLOSE else self.likelihood

    def _system(self, point: SampledPoint) -> System:
        if self._frozen is None or self._stale:
            self._frozen = Frozen(self.likelihood, point, self._directions(self.phis))
            self._at_freeze, self._stale = np.inf, False
        return System(self._frozen, self.structures, self.phis, point)

    def _round(self) -> RemlStop | None:
        history, point = self.state.history, self.point
        assert point is not None
        switched = any(r.noise is not None and r.noise.ratio is not None for r in history)  # before a checkpoint
        if self._frozen is None and not switched:
            step, decrement, expected = self._em_step(self.phis, point)
            slow = len(history) > SLOW and decrement > 0.5 * history[-SLOW].decrement
            if decrement > SWITCH * expected and not slow and len(history) <= self.options.max_rounds:
                noise = Noise(expected, None, self.likelihood.n_samples, self.likelihood.rtol, point.products, ())
                self._tell(decrement, noise)
                return self._extrapolated(step, decrement)
        before = history[-1].decrement if history and self._frozen is not None else np.inf
        stop = super()._round()
        now = history[-1]
        assert now.noise is not None
        self._at_freeze = min(self._at_freeze, now.decrement) if self._at_freeze < np.inf else now.decrement
        self._stale = now.step.startswith("AI") and now.decrement > max(STALE * before, NEAR * now.noise.expected)
        return stop

    def _em_step(self, phis: Sequence[Floats], point: SampledPoint) -> tuple[list[Floats], float, float]:
        """Return the working parameters after a plain EM step, the rise it promises, and the noise of that."""
        directions = [_basis(s, phi) for s, phi in zip(self.structures, phis, strict=True)]
        complete = self.likelihood.complete_information(point, directions)
        noise = self.likelihood.gradient_noise(point, directions)
        gradient = [np.tensordot(d, g, 2) for d, g in zip(directions, point.gradients, strict=True)]
        joint = np.concatenate(gradient)
        inverse = inverse_of_border(complete)  # zero where the data tell nothing, as of traits never seen together
        ahead = inverse @ joint
        expected = 0.5 * float(np.sum(inverse * noise))
        target, first = [], 0
        for s, phi, d in zip(self.structures, phis, directions, strict=True):
            target.append(_moved(s, phi, d, ahead[first : first + len(d)]))
            first += len(d)
        return target, 0.5 * float(joint @ ahead), expected

    def _extrapolated(self, plain: list[Floats], promised: float) -> RemlStop | None:
        """Go to the extrapolated point if it is higher and not farther away, else to the plain one."""
        here = np.concatenate(self.phis)
        self._memory = [*self._memory[-MEMORY:], (here, np.concatenate(plain) - here)]
        tries = [("EM+", t) for t in self._anderson()] + [("EM", plain)]
        assert self.point is not None
        gradient = self._gradient(self.phis, self.point)
        for name, target in tries:
            after = self.likelihood.evaluate(sigmas_of(self.structures, target), self.point)
            if after is None:
                continue
            rise = 0.5 * float((gradient + self._gradient(target, after)) @ (np.concatenate(target) - here))
            if name == "EM" or (rise > 0.0 and self._em_step(target, after)[1] <= FARTHER * promised):
                self.phis, self.point, self._step = target, after, name
                return None
            self._memory = self._memory[-1:]
        return RemlStop.NO_ASCENT

    def _anderson(self) -> list[list[Floats]]:
        """Return the extrapolated working parameters, in a list that is empty where there are none."""
        if len(self._memory) < 2:
            return []
        points, steps = (np.array(v).T for v in zip(*self._memory, strict=True))
        moves, changes = np.diff(points), np.diff(steps)
        scale = 1.0 / np.maximum(np.abs(points[:, -1]), 1e-3 * np.abs(points[:, -1]).max())
        weights = np.linalg.lstsq(changes * scale[:, None], steps[:, -1] * scale, rcond=1e-6)[0]
        target = points[:, -1] + steps[:, -1] - (moves + changes) @ weights
        found = []
        for s, phi, mine in zip(self.structures, self.phis, split(self.structures, target), strict=True):
            within = s.confine(mine, phi)
            if within is None:
                return []
            found.append(within)
        return [found]


def _basis(structure: Structure, phi: Floats) -> Floats:
    """Return the directions of an EM step: of Sigma itself where it is unstructured, else of its parameters."""
    if structure.mode != "cholesky":
        return structure.derivatives(phi)
    rows, columns = np.tril_indices(structure.size)
    found = np.zeros((len(rows), structure.size, structure.size))
    found[np.arange(len(rows)), rows, columns] = found[np.arange(len(rows)), columns, rows] = 1.0
    return found


def _moved(structure: Structure, phi: Floats, directions: Floats, ahead: Floats) -> Floats:
    """Return the working parameters after a step along the directions, halved until it stays inside."""
    for k in range(40):
        step = 0.5**k * ahead
        if structure.mode != "cholesky":
            within = structure.confine(phi + step, phi)
        else:
            sigma = structure.sigma(phi) + np.tensordot(step, directions, 1)
            if np.linalg.eigvalsh(sigma)[0] <= 0.0:
                continue
            within = structure.confine(structure.pack(sigma), phi)
        if within is not None:
            return within
    return phi
