"""From the equations of a model to what Monte Carlo rounds work on: structures and start values, without a factor."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from henderson.equations.matrix_root import with_roots
from henderson.equations.operator import Operator
from henderson.equations.partition import Partition
from henderson.kernels import working as kernels
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import Communicator
from henderson.partitions.exchange import Vectors
from henderson.reml.setup import Key, blocks_of, refuse_constant, refuse_saturated, with_covariances
from henderson.reml.start import covariance_of, spread, start_values
from henderson.reml.structures import Structure
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner

Floats = NDArray[np.float64]

START_RTOL = 1e-4  # of the fixed effects that start values are made with


@dataclass
class SampledProblem:
    """A model ready for Monte Carlo rounds.

    operator: of the equations with responses less the fixed effects of `fixed` (least squares), which changes nothing
    but the scale of the right-hand side; keys: (variance, residual class or None) of each Sigma, in one order with
    structures and starts; counts: records of each pattern.
    """

    operator: Operator
    fixed: Vectors
    keys: tuple[Key, ...]
    structures: tuple[Structure, ...]
    starts: list[Floats]
    counts: NDArray[np.int64]
    n_observations: int
    n_fixed: int


def sampled_problem(
    spec: ModelSpec, operator: Operator, communicator: Communicator, from_data: bool = False
) -> SampledProblem:
    """Return the problem of a model on its equations; as `setup.set_up`, by iteration. **Collective**.

    Raises
    ------
    ModelError
        A trait does not vary, has fewer observations than fixed effects, or a value to be held is missing.

    """
    operator = with_roots(operator, communicator)
    design = operator.design
    refuse_constant(design, communicator)
    counts = records_by_pattern(operator)
    n_observations = int((counts * design.patterns.observed.sum(axis=1)).sum())
    n_fixed = sum(int(kept.sum()) for kept in design.kept if kept is not None)
    refuse_saturated(n_observations, n_fixed)
    fixed, e, sums = _after_fixed_effects(operator)
    total = covariance_of(sums, design.patterns.observed, counts, n_fixed, spread(design, communicator))
    blocks = blocks_of(spec, design)
    structures, values = blocks.structures(*start_values(design, total, communicator), from_data)
    return SampledProblem(
        _centred(operator, e), fixed, blocks.keys, structures, values, counts, n_observations, n_fixed
    )


def records_by_pattern(operator: Operator) -> NDArray[np.int64]:
    """Return the number of records of each pattern, of all processes. **Collective**."""
    n = len(operator.design.patterns.observed)
    parts = [np.bincount(p.records.pattern, minlength=n).astype(np.float64) for p in operator.partitions]
    return operator.exchange.sum_arrays(parts).astype(np.int64)


def residuals(operator: Operator, x: Vectors) -> tuple[list[Floats], Floats]:
    """Return y - W x per partition, and sums of weight * e e' by pattern over all. **Collective**."""
    design = operator.design
    operator.exchange.forward(x)

    def part(p: int) -> tuple[Floats, Floats]:
        r = operator.partitions[p].records
        e = np.empty((len(r.pattern), design.n_traits))
        sums = np.zeros((len(design.patterns.observed), design.n_traits, design.n_traits))
        y = np.column_stack([trait[r.start : r.stop] for trait in design.responses])
        kernels.residuals(r, operator.terms, design.patterns.observed, y, x[p], e, sums)
        return e, sums

    parts = operator.team.run(part, operator.n_partitions)
    return [e for e, _ in parts], operator.exchange.sum_arrays([s for _, s in parts])


def _after_fixed_effects(operator: Operator) -> tuple[Vectors, list[Floats], Floats]:
    """Return the fixed effects by least squares, without random ones, and the `residuals` after them."""
    design = operator.design
    groups = [np.eye(g.width) for g in design.groups if g.covariance is not None]
    plain = with_covariances(design, [*groups, *[np.eye(design.n_traits)] * len(design.residuals)])
    whole = Operator(plain, operator.partitions, operator.exchange, operator.team)
    parts = [_without_random(p, operator) for p in operator.partitions]
    fixed = Operator(plain, parts, operator.exchange, operator.team)
    found = pcg(fixed, BlockPreconditioner(whole), fixed.right_hand_side(), rtol=START_RTOL)
    return found.solution, *residuals(fixed, found.solution)


def _centred(operator: Operator, e: list[Floats]) -> Operator:
    """Return the operator with the responses `e`, per partition, missing where they were."""
    design = operator.design
    responses = []
    for t, y in enumerate(design.responses):
        centred = np.full(len(y), np.nan)
        for partition, mine in zip(operator.partitions, e, strict=True):
            centred[partition.records.start : partition.records.stop] = mine[:, t]
        responses.append(np.where(np.isnan(y), np.nan, centred))
    moved = replace(design, responses=tuple(responses))
    return Operator(moved, operator.partitions, operator.exchange, operator.team)


def _without_random(partition: Partition, operator: Operator) -> Partition:
    """Return the partition with the equations of random effects left out."""
    more = [
        np.arange(local.elements.start, local.elements.stop, dtype=np.uint32)
        for local, group in zip(partition.layout.groups, operator.design.groups, strict=True)
        if group.covariance is not None
    ]
    return replace(partition, blank=np.concatenate([partition.blank, *more]), pins=None)
