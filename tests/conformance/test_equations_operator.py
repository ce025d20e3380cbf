"""One suite for every operator: linear, symmetric, positive definite, the same in any cut, as the assembled one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.linalg

from henderson.equations.assembly import Assembled, assemble, triplet_count
from henderson.equations.columns import ColumnOperator
from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.kernels import blocks as block_kernels
from henderson.partitions.threads import Team
from henderson.solvers.generations import DIRECTIONS, KNOTS, SPREAD
from henderson.solvers.nested_effects import Nesting
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner, Kind
from henderson.solvers.sweep import SweepPreconditioner, classes_of
from henderson.store.model_data import ModelData, Pedigree
from oracles.small_models import Recipe, small_model

MODELS = {
    "one trait": Recipe(n_traits=1, covariate=False, mean=False),
    "aligned traits": Recipe(n_traits=3, covariate=False, mean=False, weights=True),
    "aligned maternal": Recipe(n_traits=2, covariate=False, mean=False, maternal=True, permanent=True),
    "covariates": Recipe(n_traits=2, nested=True, weights=True),
    "shared and overlay": Recipe(n_traits=2, shared=True, overlay=True, unequal=True),
    "matrix and selfing": Recipe(n_traits=2, matrix=True, selfing=True),
    "random regression": Recipe(n_traits=4, regression=True),
    "wide blocks": Recipe(n_traits=4, regression=True, maternal=True, permanent=True, weights=True),
    "runs of records": Recipe(
        n_traits=4, n_records=150, missing=0.02, runs=True, covariate=False, nested=True, regression=True, weights=True
    ),
    "own Sigmas": Recipe(
        n_traits=2, maternal=True, permanent=True, matrix=True, regression=True, weights=True, own=True
    ),
}
CUTS = [(1, 1), (2, 2), (2, 4)]  # threads, partitions


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def recipe(request: pytest.FixtureRequest) -> Recipe:
    return request.param


@pytest.fixture(params=CUTS, ids=[f"{t} threads {p} partitions" for t, p in CUTS])
def operator(request: pytest.FixtureRequest, recipe: Recipe) -> Iterator[Operator]:
    threads, partitions = request.param
    spec, data = small_model(recipe)
    with Team(threads) as team:
        yield build_operator(full_rank(build_design(spec, data)), data, team, partitions)


def random_values(operator: Operator, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(g.n_levels, g.width)) for g in operator.design.groups]


def apply(operator: Operator, values: list[np.ndarray]) -> list[np.ndarray]:
    out = operator.zeros()
    operator.apply(operator.from_levels(values), out)
    return operator.to_levels(out)


def dense(assembled: Assembled, values: list[np.ndarray]) -> np.ndarray:
    flat = np.zeros(assembled.matrix.shape[0] + 1)
    for number, array in zip(assembled.number, values, strict=True):
        flat[number] = array
    return flat[:-1]


def test_product_is_the_assembled_one(operator: Operator) -> None:
    assembled = assemble(operator)
    x = random_values(operator, 1)
    expected = assembled.matrix @ dense(assembled, x)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(dense(assembled, apply(operator, x)), expected, rtol=1e-12, atol=1e-12 * scale)
    assert assembled.matrix.nnz <= triplet_count(operator)


def test_product_is_linear_symmetric_and_positive(operator: Operator) -> None:
    assembled = assemble(operator)
    x, y = random_values(operator, 1), random_values(operator, 2)
    both = [2.0 * a - 3.0 * b for a, b in zip(x, y, strict=True)]
    Cx, Cy, Cboth = (dense(assembled, apply(operator, v)) for v in (x, y, both))
    dense_x, dense_y = dense(assembled, x), dense(assembled, y)
    np.testing.assert_allclose(Cboth, 2.0 * Cx - 3.0 * Cy, atol=1e-11 * np.abs(Cx).max())
    assert dense_y @ Cx == pytest.approx(dense_x @ Cy, rel=1e-11)
    assert dense_x @ Cx > 0.0
    assert np.linalg.eigvalsh(assembled.matrix.toarray())[0] > 0.0


def test_runs_of_records_are_taken_together_where_there_are_some() -> None:
    spec, data = small_model(MODELS["runs of records"])
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team)
    assert operator.runs is not None
    (starts,) = operator.runs
    assert starts[0] == 0
    assert starts[-1] == len(data.records)
    assert len(starts) < 0.6 * len(data.records)


def test_left_out_equations_are_zero(operator: Operator) -> None:
    values = apply(operator, random_values(operator, 3))
    for kept, array in zip(operator.design.kept, values, strict=True):
        if kept is not None:
            assert not array[~kept].any()
    assert operator.design.n_equations == assemble(operator).matrix.shape[0]


def test_one_thread_gives_the_same_bits_each_time(operator: Operator) -> None:
    x = random_values(operator, 4)
    first, second = apply(operator, x), apply(operator, x)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_any_cut_gives_the_same_product(recipe: Recipe) -> None:
    spec, data = small_model(recipe)
    design = full_rank(build_design(spec, data))
    results = []
    for threads, partitions in CUTS:
        with Team(threads) as team:
            operator = build_operator(design, data, team, partitions)
            x = random_values(operator, 5)
            rhs = operator.to_levels(operator.right_hand_side())
            results.append([*apply(operator, x), *rhs])
            assert sum(operator.n_owned) == sum(g.size for g in design.groups)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(a).max())


def dense_preconditioner(operator: Operator, assembled: Assembled, kind: str) -> np.ndarray:
    """M^-1 from the assembled matrix: the inverse of each level's block, or of all fixed equations together."""
    C = assembled.matrix.toarray()
    if kind == "diagonal":
        return np.diag(1.0 / np.diag(C))
    blocks = []
    for group, number in zip(operator.design.groups, assembled.number, strict=True):
        blocks += [number] if kind == "border" and group.covariance is None else list(number)
    if kind == "border":
        fixed = [b.ravel() for b in blocks if b.ndim == 2]
        blocks = [b for b in blocks if b.ndim == 1] + ([np.concatenate(fixed)] if fixed else [])
    M = np.zeros_like(C)
    for block in blocks:
        at = block[block >= 0]
        M[np.ix_(at, at)] = np.linalg.inv(C[np.ix_(at, at)])
    return M


@pytest.mark.parametrize("compact", [False, True], ids=["double", "compact"])
@pytest.mark.parametrize("kind", ["border", "block", "diagonal"])
def test_the_preconditioner_inverts_blocks_of_the_matrix(operator: Operator, kind: Kind, compact: bool) -> None:
    """Compact blocks are in single precision, and levels without records have no block of their own."""
    assembled = assemble(operator)
    M = dense_preconditioner(operator, assembled, kind)
    residual, z, q = operator.from_levels(random_values(operator, 6)), operator.zeros(), operator.zeros()
    preconditioner = BlockPreconditioner(operator, kind, compact_above=0 if compact else 1 << 40)
    r = dense(assembled, operator.to_levels(residual))
    rr, rz = preconditioner.descend(0.0, q, residual, z)
    expected = M @ r
    got = dense(assembled, operator.to_levels(z))
    rtol, atol = (1e-4, 1e-6) if compact else (1e-7, 1e-9)  # single precision, and the conditions of the blocks
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol * np.abs(expected).max())
    assert rr == pytest.approx(r @ r, rel=1e-12)
    assert rz == pytest.approx(r @ expected, rel=1e-5 if compact else 1e-8)
    preconditioner.apply(residual, q)
    np.testing.assert_allclose(dense(assembled, operator.to_levels(q)), got, rtol=1e-12, atol=1e-14)
    diagonal = dense(assembled, operator.to_levels(preconditioner.inverse_diagonal()))
    np.testing.assert_allclose(diagonal, np.diag(M), rtol=rtol, atol=atol * np.diag(M).max())
    many, roots = ColumnOperator(operator, 2), []
    columns = many.zeros()
    for part, one in zip(columns, residual, strict=True):
        part[:, 0], part[:, 1] = one, -2.0 * one
    solved = many.zeros()
    squares, products = preconditioner.descend_columns(np.zeros(2), many.zeros(), columns, solved)
    np.testing.assert_allclose(squares, [rr, 4 * rr], rtol=1e-12)
    np.testing.assert_allclose(products, [rz, 4 * rz], rtol=1e-9)
    if kind == "block":  # L' M^-1 L = I
        preconditioner.multiply_root(columns)
        for part in columns:
            roots.append(np.ascontiguousarray(part[:, 0]))
        preconditioner.apply(roots, z)
        form = sum(float(a[:n] @ b[:n]) for a, b, n in zip(roots, z, operator.n_owned, strict=True))
        assert form == pytest.approx(rr, rel=1e-4 if compact else 1e-7)
        sign, log_determinant = np.linalg.slogdet(M)
        assert sign > 0
        assert preconditioner.log_determinant() == pytest.approx(-log_determinant, rel=1e-5 if compact else 1e-9)


def pivots_and_links(pedigree: Pedigree, sigma: np.ndarray, C: np.ndarray, number: np.ndarray, M: np.ndarray) -> None:
    """Add an incomplete factor of the block of the animals to M: the youngest first, only pivots are updated."""
    inverse = np.linalg.inv(sigma)
    pivot = [C[np.ix_(at, at)].copy() for at in number]
    N = np.zeros_like(C)
    for i in np.argsort(-pedigree.generation, kind="stable"):
        N[np.ix_(number[i], number[i])] = pivot[i]
        link = -0.5 / pedigree.mendelian_variance[i] * inverse
        for parent in (pedigree.sire[i], pedigree.dam[i]):
            if parent >= 0:
                N[np.ix_(number[parent], number[i])] += link
                pivot[parent] -= link @ np.linalg.inv(pivot[i]) @ link
    at = number.ravel()
    D = scipy.linalg.block_diag(*pivot)
    M[np.ix_(at, at)] += N[np.ix_(at, at)] @ np.linalg.inv(D) @ N[np.ix_(at, at)].T


def nested_levels(operator: Operator, nesting: Nesting) -> dict[int, int]:
    """The individual of each level whose records all have the same one, and that in one slot."""
    design, found = operator.design, {}
    levels, individuals = (design.slots[s].codes for s in (nesting.slot, nesting.slot_of_individuals))
    others = [
        slot.codes
        for s, slot in enumerate(design.slots)
        if slot.group == nesting.individuals and s != nesting.slot_of_individuals
    ]
    for level in range(design.groups[nesting.group].n_levels):
        mine = levels == level
        same = set(individuals[mine].tolist())
        twice = any((codes[mine] == individuals[mine]).any() for codes in others)
        if len(same) == 1 and min(same) >= 0 and not twice:
            found[level] = min(same)
    return found


def generations_of(pedigree: Pedigree) -> np.ndarray:
    """One more than the mean of the known parents'."""
    out = np.zeros(len(pedigree.sire))
    for i in np.argsort(pedigree.generation, kind="stable"):
        parents = [p for p in (pedigree.sire[i], pedigree.dam[i]) if p >= 0]
        out[i] = 1.0 + np.mean(out[parents]) if parents else 0.0
    return out


def coarse_columns(pedigree: Pedigree, sigma: np.ndarray, number: np.ndarray, n: int) -> list[np.ndarray]:
    """Functions of the generation that are linear between knots, times the directions of the largest correlations."""
    generation = generations_of(pedigree)
    known = generation[generation > 0.0]
    top = known.mean() + SPREAD * known.std() if len(known) else 1.0
    sd = np.sqrt(np.diag(sigma))
    vectors = np.linalg.eigh(sigma / np.outer(sd, sd))[1][:, ::-1][:, :DIRECTIONS] * sd[:, None]
    knots = np.linspace(0.0, top, KNOTS)
    found = []
    for one in np.eye(KNOTS):
        for direction in vectors.T:
            column = np.zeros(n)
            column[number] = np.interp(np.minimum(generation, top), knots, one)[:, None] * direction
            found.append(column)
    return found


def dense_sweep(operator: Operator, data: ModelData, assembled: Assembled, nestings: list[Nesting]) -> np.ndarray:
    """M of the sweep from the assembled matrix: classes exactly, then what they are coupled with."""
    C = assembled.matrix.toarray()
    groups, classes = operator.design.groups, classes_of(operator)
    swept = {
        g: data.pedigrees[str(group.covariance.name)]
        for g, group in enumerate(groups)
        if group.covariance is not None and group.covariance.kind == "pedigree" and group.covariance.own is None
    }
    M, of_classes, reduced, columns = np.zeros_like(C), np.zeros(len(C), np.bool_), C.copy(), []
    for g, number in enumerate(assembled.number):
        if g in classes:
            of_classes[number[number >= 0]] = True
        elif g not in swept:
            for at in number:
                M[np.ix_(at, at)] = C[np.ix_(at, at)]
    for nesting in nestings:
        for level, animal in nested_levels(operator, nesting).items():
            at = assembled.number[nesting.group][level]
            to = assembled.number[nesting.individuals][animal][nesting.positions]
            given = C[np.ix_(to, at)] @ np.linalg.solve(C[np.ix_(at, at)], C[np.ix_(at, to)])
            reduced[np.ix_(to, to)] -= given
            M[np.ix_(to, to)] += given
            M[np.ix_(at, to)], M[np.ix_(to, at)] = C[np.ix_(at, to)], C[np.ix_(to, at)]
    for g, pedigree in swept.items():
        sigma, number = groups[g].covariance.sigma, assembled.number[g]
        pivots_and_links(pedigree, sigma, reduced, number, M)
        columns += coarse_columns(pedigree, sigma, number, len(C))
    F, A = np.flatnonzero(of_classes), np.flatnonzero(~of_classes)
    taken_off = C[np.ix_(A, F)] @ np.linalg.solve(C[np.ix_(F, F)], C[np.ix_(F, A)])
    if columns:
        Z = np.column_stack(columns)[A]
        E = Z.T @ (C[np.ix_(A, A)] - taken_off) @ Z
        M[np.ix_(A, A)] = np.linalg.inv(np.linalg.inv(M[np.ix_(A, A)]) + Z @ np.linalg.pinv(E, 1e-9, True) @ Z.T)
    M[np.ix_(F, F)], M[np.ix_(F, A)], M[np.ix_(A, F)] = C[np.ix_(F, F)], C[np.ix_(F, A)], C[np.ix_(A, F)]
    M[np.ix_(A, A)] += taken_off
    return M


@pytest.mark.parametrize("limit", [0, 1000], ids=["levels that are shared", "all classes"])
@pytest.mark.parametrize("compact", [False, True], ids=["double", "compact"])
def test_the_sweep_is_symmetric_positive_definite_and_solves(
    recipe: Recipe, operator: Operator, compact: bool, limit: int
) -> None:
    """M^-1 column by column, whatever the partitions; PCG finds what it finds with level blocks, in no more rounds.

    Limit: equations of fixed groups that partitions solve for together, beside levels that they share.
    """
    M = SweepPreconditioner(operator, limit, compact_above=0 if compact else 1 << 40)
    assembled = assemble(operator)
    n = len(assembled.rhs)
    inverse, z, q = np.zeros((n, n)), operator.zeros(), operator.zeros()
    for k in range(n):
        M.apply(operator.from_levels(assembled.to_levels(np.eye(n)[k])), z)
        inverse[k] = dense(assembled, operator.to_levels(z))
    np.testing.assert_allclose(inverse, inverse.T, rtol=1e-6, atol=1e-8 * np.abs(inverse).max())
    assert bool(M.nested.nestings) == (recipe.permanent and not recipe.own)
    product = inverse @ dense_sweep(operator, small_model(recipe)[1], assembled, M.nested.nestings)
    np.testing.assert_allclose(product, np.eye(n), atol=1e-2 if compact else 1e-5)
    scale = 1.0 / np.sqrt(np.diag(inverse))
    assert np.linalg.eigvalsh((inverse + inverse.T) * scale * scale[:, None]).min() > 1e-9
    residual = operator.from_levels(random_values(operator, 6))
    r = dense(assembled, operator.to_levels(residual))
    rr, rz = M.descend(0.0, q, residual, q)
    assert rr == pytest.approx(r @ r, rel=1e-12)
    assert rz == pytest.approx(r @ inverse @ r, rel=1e-6)
    owned = [np.zeros(count) for count in operator.n_owned]  # as another engine's vectors: without ghosts
    M.apply(residual, owned)
    for a, b, count in zip(owned, q, operator.n_owned, strict=True):
        np.testing.assert_allclose(a, b[:count], rtol=1e-10, atol=1e-12)
    alpha = np.array([0.0, 0.5, -2.0])
    steps, lefts = ([operator.from_levels(random_values(operator, s + k)) for k in range(3)] for s in (6, 16))
    columns, solved = ([np.stack(parts, axis=1) for parts in zip(*v, strict=True)] for v in (lefts, steps))
    squares, products = M.descend_columns(alpha, solved, columns, solved)
    for j, (left, step) in enumerate(zip(lefts, steps, strict=True)):
        rr, rz = M.descend(float(alpha[j]), step, left, step)
        assert squares[j] == pytest.approx(rr, rel=1e-12)
        assert products[j] == pytest.approx(rz, rel=1e-9)
        for p, count in enumerate(operator.n_owned):
            np.testing.assert_allclose(columns[p][:count, j], left[p][:count], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(solved[p][:count, j], step[p][:count], rtol=1e-9, atol=1e-11)
    rhs = operator.right_hand_side()
    one, other = pcg(operator, M, rhs, rtol=1e-10), pcg(operator, BlockPreconditioner(operator), rhs, rtol=1e-10)
    assert one.reason is other.reason
    assert one.iterations <= 1.2 * other.iterations + 3
    for a, b in zip(operator.to_levels(one.solution), operator.to_levels(other.solution), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * (1.0 + np.abs(b).max()))


def test_assembled_and_matrix_free_have_one_residual_history(operator: Operator) -> None:
    """The same iteration on the assembled matrix in plain NumPy, preconditioned by the inverse blocks."""
    report = pcg(operator, BlockPreconditioner(operator), operator.right_hand_side(), rtol=1e-10)
    assembled = assemble(operator)
    C, b = assembled.matrix.toarray(), assembled.rhs
    M = dense_preconditioner(operator, assembled, "border")
    r = b.copy()
    p = z = M @ r
    history = [1.0]
    for _ in range(min(report.iterations, 8)):
        alpha = (r @ z) / (p @ C @ p)
        before = r @ z
        r = r - alpha * (C @ p)
        z = M @ r
        p = z + (r @ z) / before * p
        history.append(float(np.linalg.norm(r) / np.linalg.norm(b)))
    assert report.converged
    np.testing.assert_allclose(report.residual_norms[: len(history)], history, rtol=1e-6, atol=1e-13)


def test_singular_block_still_gives_a_positive_definite_inverse() -> None:
    packed = np.array([[1.0, 1.0, 1.0], [4.0, 2.0, 2.0]])
    assert block_kernels.invert_blocks(2, None, packed) == -1
    for a, b, c in packed:
        assert np.linalg.eigvalsh(np.array([[a, b], [b, c]]))[0] > 0.0


def test_a_block_that_is_not_finite_is_found() -> None:
    packed = np.array([[1.0, 0.0, 1.0], [np.nan, 0.0, 1.0]])
    assert block_kernels.invert_blocks(2, None, packed) == 1
