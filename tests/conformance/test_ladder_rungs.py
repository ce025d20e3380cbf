"""Preconditioners of the comparison: as defined, from the assembled matrix, in any cut; PCG solves with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.ladder_rungs import (
    CoarseSpace,
    DiagonalisedLevels,
    PartBlocks,
    TwoLevel,
    canonical,
    clusters_of,
    effects_of,
    traits_of,
)
from henderson.equations.assembly import Assembled, assemble
from henderson.equations.design import build_design
from henderson.equations.model import Design
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.partitions.threads import Team
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner
from henderson.solvers.sweep import preconditioner_of
from henderson.store.model_data import Pedigree
from oracles.small_models import Recipe, small_model

MODELS = {
    "maternal": Recipe(n_traits=2, maternal=True, permanent=True, weights=True),
    "random regression": Recipe(n_traits=3, n_animals=25, regression=True, nested=True, selfing=True),
    "matrix": Recipe(n_traits=2, matrix=True, regression=True),
}
CUTS = [(1, 1), (2, 4)]  # threads, partitions
SPACES = ["levels", "sires", "herds"]


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return request.param


@pytest.fixture(params=CUTS, ids=[f"{t} threads {p} partitions" for t, p in CUTS])
def operator(request: pytest.FixtureRequest, recipe: Recipe) -> Iterator[Operator]:
    threads, partitions = request.param
    spec, data = small_model(recipe)
    with Team(threads) as team:
        yield build_operator(full_rank(build_design(spec, data)), data, team, partitions)


def pedigree_of(recipe: Recipe) -> Pedigree:
    return small_model(recipe)[1].pedigrees["ped"]


def inverse_of(M: BlockPreconditioner | TwoLevel, operator: Operator, assembled: Assembled) -> np.ndarray:
    """M^-1 column by column; what descends from M^-1 r is what `apply` gives."""
    n = len(assembled.rhs)
    number = np.concatenate([each.ravel() for each in assembled.number])
    columns = []
    for unit in np.eye(n):
        r, z = operator.from_levels(assembled.to_levels(unit)), operator.zeros()
        for part in z:
            part[:] = np.nan  # whatever was there
        M.apply(r, z)
        values = np.concatenate([each.ravel() for each in operator.to_levels(z)])
        columns.append(np.bincount(number[number >= 0], weights=values[number >= 0], minlength=n))
    squares, product = M.descend(0.0, operator.zeros(), r, z)
    assert squares == pytest.approx(1.0)
    assert product == pytest.approx(columns[-1][-1], rel=1e-9)
    return np.array(columns)


def assert_solves(M: BlockPreconditioner | TwoLevel, inverse: np.ndarray, operator: Operator) -> None:
    np.testing.assert_allclose(inverse, inverse.T, rtol=1e-6, atol=1e-8 * np.abs(inverse).max())
    scale = 1.0 / np.sqrt(np.diag(inverse))
    assert np.linalg.eigvalsh((inverse + inverse.T) * scale * scale[:, None]).min() > 1e-9
    rhs = operator.right_hand_side()
    one, other = pcg(operator, M, rhs, rtol=1e-10), pcg(operator, BlockPreconditioner(operator), rhs, rtol=1e-10)
    assert one.reason is other.reason
    for a, b in zip(operator.to_levels(one.solution), operator.to_levels(other.solution), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * (1.0 + np.abs(b).max()))


def trait_of_position(design: Design, g: int, position: int) -> int:
    return min((t.trait for t in design.terms if (design.slots[t.slot].group, t.position) == (g, position)), default=-1)


@pytest.mark.parametrize("compact", [False, True], ids=["double", "compact"])
@pytest.mark.parametrize("part", ["traits", "effects"])
def test_parts_of_level_blocks(operator: Operator, part: str, compact: bool) -> None:
    assembled = assemble(operator)
    C = assembled.matrix.toarray()
    M = np.zeros_like(C)
    for g, number in enumerate(assembled.number):
        traits = [trait_of_position(operator.design, g, t) for t in range(number.shape[1])]
        label = traits if part == "traits" else [traits[:t].count(trait) for t, trait in enumerate(traits)]
        for level in number:
            for each in set(label):
                at = [k for k, mine in zip(level, label, strict=True) if mine == each and k >= 0]
                M[np.ix_(at, at)] = np.linalg.inv(C[np.ix_(at, at)])
    rung = PartBlocks(operator, traits_of if part == "traits" else effects_of, 0 if compact else 1 << 40)
    inverse = inverse_of(rung, operator, assembled)
    rtol, atol = (1e-4, 1e-6) if compact else (1e-7, 1e-9)
    np.testing.assert_allclose(inverse, M, rtol=rtol, atol=atol * np.abs(M).max())
    assert_solves(rung, inverse, operator)


def test_positions_of_a_random_regression() -> None:
    spec, data = small_model(MODELS["random regression"])
    design = build_design(spec, data)
    curves = next(g for g, group in enumerate(design.groups) if group.name == "rr")
    assert traits_of(design, curves).tolist() == [0, 0, 1, 1, 2, 2]
    assert effects_of(design, curves).tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("compact", [False, True], ids=["double", "compact"])
def test_diagonalised_levels(operator: Operator, compact: bool) -> None:
    """With all levels stored the mean is that of all; of a compact group, that of levels with records."""
    assembled = assemble(operator)
    C = assembled.matrix.toarray()
    M = np.diag(1.0 / np.diag(C))
    slots = operator.design.slots
    for g, (group, number) in enumerate(zip(operator.design.groups, assembled.number, strict=True)):
        if group.covariance is None:
            continue
        codes = np.concatenate([slot.codes for slot in slots if slot.group == g])
        levels = np.unique(codes[codes >= 0]) if compact else np.arange(group.n_levels)
        mean = np.mean([C[np.ix_(at, at)] for at in number[levels]], axis=0)
        half = np.linalg.cholesky(group.covariance.sigma)
        T = half @ np.linalg.eigh(half.T @ mean @ half)[1]
        for at in number:
            M[np.ix_(at, at)] = T @ np.diag(1.0 / np.diag(T.T @ C[np.ix_(at, at)] @ T)) @ T.T
    rung = DiagonalisedLevels(operator, 0 if compact else 1 << 40)
    inverse = inverse_of(rung, operator, assembled)
    rtol, atol = (1e-4, 1e-6) if compact else (1e-6, 1e-8)
    np.testing.assert_allclose(inverse, M, rtol=rtol, atol=atol * np.abs(M).max())
    assert_solves(rung, inverse, operator)


def test_canonical_traits_are_independent() -> None:
    rng = np.random.default_rng(1)
    B, S = ((X := rng.normal(size=(9, 4))).T @ X for _ in range(2))
    T = canonical(S, B)
    np.testing.assert_allclose(T.T @ S @ T, np.eye(4), atol=1e-12)
    D = T.T @ B @ T
    np.testing.assert_allclose(D, np.diag(np.diag(D)), atol=1e-12)


def columns_of(clusters: dict[int, np.ndarray], operator: Operator, assembled: Assembled) -> np.ndarray:
    """Z from its definition."""
    columns = []
    for g, of in clusters.items():
        number = assembled.number[g]
        for cluster in range(int(of.max()) + 1):
            for position in range(number.shape[1]):
                z = np.zeros(len(assembled.rhs))
                for level in np.flatnonzero(of == cluster):
                    if number[level, position] >= 0:
                        z[number[level, position]] = 1.0
                columns.append(z)
    return np.array(columns).T


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("kind", "balanced"), [("border", False), ("border", True), ("sweep", True)])
def test_two_levels(operator: Operator, recipe: Recipe, kind: str, space: str, balanced: bool) -> None:
    assembled = assemble(operator)
    C = assembled.matrix.toarray()
    clusters = clusters_of(operator.design, pedigree_of(recipe), space, 4)
    Z = columns_of(clusters, operator, assembled)
    coarse = CoarseSpace(operator, clusters)
    E = Z.T @ C @ Z
    np.testing.assert_allclose(coarse.matrix, E, rtol=1e-10, atol=1e-11 * np.abs(E).max())
    base = preconditioner_of(operator, kind)
    first = inverse_of(base, operator, assembled)
    Q = Z @ np.linalg.pinv(E, 1e-11, hermitian=True) @ Z.T
    P = np.eye(len(C)) - C @ Q
    expected = P.T @ first @ P + Q if balanced else first + Q
    rung = TwoLevel(operator, base, coarse, balanced)
    inverse = inverse_of(rung, operator, assembled)
    np.testing.assert_allclose(inverse, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    assert_solves(rung, inverse, operator)


@pytest.mark.parametrize("space", SPACES)
def test_clusters_take_in_every_level_with_records(recipe: Recipe, space: str) -> None:
    spec, data = small_model(recipe)
    design = full_rank(build_design(spec, data))
    clusters = clusters_of(design, data.pedigrees["ped"], space, 4)
    for slot in design.slots:
        if slot.group in clusters:
            assert (clusters[slot.group][slot.codes[slot.codes >= 0]] >= 0).all()
    related = next(g for g, group in enumerate(design.groups) if group.pedigree)
    assert len(np.unique(clusters[related])) == (1 if space == "levels" else 4)
    if space == "sires":
        pedigree, of = data.pedigrees["ped"], clusters[related]
        for i in np.flatnonzero(pedigree.sire >= 0):
            if of[pedigree.sire[i]] < 3 and of[i] < 3:
                assert of[i] == of[pedigree.sire[i]] or i in pedigree.sire
    with pytest.raises(ValueError, match="no coarse space"):
        clusters_of(design, data.pedigrees["ped"], "aunts", 4)
