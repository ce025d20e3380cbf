"""Rounds of Monte Carlo AI-REML: Newton steps to the root of a sampled gradient, which knows its own noise.

The gradient is that of one smooth function as long as the signs stay the same, so the rise of a step is known from the
gradients at its ends (the trapezoidal rule) and steps are damped as those of the exact method. Solves are loose while
the root is far, and begin where those of the round before ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.reml.monte_carlo import SampledLikelihood, SampledPoint, UnsolvedError
from henderson.reml.optimise import Information, System, free_values, inside, sigmas_of, singular, split
from henderson.reml.result import Noise, RemlOptions, RemlStop, Round, Rounds, Sampling
from henderson.reml.structures import Structure

Floats = NDArray[np.float64]

NEAR = 0.01  # of the Monte Carlo noise: a root this near is found
TRIALS = 12  # damped steps tried in a round
LOOSE, TIGHT = 1e-5, 1e-6  # tolerance of the solves while the root is far, and when it is near
SMALL, EXACT = 200_000, 1e-10  # equations up to which all solves are tight: no rounding error shows in the path
MANY = 100  # parameters above which no model is small
FAR = 0.1  # of one unit of log-likelihood, or of the noise if that is more: what is nearer is not far
NOISY = 0.4  # standard errors of Monte Carlo noise: a root of so few samples may be a boundary that more do not have


@dataclass
class SampledClimb:
    """Where the rounds ended; information: where standard errors come from."""

    point: SampledPoint
    phis: list[Floats]
    stop: RemlStop
    history: list[Round]
    information: Information[SampledPoint]


Callback = Callable[[int, Rounds], None]


class Unstarted(Exception):  # noqa: N818
    """The equations cannot be solved at the start values."""


class SampledRun:
    """The way to the root of the sampled gradient, one Sigma per structure, from where `state` is; it is taken along.

    Rounds end when the step that is left is small beside the Monte Carlo noise. If the noise is above the part of the
    standard errors that is asked for, samples are added and the rounds go on. Cost of a round: 1 + n_samples solves
    side by side, and one for every free parameter. `callback` is called after each round.
    """

    def __init__(
        self,
        likelihood: SampledLikelihood,
        structures: Sequence[Structure],
        state: Rounds,
        options: RemlOptions,
        callback: Callback | None,
    ) -> None:
        self.likelihood, self.structures, self.state, self.options = likelihood, structures, state, options
        self._callback = callback
        self._clock = time.perf_counter()
        self.phis = [inside(s, s.pack(v)) for s, v in zip(structures, state.sigmas, strict=True)]
        self.point: SampledPoint | None = None
        small = likelihood.n_equations <= SMALL and sum(s.n_free for s in structures) <= MANY
        self._tight = options.sampling.solver_rtol or (EXACT if small else TIGHT)
        self._loose = max(self._tight, EXACT if small else LOOSE)
        if small:
            likelihood.information_rtol = self._tight
        self._step = "start"
        self._begin()

    def _begin(self) -> None:
        """Begin without a past."""

    def information(self) -> Information[SampledPoint]:
        """Return where standard errors come from."""
        return self.likelihood

    def climb(self) -> SampledClimb:
        """Return where the rounds end. **Collective**. Raises `Unstarted` if there is no point at the start."""
        try:
            return self._ended(self._rounds())
        except UnsolvedError:
            if self.point is None:
                raise
            return self._ended(RemlStop.UNSOLVED)

    def _rounds(self) -> RemlStop:
        likelihood, state = self.likelihood, self.state
        likelihood.n_samples = state.samples
        likelihood.rtol = self._tight if state.tight else self._loose
        point = likelihood.evaluate(sigmas_of(self.structures, self.phis))
        if point is None:
            raise Unstarted
        self.point = point
        if sum(len(phi) for phi in self.phis) == 0:
            return RemlStop.ALL_FIXED
        if not state.history:
            self._rescale()
        stop = None
        while stop is None:
            stop = self._round()
        return stop

    def _ended(self, stop: RemlStop) -> SampledClimb:
        assert self.point is not None
        if stop is RemlStop.SAMPLED and singular(self.structures, self.point.sigmas):
            stop = RemlStop.BOUNDARY
        return SampledClimb(self.point, self.phis, stop, self.state.history, self.information())

    def _system(self, point: SampledPoint) -> System:
        return System(self.likelihood, self.structures, self.phis, point)

    def _rescale(self) -> None:
        """Multiply all covariance matrices by the factor that is best if they stay in proportion: y'P y / (n - p)."""
        point, likelihood = self.point, self.likelihood
        assert point is not None
        if any(s.fix.any() for s in self.structures):
            return
        factor = point.quadratic / max(likelihood.freedom, 1)
        if not np.isfinite(factor) or factor <= 0.0 or 0.9 < factor < 1.1:
            return
        moved = [s.pack(factor * sigma) for s, sigma in zip(self.structures, point.sigmas, strict=True)]
        moved = [inside(s, phi) for s, phi in zip(self.structures, moved, strict=True)]
        found = likelihood.evaluate(sigmas_of(self.structures, moved), point.rescaled(factor))
        if found is not None:
            self.phis, self.point, self._step = moved, found, "scale"

    def _round(self) -> RemlStop | None:
        """Do one round; return why the rounds end, None if they go on."""
        likelihood, state, sampling = self.likelihood, self.state, self.options.sampling
        point = self.point
        assert point is not None
        system = self._system(point)
        inverse = np.asarray(np.linalg.pinv(system.information, hermitian=True), np.float64)
        noise = likelihood.gradient_noise(point, self._directions(self.phis))
        decrement = system.decrement(self.phis, 0.0)
        expected = 0.5 * float(np.sum(inverse * noise))
        errors, ratio = self._errors(inverse, np.asarray(inverse @ noise @ inverse, np.float64))
        self._tell(decrement, Noise(expected, ratio, likelihood.n_samples, likelihood.rtol, point.products, errors))
        enough = ratio <= sampling.mc_error or likelihood.n_samples >= sampling.most
        if state.tight and enough and abs(decrement) <= NEAR * max(expected, 1e-12):
            return RemlStop.SAMPLED if ratio <= sampling.mc_error else RemlStop.SAMPLES
        if len(state.history) > self.options.max_rounds:
            return RemlStop.MAX_ROUNDS
        near = abs(decrement) <= FAR * max(expected, 0.0 if state.tight else 1.0)
        near |= not state.tight and ratio > NOISY and abs(decrement) <= ratio
        if near and not (state.tight and enough):
            self._step = "samples"
            if not enough:
                state.samples = likelihood.n_samples = more_samples(likelihood.n_samples, ratio, sampling)
            state.tight, likelihood.rtol = True, self._tight
            self.point = likelihood.evaluate(point.sigmas, point) or point
            return None
        return self._climb(system, expected)

    def _climb(self, system: System, expected: float) -> RemlStop | None:
        """Go to a point where the likelihood is higher, as far as gradients tell."""
        state, point = self.state, self.point
        for _ in range(TRIALS):
            target = split(self.structures, system.step(self.phis, state.damping))
            ahead = np.concatenate(target) - np.concatenate(self.phis)
            promised = float(system.gradient @ ahead - 0.5 * ahead @ system.hessian @ ahead)
            after = self.likelihood.evaluate(sigmas_of(self.structures, target), point)
            gain = -np.inf
            if after is not None:
                gain = 0.5 * float((system.gradient + self._gradient(target, after)) @ ahead)
            slack = NEAR * max(expected, 1e-12)
            if after is not None and (gain > max(1e-4 * promised, 0.0) or (promised < slack and gain > -slack)):
                break
            state.damping = max(4.0 * state.damping, 0.05)
        else:
            return RemlStop.NO_ASCENT
        self._step = "AI" if state.damping == 0.0 else f"AI+EM {state.damping:.2g}"
        if gain < 0.25 * promised and promised > slack:
            state.damping = max(2.0 * state.damping, 0.02)
        elif gain > 0.75 * promised or promised <= slack:
            state.damping = state.damping / 5.0 if state.damping > 0.02 else 0.0
        self.phis, self.point = target, after
        return None

    def _directions(self, phis: Sequence[Floats]) -> list[Floats]:
        return [s.derivatives(phi) for s, phi in zip(self.structures, phis, strict=True)]

    def _gradient(self, phis: Sequence[Floats], point: SampledPoint) -> Floats:
        """Return the gradient by the working parameters."""
        pairs = zip(self._directions(phis), point.gradients, strict=True)
        return np.concatenate([np.tensordot(d, g, 2) for d, g in pairs])

    def _errors(self, sampling: Floats, monte_carlo: Floats) -> tuple[tuple[float, ...], float]:
        """Return Monte Carlo errors of the free elements, and the largest of them relative to its standard error."""
        errors, largest, first = [], 0.0, 0
        for s, d in zip(self.structures, self._directions(self.phis), strict=True):
            here = slice(first, first + len(d))
            first += len(d)
            for e in s.elements():
                if e.fixed:
                    continue
                slope = d[:, e.row, e.col]
                variances = [max(float(slope @ v[here, here] @ slope), 0.0) for v in (monte_carlo, sampling)]
                errors.append(float(np.sqrt(variances[0])))
                if variances[1] > 0.0:
                    largest = max(largest, float(np.sqrt(variances[0] / variances[1])))
        return tuple(errors), largest

    def _tell(self, decrement: float, noise: Noise) -> None:
        point, now = self.point, time.perf_counter()
        assert point is not None
        values = free_values(self.structures, point.sigmas)
        self.state.sigmas = point.sigmas
        self.state.history.append(Round(float("nan"), values, self._step, decrement, now - self._clock, noise))
        self._clock = now
        if self._callback is not None:
            self._callback(len(self.state.history) - 1, self.state)


def more_samples(n_samples: int, ratio: float, sampling: Sampling) -> int:
    """Return how many samples bring the Monte Carlo error to what is asked for: at least half as many again.

    Few samples know their own error badly, so the fewer there are the more are spared for missing it: another addition
    costs all solves of a round.
    """
    spare = 1.0 + 1.0 / np.sqrt(n_samples)
    wanted = int(np.ceil(n_samples * (ratio / sampling.mc_error) ** 2 * spare))
    return min(sampling.most, max(wanted, n_samples + n_samples // 2))
