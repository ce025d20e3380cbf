"""The factor of classes is exact, nested or crossed; pivots of sires with many progeny keep their digits."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.equations.assembly import assemble
from henderson.equations.blocks import add_blocks
from henderson.equations.design import build_design
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.kernels import pedigree_sweep
from henderson.kernels.blocks import level_blocks, unpack_block
from henderson.language.spec import DataSpec, Equation, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.partitions.threads import Team
from henderson.solvers.class_factor import ClassFactor
from henderson.store.model_data import Labels, ModelData, Records


def equations(variables: dict[str, str]) -> ModelSpec:
    """Two traits; each class variable is fixed, or random if it has the name of a variance."""
    terms, factors = [], []
    for k in (1, 2):
        mine = [Term(v, f"{v}{k}") for v in variables] + [Term("x", f"x{k}", "covariate", polynomials=(1,))]
        terms.append(Equation(f"y{k - 1}", tuple(mine)))
        factors += [SubFactor(f"{v}{k}", r or None, (k,) if r else ()) for v, r in variables.items()]
        factors.append(SubFactor(f"x{k}"))
    names = sorted({r for r in variables.values() if r})
    sigma = ((2.0, 0.5), (0.5, 1.0))
    variances = tuple(VarianceSpec(n, sigma) for n in (*names, "res"))
    return ModelSpec(DataSpec(("r.csv",)), tuple(terms), tuple(factors), variances, polynomials=("x",))


def records(crossed: bool, seed: int) -> ModelData:
    rng = np.random.default_rng(seed)
    n = 400
    day = rng.integers(0, 60, n)
    year = rng.integers(0, 12, n) if crossed else day // 5
    y = rng.normal(size=(2, n))
    y[0, rng.random(n) < 0.3] = np.nan
    y[1, rng.random(n) < 0.3] = np.nan
    classes = {"day": day.astype(np.int32), "year": year.astype(np.int32)}
    return ModelData(
        Records(np.arange(n), {"y0": y[0], "y1": y[1]}, {"x": rng.normal(size=n)}, classes),
        {"day": Labels(np.arange(60)), "year": Labels(np.arange(12))},
    )


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("year", ["", "v"])
@pytest.mark.parametrize("some_outside", [False, True])
def test_solutions_are_those_of_the_block(crossed: bool, year: str, some_outside: bool) -> None:
    spec, data = equations({"day": "", "year": year}), records(crossed, 3)
    with Team(1) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team, 1)
        blocks = []
        for local in operator.partitions[0].layout.groups:
            room = np.zeros((local.n_owned, local.width * (local.width + 1) // 2))
            blocks.append(level_blocks(local.width, local.first_owned, room))
        add_blocks(operator, [blocks], operator.zeros())
        groups = frozenset(range(len(operator.design.groups)))
        outside = np.zeros(operator.partitions[0].layout.n_local, np.bool_)
        if some_outside:  # a few levels of each group
            for local in operator.partitions[0].layout.groups:
                outside[local.first_owned : local.first_owned + (local.n_owned + 9) // 10 * local.width] = True
        factor = ClassFactor(operator, 0, groups, blocks, outside)
        assert bool(len(factor.left)) == crossed
        r = [np.random.default_rng(1).normal(size=part.shape) for part in operator.zeros()]
        operator.blank(r)
        z = operator.zeros()
        factor.solve(r[0], z[0])
        assembled = assemble(operator)
        n = assembled.matrix.shape[0]
        flat = np.zeros(n + 1)
        for number, values in zip(assembled.number, operator.to_levels(r), strict=True):
            flat[number] = values
        inside = np.zeros(n + 1, np.bool_)
        mask = [(~outside[: operator.n_owned[0]]).astype(np.float64)]
        for number, values in zip(assembled.number, operator.to_levels(mask), strict=True):
            inside[number] = values > 0.0
        rows = np.flatnonzero(inside[:n])
        solution = np.zeros(n)
        solution[rows] = np.linalg.solve(assembled.matrix.toarray()[np.ix_(rows, rows)], flat[rows])
        expected = assembled.to_levels(solution)
        for found, wanted in zip(operator.to_levels(z), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_progeny_without_information_leave_the_pivot_of_their_sire_alone() -> None:
    n, width = 30_000, 2
    sigma = np.array([[100.0, 99.9], [99.9, 100.0]])
    inverse = np.linalg.inv(sigma)
    null = (n + 1) * width
    sire = np.zeros(n + 1, np.uint32)
    sire[0] = null
    dam = np.full(n + 1, null, np.uint32)
    precision = np.full(n + 1, 4.0 / 3.0)
    precision[0] = 1.0
    animals = np.arange(n, -1, -1, dtype=np.int32)
    place = np.full(n + 1, -1, np.int32)
    place[0] = 0
    packed = inverse[np.tril_indices(width)].astype(np.float32)[None]
    blocks = level_blocks(width, 0, packed, place, (1.0 / precision).astype(np.float32), sigma)
    ghosts = np.zeros((0, 3))
    assert pedigree_sweep.factor(animals, blocks, null, null, sire, dam, precision, inverse, ghosts) == -1
    found = np.empty((width, width))
    unpack_block.py_func(blocks, 0, found)
    np.testing.assert_allclose(found, sigma, rtol=1e-3)
