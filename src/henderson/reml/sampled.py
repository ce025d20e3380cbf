"""Rounds of Monte Carlo AI-REML: Newton steps to the root of a sampled gradient, which knows its own noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.reml.monte_carlo import SampledLikelihood, SampledPoint
from henderson.reml.optimise import System, free_values, inside, sigmas_of, split
from henderson.reml.result import RemlStop
from henderson.reml.structures import Structure

Floats = NDArray[np.float64]
Callback = Callable[[int, "SampledRound"], None]

NEAR = 0.01  # of the Monte Carlo noise: a root this near is found
WORSE = 4.0  # growth of the decrement that calls for more damping
TRIALS = 12


@dataclass(frozen=True)
class SampledRound:
    """One round: values of the free parameters, damping of the step that led there, decrement, its Monte Carlo noise.

    decrement: the rise of the log-likelihood that the gradient promises; noise: what it would be at the root for other
    samples, on average; ratio: largest Monte Carlo error of a parameter relative to its standard error.
    """

    parameters: tuple[float, ...]
    damping: float
    decrement: float
    noise: float
    ratio: float
    samples: int
    seconds: float


@dataclass
class SampledClimb:
    """Where the rounds ended; mc_covariance: of the working parameters, from the samples alone."""

    point: SampledPoint
    phis: list[Floats]
    stop: RemlStop
    history: list[SampledRound]
    mc_covariance: Floats


def climb_sampled(
    likelihood: SampledLikelihood,
    structures: Sequence[Structure],
    start: Sequence[Floats],
    *,
    max_rounds: int = 50,
    target_ratio: float = 0.1,
    callback: Callback | None = None,
) -> SampledClimb:
    """Return the root of the sampled gradient from `start`, one Sigma per structure.

    Rounds end when the step that is left is small beside the Monte Carlo noise. If the noise is above `target_ratio`
    of the standard error of some parameter, samples are added and the rounds go on. Cost of a round: 1 + n_samples
    solves side by side, and one for every free parameter.
    """
    phis = [inside(s, s.pack(v)) for s, v in zip(structures, start, strict=True)]
    history: list[SampledRound] = []
    clock = time.perf_counter()
    point = likelihood.evaluate(sigmas_of(structures, phis))
    if point is None:
        raise ValueError("the equations cannot be solved at the start values")
    damping, last, stop = 0.0, np.inf, RemlStop.MAX_ROUNDS
    covariance = np.zeros((0, 0))
    for number in range(max_rounds + 1):
        system = System(likelihood, structures, phis, point)
        directions = [s.derivatives(phi) for s, phi in zip(structures, phis, strict=True)]
        noise = likelihood.gradient_noise(point, directions)
        inverse = np.linalg.pinv(system.information, hermitian=True)
        covariance = inverse @ noise @ inverse
        decrement = system.decrement(phis, damping)
        expected = 0.5 * float(np.sum(inverse * noise))
        deviation = np.sqrt(np.maximum(np.diag(inverse), 1e-300))
        ratio = float(np.max(np.sqrt(np.maximum(np.diag(covariance), 0.0)) / deviation, initial=0.0))
        now = time.perf_counter()
        values = free_values(structures, point.sigmas)
        history.append(SampledRound(values, damping, decrement, expected, ratio, likelihood.n_samples, now - clock))
        clock = now
        if callback is not None:
            callback(number, history[-1])
        if abs(decrement) <= NEAR * max(expected, 1e-12):
            if ratio <= target_ratio or likelihood.n_samples >= likelihood.most_samples:
                stop = RemlStop.CONVERGED
                break
            likelihood.n_samples = more_samples(likelihood, ratio, target_ratio)
            point = likelihood.evaluate(point.sigmas, point) or point
            last = np.inf
            continue
        if number == max_rounds:
            break
        damping = max(4.0 * damping, 0.1) if decrement > WORSE * last else damping / 4.0 if damping > 0.02 else 0.0
        last = decrement
        for _ in range(TRIALS):
            target = system.step(phis, damping)
            after = likelihood.evaluate(sigmas_of(structures, split(structures, target)), point)
            if after is not None:
                break
            damping = max(4.0 * damping, 0.1)
        if after is None:
            stop = RemlStop.NO_ASCENT
            break
        phis, point = split(structures, target), after
    return SampledClimb(point, phis, stop, history, covariance)


def more_samples(likelihood: SampledLikelihood, ratio: float, target: float) -> int:
    """Return how many samples bring the Monte Carlo error to `target`: at least half as many again."""
    wanted = int(np.ceil(likelihood.n_samples * (ratio / target) ** 2 * 1.1))
    return min(likelihood.most_samples, max(wanted, likelihood.n_samples + likelihood.n_samples // 2))
