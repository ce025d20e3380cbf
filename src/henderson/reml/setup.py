"""From a model to what the rounds work on: design, structures, start values, likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, tril

from henderson.equations.absorbed_groups import full_rank_with_groups
from henderson.equations.design import build_design
from henderson.equations.model import Design
from henderson.errors import ModelError
from henderson.language.spec import RESIDUAL, Matrix, ModelSpec, VarianceSpec
from henderson.partitions.communicator import ALONE, Communicator
from henderson.reml.equations import build_pattern
from henderson.reml.likelihood import Likelihood
from henderson.reml.start import bend, phenotypic, start_values
from henderson.reml.structures import Structure
from henderson.solvers.cholesky import SparseCholesky
from henderson.store.model_data import ModelData

Floats = NDArray[np.float64]
Key = tuple[str, str | None]


@dataclass
class Problem:
    """A model ready to be fitted.

    keys: (variance, residual class or None) of each Sigma, in one order with structures and starts.
    """

    design: Design
    likelihood: Likelihood
    keys: tuple[Key, ...]
    structures: tuple[Structure, ...]
    starts: list[Floats]


@dataclass(frozen=True)
class Blocks:
    """What each Sigma of a design belongs to, random ones before residual classes; `given`: None where left out."""

    keys: tuple[Key, ...]
    variances: tuple[VarianceSpec, ...]
    sizes: tuple[int, ...]
    given: tuple[Floats | None, ...]

    def structures(
        self, starts: Sequence[Floats], scales: Sequence[Floats], from_data: bool
    ) -> tuple[tuple[Structure, ...], list[Floats]]:
        """Return the structures, and start values: `starts` where the model gives none, or where `from_data`."""
        structures, values = [], []
        for v, n, sigma, own, scale in zip(self.variances, self.sizes, self.given, starts, scales, strict=True):
            structures.append(structure_of(v, n, scale, sigma if sigma is not None else own))
            use = own if sigma is None or (from_data and not structures[-1].fix.any()) else sigma
            values.append(bend(use, 1e-6))
        return tuple(structures), values


def blocks_of(spec: ModelSpec, design: Design) -> Blocks:
    """Return what each Sigma of the design belongs to."""
    residual = spec.residual
    random = [spec.variance(g.name) for g in design.groups if g.covariance is not None]
    levels: tuple[str | None, ...] = design.residual_classes if residual.by is not None else (None,)
    return Blocks(
        (*((v.name, None) for v in random), *((RESIDUAL, level) for level in levels)),
        (*random, *[residual] * len(levels)),
        (*(g.width for g in design.groups if g.covariance is not None), *[design.n_traits] * len(levels)),
        (*(sigma_given(v, None) for v in random), *(sigma_given(residual, level) for level in levels)),
    )


def set_up(spec: ModelSpec, data: ModelData, *, reml: bool = True, from_data: bool = False) -> Problem:
    """Return the problem of a model; start values are those of the model where it has any, unless `from_data`.

    Raises
    ------
    ModelError
        A trait has fewer observations than fixed effects, or a value to be held is missing.

    """
    design = full_rank_with_groups(build_design(with_values(spec), data), spec, data)
    refuse_constant(design)
    blocks = blocks_of(spec, design)
    # before there are start values: what is coupled does not depend on them, but for held values
    drafts, _ = blocks.structures([np.eye(n) for n in blocks.sizes], [np.ones(n) for n in blocks.sizes], False)
    masks = [d.coupling() for d in drafts]
    n_random = len(masks) - len(design.residuals)
    pattern = build_pattern(design, data, masks[:n_random], masks[n_random:], log_determinant)
    likelihood = Likelihood(pattern, reml=reml)
    refuse_saturated(likelihood.n_observations, likelihood.n_fixed)
    structures, values = blocks.structures(*start_values(design, phenotypic(pattern)), from_data)
    return Problem(design, likelihood, blocks.keys, structures, values)


def refuse_saturated(n_observations: int, n_fixed: int) -> None:
    """Raise `ModelError` if fixed effects take all observations."""
    if n_observations <= n_fixed:
        raise ModelError(
            f"{n_observations} observations and {n_fixed} independent fixed effects leave "
            "nothing to estimate variances from; leave fixed effects out"
        )


def refuse_constant(design: Design, communicator: Communicator = ALONE) -> None:
    """Raise `ModelError` for traits that do not vary. **Collective**."""
    for trait, y in zip(design.traits, design.responses, strict=True):
        seen = y[~np.isnan(y)]
        n = int(communicator.sum(np.array([float(len(seen))]))[0])
        low, high = communicator.minimum(np.array([seen.min(initial=np.inf), -seen.max(initial=-np.inf)])) * np.array(
            [1.0, -1.0]
        )
        if n > 1 and low == high:
            raise ModelError(
                f"trait {trait!r} is {low:g} in all its {n} records and has no variance to estimate; "
                "leave it out, or check its column"
            )


def with_values(spec: ModelSpec) -> ModelSpec:
    """Return the model with some Sigma for every variance that has none, so that a design can be made of it."""
    variances = []
    for v in spec.variances:
        n = size_of(spec, v)
        identity: Matrix = tuple(tuple(float(i == j) for j in range(n)) for i in range(n))
        variances.append(v if v.sigma is not None else replace(v, sigma=identity))
    return replace(spec, variances=tuple(variances))


def size_of(spec: ModelSpec, variance: VarianceSpec) -> int:
    """Return the number of positions of a variance."""
    if variance.name == RESIDUAL:
        return len(spec.equations)
    if variance.sigma is not None:
        return len(variance.sigma)
    return max((p for s in spec.subfactors if s.variance == variance.name for p in s.positions), default=0)


def sigma_given(variance: VarianceSpec, level: str | None) -> Floats | None:
    """Return the Sigma that the model gives for a variance (of a residual class), None if there is none."""
    sigma = dict(variance.classes).get(level, variance.sigma) if level is not None else variance.sigma
    return None if sigma is None else np.array(sigma, np.float64)


def log_determinant(matrix: csc_array) -> float:
    """Return the log-determinant of a symmetric positive definite matrix."""
    lower = csc_array(tril(matrix, format="csc"))
    lower.sort_indices()
    factor = SparseCholesky(lower.indptr.astype(np.int64), lower.indices.astype(np.int32))
    factor.factor(np.asarray(lower.data, np.float64))
    return factor.log_determinant


def structure_of(variance: VarianceSpec, n: int, scale: Floats, start: Floats) -> Structure:
    """Return the structure of a Sigma of `n` positions; `scale` and `start` as in `Structure`."""
    fix = np.zeros((n, n), np.bool_) if variance.fix is None else np.array(variance.fix, np.bool_)
    return Structure(variance.structure, n, fix, variance.equal, scale, start, variance.rank)


def with_covariances(design: Design, sigmas: Sequence[Floats]) -> Design:
    """Return the design with other covariance matrices: of the random groups, then of the residual classes."""
    rest = iter(sigmas)
    groups = tuple(
        g if g.covariance is None else replace(g, covariance=replace(g.covariance, sigma=next(rest)))
        for g in design.groups
    )
    return replace(design, groups=groups, residuals=tuple(rest))


def estimates(spec: ModelSpec, keys: Sequence[tuple[str, str | None]], sigmas: Sequence[Floats]) -> ModelSpec:
    """Return the model with the estimates in its variances."""
    variances = []
    for v in spec.variances:
        mine = [(label, _matrix(s)) for (name, label), s in zip(keys, sigmas, strict=True) if name == v.name]
        if not mine:
            variances.append(v)
        elif mine[0][0] is None:
            variances.append(replace(v, sigma=mine[0][1]))
        else:
            classes = tuple((str(label), sigma) for label, sigma in mine)
            variances.append(replace(v, sigma=mine[0][1], classes=classes))
    return replace(spec, variances=tuple(variances))


def _matrix(sigma: Floats) -> Matrix:
    return tuple(tuple(float(x) for x in row) for row in (sigma + sigma.T) / 2.0)
