"""Rows of A^-1 with weights of their own: products, blocks, assembled matrix, columns, samples and forms agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.equations.assembly import assemble
from henderson.equations.blocks import add_blocks
from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.equations.samples import cross_forms, quadratic_forms, sample_right_hand_sides
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.kernels.blocks import LevelBlocks, level_blocks
from henderson.language.load import load_model
from henderson.partitions.layout import GroupLayout
from henderson.partitions.threads import Team
from henderson.pedigree.transform import inverse_relationship, relationship_diagonal
from henderson.solvers.solve import Stages, set_up
from henderson.store.model_data import ModelData
from henderson.store.reader import open_store
from oracles.pedigree_files import SIGMA, make_kind, make_records, write_model

CASES = ("uncertain", "mgd", "metafounders", "uncertain metafounders", "fixed groups")


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Operator, ModelData]:
    kind = make_kind(request.param, 4)
    folder: Path = tmp_path_factory.mktemp("loadings")
    spec = load_model(write_model(folder, kind, make_records(kind, 4)), read_schema)
    ingest(spec, folder / "s.zarr", workers=1)
    data = open_store(folder / "s.zarr")
    team = Team(2)
    return set_up(spec, data, team, Stages()), data


def columns_of(operator: Operator, C: ColumnOperator, values: np.ndarray) -> list[np.ndarray]:
    """Local arrays of vectors (n_levels, width, n_columns) per group."""
    parts = [operator.from_levels([v[:, :, j] for v in values]) for j in range(C.n_columns)]
    return [np.ascontiguousarray(np.stack([part[p] for part in parts], axis=1)) for p in range(operator.n_partitions)]


def empty_blocks(local: GroupLayout) -> LevelBlocks:
    shape = (local.n_owned, local.width * (local.width + 1) // 2)
    return level_blocks(local.width, local.first_owned, np.zeros(shape))


def test_product_assembled_matrix_and_blocks_agree(case: tuple[Operator, ModelData]) -> None:
    operator, _ = case
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(g.n_levels, g.width)) for g in operator.design.groups]
    y = operator.zeros()
    operator.apply(operator.from_levels(x), y)
    assembled = assemble(operator)
    flat = np.zeros(assembled.matrix.shape[0] + 1)
    for number, values in zip(assembled.number, x, strict=True):
        flat[number] = values
    product = assembled.to_levels(assembled.matrix @ flat[:-1])
    for one, other in zip(operator.to_levels(y), product, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-6)
    diagonal = assembled.to_levels(assembled.matrix.diagonal())
    blocks = [[empty_blocks(local) for local in p.layout.groups] for p in operator.partitions]
    add_blocks(operator, blocks, y)
    for partition, mine in zip(operator.partitions, blocks, strict=True):
        for g, local in enumerate(partition.layout.groups):
            if operator.design.groups[g].covariance is not None:
                places = [t * (t + 3) // 2 for t in range(local.width)]
                expected = diagonal[g][local.owned_levels()]
                np.testing.assert_allclose(mine[g].packed[:, places], expected, rtol=1e-12)


def test_relationships_of_the_operator_are_those_of_the_transform(case: tuple[Operator, ModelData]) -> None:
    operator, data = case
    pedigree = data.pedigrees["ped"]
    A_inverse = inverse_relationship(pedigree).toarray()
    if np.isfinite(pedigree.mendelian_variance).all():
        np.testing.assert_allclose(np.diag(np.linalg.inv(A_inverse)), relationship_diagonal(pedigree), rtol=1e-10)
    C = ColumnOperator(operator, 1)
    rng = np.random.default_rng(2)
    x = [rng.normal(size=(g.n_levels, g.width, 1)) for g in operator.design.groups]
    forms = quadratic_forms(C, columns_of(operator, C, x)).random
    for g, form in enumerate(forms):
        if form is not None:
            u = x[g][:, :, 0]
            np.testing.assert_allclose(form[0], u.T @ A_inverse @ u, rtol=1e-11)


def test_columns_are_single_vectors(case: tuple[Operator, ModelData]) -> None:
    operator, _ = case
    C = ColumnOperator(operator, 3)
    rng = np.random.default_rng(3)
    x = [rng.normal(size=(g.n_levels, g.width, 3)) for g in operator.design.groups]
    out = C.zeros()
    C.apply(columns_of(operator, C, x), out)
    for j in range(3):
        y = operator.zeros()
        operator.apply(operator.from_levels([v[:, :, j] for v in x]), y)
        for p, n in enumerate(operator.n_owned):
            np.testing.assert_allclose(out[p][:n, j], y[p][:n], rtol=1e-12, atol=1e-6)


def test_samples_have_the_covariance_of_the_relationships(case: tuple[Operator, ModelData]) -> None:
    """Signs of one animal and position in one column: over all seeds the mean of eta eta' is C; X'eta is checked."""
    operator, data = case
    A_inverse = inverse_relationship(data.pedigrees["ped"]).toarray()
    C = ColumnOperator(operator, 64)
    assembled = assemble(operator)
    rng = np.random.default_rng(4)
    x = [rng.normal(size=(g.n_levels, g.width, 1)) for g in operator.design.groups]
    one = ColumnOperator(operator, 1)
    local = columns_of(operator, one, x)
    squares, crosses = [], []
    for seed in range(60):
        eta = sample_right_hand_sides(C, seed)
        products = sum(local[p][:n].T @ eta[p][:n] for p, n in enumerate(operator.n_owned))
        squares.append(np.mean(products**2))
        many = [np.ascontiguousarray(np.repeat(v, 64, axis=1)) for v in local]
        found = cross_forms(C, many, seed).random
        crosses.append(next(f.mean(axis=0) for f in found if f is not None))
    flat = np.zeros(assembled.matrix.shape[0] + 1)
    for number, values in zip(assembled.number, x, strict=True):
        flat[number] = values[:, :, 0]
    flat[-1] = 0.0
    pins = sum(
        float(p.pins.precision[k]) * float(local[i][p.pins.element[k], 0]) ** 2
        for i, p in enumerate(operator.partitions)
        if p.pins is not None
        for k in range(len(p.pins.element))
    )
    expected = float(flat[:-1] @ (assembled.matrix @ flat[:-1])) - pins
    n = len(squares) * 64
    assert np.mean(squares) == pytest.approx(expected, rel=5 * np.sqrt(2 / n))
    # a vector that does not depend on the signs has crosses of mean zero
    u = next(v for v, g in zip(x, operator.design.groups, strict=True) if g.covariance is not None)[:, :, 0]
    scale = np.sqrt(np.trace(u.T @ A_inverse @ u) * np.trace(SIGMA) / n)
    assert np.all(np.abs(np.mean(crosses, axis=0)) < 6 * scale)
