"""Standard errors: the inverse average information, carried to whatever is reported by the delta method.

At a singular Sigma only directions that keep its rank have standard errors; what lies across is named boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from henderson.errors import ModelError
from henderson.language.functions import evaluate_function
from henderson.language.spec import RESIDUAL, ModelSpec
from henderson.reml.likelihood import information as complete_information
from henderson.reml.optimise import HasGradients, Information
from henderson.reml.result import Constraint, FunctionValue, Parameter, SigmaEstimate
from henderson.reml.structures import Element, Structure

Floats = NDArray[np.float64]
Key = tuple[str, str | None]
Noise = Callable[[Sequence[Floats]], Floats]

BLIND = 1e-10  # information on a direction, relative to that of one observed level, below which there is none
CONFOUNDED = 1e-9  # eigenvalue of the scaled average information below which a direction has no information


class Located(HasGradients, Protocol):
    """A point that knows where it is."""

    sigmas: list[Floats]


P = TypeVar("P", bound=Located)


@dataclass(frozen=True)
class Inference:
    """What is known about the estimates; covariance: of `parameters`; mc_covariance: of their Monte Carlo errors.

    n_parameters: how many are free, those at the boundary among them, less those that follow from others by a rank.
    """

    parameters: tuple[Parameter, ...]
    n_parameters: int
    covariance: Floats
    mc_covariance: Floats | None
    sigma: dict[Key, SigmaEstimate]
    functions: dict[str, FunctionValue]


class _Delta:
    """Directions of every Sigma, the covariance of the steps along them, and that of their Monte Carlo errors."""

    def __init__(
        self,
        likelihood: Information[P],
        structures: Sequence[Structure],
        phis: Sequence[Floats],
        point: P,
        noise: Noise | None,
    ) -> None:
        self.directions = [s.tangents(phi) for s, phi in zip(structures, phis, strict=True)]
        self.first = np.cumsum([0, *(len(d) for d in self.directions)])
        information = likelihood.average_information(point, self.directions)
        one = [_of_one_level(s, v, d) for s, v, d in zip(structures, point.sigmas, self.directions, strict=True)]
        reference = np.concatenate([np.zeros(0), *one])
        self._blind = np.diag(information) <= BLIND * reference
        information[self._blind] = information[:, self._blind] = 0.0
        root = np.sqrt(np.where(self._blind, np.maximum(reference, 1e-300), np.diag(information)))
        values, vectors = np.linalg.eigh(information / np.outer(root, root)) if len(root) else (root, information)
        kept = values > CONFOUNDED * max(1.0, float(values.max(initial=0.0)))
        half = vectors[:, kept] / np.sqrt(values[kept]) / root[:, None]
        self.covariance = half @ half.T
        self._lost = vectors[:, ~kept] / root[:, None]
        self._root = root
        self.sampled: Floats | None = None
        if noise is not None:
            self.sampled = self.covariance @ noise(self.directions) @ self.covariance

    def slopes(self, block: int, gradient: Floats) -> Floats:
        """Return the derivatives along all directions of a value with this gradient by Sigma of `block`."""
        found = np.zeros(self.first[-1])
        here = slice(self.first[block], self.first[block + 1])
        found[here] = np.tensordot(self.directions[block], gradient, 2)
        return found

    def blind(self, slopes: Floats) -> bool:
        """Return whether a value depends on a direction that the records say nothing about."""
        scaled = (slopes / self._root) ** 2
        return bool(scaled[self._blind].sum() > 1e-6 * scaled.sum())

    def error(self, slopes: Floats) -> float:
        """Return the standard error of a value, NaN if it depends on directions without information."""
        scaled = slopes / self._root
        lost = (self._lost * self._root[:, None]).T @ scaled
        if not np.any(slopes) or float(np.sum(lost**2)) > 1e-6 * float(np.sum(scaled**2)):
            return float("nan")
        return float(np.sqrt(max(0.0, slopes @ self.covariance @ slopes)))

    def sampling_error(self, slopes: Floats) -> float | None:
        """Return the Monte Carlo error of a value, None if nothing was sampled."""
        return None if self.sampled is None else float(np.sqrt(max(0.0, float(slopes @ self.sampled @ slopes))))


def _of_one_level(structure: Structure, sigma: Floats, directions: Floats) -> Floats:
    """Return the information along each direction if one level were seen, blunted by the phenotypic scale."""
    inverse = np.asarray(np.linalg.inv(sigma + np.diag(structure.scale)), np.float64)
    return np.diag(complete_information(directions, inverse, 0.5))


def infer(
    spec: ModelSpec,
    likelihood: Information[P],
    keys: Sequence[Key],
    structures: Sequence[Structure],
    phis: Sequence[Floats],
    point: P,
    noise: Noise | None = None,
) -> Inference:
    """Return parameters, matrices and functions with their standard errors at `point`, evaluated last.

    noise: the Monte Carlo covariance of the gradient along directions of every Sigma, None if it is exact.
    """
    delta = _Delta(likelihood, structures, phis, point, noise)
    parameters: list[Parameter] = []
    slopes: list[Floats] = []
    sigma: dict[Key, SigmaEstimate] = {}
    for block, (key, structure) in enumerate(zip(keys, structures, strict=True)):
        value = point.sigmas[block]
        singular = _boundary(structure, value)
        sigma[key] = _matrices(delta, block, structure, value, singular, _positions(spec, key[0], structure.size))
        correlation = sigma[key].correlation
        for e in structure.elements():
            held = e.fixed or singular[e.row, e.col]
            slope = delta.slopes(block, _gradient(value, e.row, e.col, e.kind == "correlation"))
            error = float("nan") if held else delta.error(slope)
            parameters.append(
                Parameter(
                    key[0],
                    e.row + 1,
                    e.col + 1,
                    e.kind,
                    parameter_name(key, e.row, e.col, structure, e.kind),
                    float((correlation if e.kind == "correlation" else value)[e.row, e.col]),
                    None if np.isnan(error) else error,
                    _constraint(e, bool(singular[e.row, e.col]), delta.blind(slope)),
                    key[1],
                    None if np.isnan(error) else delta.sampling_error(slope),
                )
            )
            slopes.append(slope if not np.isnan(error) else 0.0 * slope)
    joint = np.array(slopes).reshape(len(parameters), -1)
    singular_of = [_boundary(s, v) for s, v in zip(structures, point.sigmas, strict=True)]
    functions = {name: _function(text, name, delta, keys, point.sigmas, singular_of) for name, text in spec.functions}
    sampled = None if delta.sampled is None else joint @ delta.sampled @ joint.T
    free = sum(p.constraint in ("free", "boundary") for p in parameters)
    free -= sum(spec.variance(name).n_bound(s.size) for (name, _), s in zip(keys, structures, strict=True))
    return Inference(tuple(parameters), free, joint @ delta.covariance @ joint.T, sampled, sigma, functions)


def _constraint(e: Element, boundary: bool, blind: bool) -> Constraint:
    """Return what holds an element."""
    if e.fixed:
        return "fixed"
    return "boundary" if boundary else "not estimable" if blind else "equal" if e.equal else "free"


def _boundary(structure: Structure, sigma: Floats) -> NDArray[np.bool_]:
    """Return which elements lie on the boundary: variances that vanish, and covariances of a singular Sigma."""
    null = structure.null_directions(sigma)
    if structure.n_free == 0 or null.shape[1] == 0:
        return np.zeros(sigma.shape, np.bool_)
    weight = np.sum(null**2, axis=1)
    zero, involved = weight > 0.999, weight > 0.01
    across = np.outer(involved, involved) & ~np.eye(len(sigma), dtype=np.bool_)
    return np.asarray(across | zero[:, None] | zero)


def _gradient(sigma: Floats, i: int, j: int, correlation: bool) -> Floats:
    """Return the gradient of an element, or of a correlation, by Sigma."""
    found = np.zeros_like(sigma)
    if not correlation or i == j:
        found[i, j] += 0.5
        found[j, i] += 0.5
        return found
    root = np.sqrt(sigma[i, i] * sigma[j, j])
    r = sigma[i, j] / root
    found[i, j] = found[j, i] = 0.5 / root
    found[i, i], found[j, j] = -0.5 * r / sigma[i, i], -0.5 * r / sigma[j, j]
    return found


def _matrices(
    delta: _Delta,
    block: int,
    structure: Structure,
    sigma: Floats,
    singular: NDArray[np.bool_],
    positions: tuple[str, ...],
) -> SigmaEstimate:
    """Return a matrix with standard errors of its elements and correlations, and Monte Carlo errors of the former."""
    n = structure.size
    deviation = np.sqrt(np.diag(sigma))
    correlation = np.clip(sigma / np.outer(deviation, deviation), -1.0, 1.0)
    errors, correlation_errors = np.full((n, n), np.nan), np.full((n, n), np.nan)
    sampled = None if delta.sampled is None else np.full((n, n), np.nan)
    for i in range(n):
        for j in range(i + 1):
            if singular[i, j]:
                continue
            slope = delta.slopes(block, _gradient(sigma, i, j, False))
            errors[i, j] = errors[j, i] = delta.error(slope)
            if sampled is not None and not np.isnan(errors[i, j]):
                sampled[i, j] = sampled[j, i] = delta.sampling_error(slope)
            if i != j:
                slope = delta.slopes(block, _gradient(sigma, i, j, True))
                correlation_errors[i, j] = correlation_errors[j, i] = delta.error(slope)
    return SigmaEstimate(positions, sigma, errors, correlation, correlation_errors, sampled)


def function_value(text: str, name: str, keys: Sequence[Key], sigmas: Sequence[Floats]) -> float:
    """Return the value of a function of the components; ``res.F`` is the residual variance of class ``F``."""
    titles = [variance if label is None else f"{variance}.{label}" for variance, label in keys]
    try:
        return evaluate_function(text, dict(zip(titles, sigmas, strict=True)))
    except (KeyError, IndexError):
        message = f"function {name!r}, {text!r}, refers to a variance that is not there; there are {', '.join(titles)}"
        raise ModelError(message) from None


def _function(
    text: str,
    name: str,
    delta: _Delta,
    keys: Sequence[Key],
    sigmas: Sequence[Floats],
    singular: Sequence[NDArray[np.bool_]],
) -> FunctionValue:
    """Return a function of the components; its slopes are central differences along the directions."""

    def value(moved: Sequence[Floats]) -> float:
        return function_value(text, name, keys, moved)

    at = value(sigmas)
    for block, elements in enumerate(singular):
        for i, j in np.argwhere(np.tril(elements)):
            moved = list(sigmas)
            moved[block] = sigmas[block].copy()
            moved[block][i, j] -= 1e-4 * np.sqrt(sigmas[block][i, i] * sigmas[block][j, j])
            moved[block][j, i] = moved[block][i, j]
            if not abs(value(moved) - at) <= 1e-14 * abs(at):
                return FunctionValue(at, float("nan"))  # it depends on an element at the boundary
    slopes = np.zeros(delta.first[-1])
    for block, directions in enumerate(delta.directions):
        for k, d in enumerate(directions):
            deviation = np.sqrt(np.diag(sigmas[block]))
            size = float(np.max(np.abs(d) / np.outer(deviation, deviation)))
            if size == 0.0:
                continue
            h = 1e-5 / size
            up, down = list(sigmas), list(sigmas)
            up[block], down[block] = sigmas[block] + h * d, sigmas[block] - h * d
            slopes[delta.first[block] + k] = (value(up) - value(down)) / (2.0 * h)
    if not np.all(np.isfinite(slopes)):
        return FunctionValue(at, float("nan"))
    return FunctionValue(at, delta.error(slopes), delta.sampling_error(slopes))


def _positions(spec: ModelSpec, variance: str, size: int) -> tuple[str, ...]:
    """Return the name of every position of a variance: its sub-factors, or the traits."""
    if variance == RESIDUAL:
        return spec.traits
    names = [str(k + 1) for k in range(size)]
    polynomials = {t.subfactor: t.polynomials for e in spec.equations for t in e.terms}
    for s in spec.subfactors:
        if s.variance != variance:
            continue
        expanded = polynomials.get(s.name) or ()
        for k, p in enumerate(s.positions):
            names[p - 1] = f"{s.name}_{expanded[k]}" if k < len(expanded) else s.name
    return tuple(names)


def parameter_name(key: Key, i: int, j: int, structure: Structure, kind: str) -> str:
    """Return how a parameter is called: ``g[2,1]``, ``cor(g[2,1])``, with the class of the residual behind."""
    text = key[0] if structure.size == 1 else f"{key[0]}[{i + 1},{j + 1}]"
    if kind == "correlation":
        text = f"cor({text})"
    return text if key[1] is None else f"{text} {key[1]}"
