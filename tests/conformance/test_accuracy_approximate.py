"""Approximate accuracies where they are exact, and the identities of contributions and deviations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.accuracy.approximate import Information
from henderson.accuracy.approximate_levels import approximate_pev
from henderson.accuracy.contributions import contributions
from henderson.accuracy.gamma import of_data
from henderson.accuracy.pev import all_levels
from henderson.errors import NotSupportedError
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.solvers.solve import Equations
from henderson.store.reader import open_store
from oracles.small_models import Recipe, small_model

MODEL = """
[data]
records = "records.csv"
[pedigree.ped]
file = "pedigree.csv"
[model]
equations = """
SIGMA_G = [[30.0, 6.0], [6.0, 20.0]]
TAIL = f"""
[variance.g]
sigma = {SIGMA_G}
gamma = {{ A = {{ pedigree = "ped" }} }}
"""


def tree(folder: Path, equations: str, tail: str) -> Equations:
    """Two generations: 12 sires, each with its own dams, two full sibs each; many records of the mean."""
    rng = np.random.default_rng(5)
    pedigree, records = ["id,sire,dam"], ["id,dam,y1,y2"]
    number = 5000
    for s in range(1, 13):
        pedigree.append(f"{s},0,0")
        for d in range(int(rng.integers(1, 5))):
            dam = 100 * s + d
            pedigree.append(f"{dam},0,0")
            for _ in range(2):
                number += 1
                pedigree.append(f"{number},{s},{dam}")
                for _ in range(int(rng.integers(0, 3))):
                    records.append(f"{number},{dam},{rng.normal():.3f},{rng.normal():.3f}")
    for k in range(6000):  # unrelated animals make the mean known
        pedigree += [f"{10**6 + k},0,{2 * 10**6 + k}", f"{2 * 10**6 + k},0,0"]
        records.append(f"{10**6 + k},{2 * 10**6 + k},{rng.normal():.3f},{rng.normal():.3f}")
    (folder / "pedigree.csv").write_text("\n".join(pedigree) + "\n")
    (folder / "records.csv").write_text("\n".join(records) + "\n")
    (folder / "model.toml").write_text(f'{MODEL}"""\n{equations}\n"""{TAIL}{tail}')
    spec = load_model(folder / "model.toml", read_schema)
    ingest(spec, folder / "store")
    return Equations(spec, open_store(folder / "store"), 1)


RES = "[variance.res]\nsigma = [[60.0, 5.0], [5.0, 50.0]]\n"
PE = "[variance.pe]\nsigma = [[10.0]]\n"
TREES = {
    "two traits": ("y1 = 1*m1 + id*u1(v(g(1)))\ny2 = 1*m2 + id*u2(v(g(2)))", RES),
    "permanent": ("y1 = 1*m1 + id*u1(v(g(1))) + id*p1(v(pe(1)))\ny2 = 1*m2 + id*u2(v(g(2)))", RES + PE),
    "maternal": ("y1 = 1*m1 + id*u1(v(g(1))) + dam*d1(v(g(2)))", "[variance.res]\nsigma = [[60.0]]\n"),
    "maternal environment": (
        "y1 = 1*m1 + id*u1(v(g(1))) + dam*d1(v(g(2))) + dam*c1(v(pe(1)))",
        "[variance.res]\nsigma = [[60.0]]\n" + PE,
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_exact_on_a_tree(name: str, tmp_path: Path) -> None:
    with tree(tmp_path, *TREES[name]) as equations:
        exact = all_levels(equations)
        near = approximate_pev(equations.operator.design, equations.data, rounds=2)
        groups = equations.operator.design.groups
        theirs = {part.subfactor: part.reliability for part in exact.subfactors}
        for g, group in enumerate(groups):
            if group.covariance is None or near.reliabilities[g] is None:
                continue
            for k, position in enumerate(group.positions):
                assert position is not None
                np.testing.assert_allclose(near.reliabilities[g][:, k], theirs[position.subfactor], atol=2e-3)


def test_two_animals_are_met(tmp_path: Path) -> None:
    """A line through two points: their blocks are the exact ones, with or without memory for more than one column."""
    spec, data = small_model(Recipe(n_animals=200, n_records=500, seed=3))
    with Equations(spec, data, 1) as equations:
        exact = all_levels(equations)
        operator = equations.operator
        information = Information(operator.design, equations.data, of_data(equations.data))
        information.gather()
        before = information.variances()[0]
        for memory in (None, 1):
            information.calibrate(operator, equations.preconditioner_for_many(), 2, memory)
            after = information.variances()[0]
            (g,) = (k for k, v in enumerate(after) if v is not None and k in information.layout.genetic)
            first, last = np.argsort(information.layout.pedigree.generation, kind="stable")[[0, -1]]
            at = [first, last]
            for k, position in enumerate(operator.design.groups[g].positions):
                assert position is not None
                part = next(p for p in exact.subfactors if p.subfactor == position.subfactor)
                np.testing.assert_allclose(after[g][at, k], part.se[at] ** 2, rtol=2e-3)
            assert not np.allclose(after[g][at], before[g][at], rtol=2e-3)


def test_deviations_and_parents_make_solutions(tmp_path: Path) -> None:
    """Of sires with progeny that have none: prior precision u = sum_c M_c (DYD - u), as the equations say."""
    with tree(tmp_path, *TREES["permanent"]) as equations:
        solutions = equations.solve(method="direct").report.solution
        information = Information(equations.operator.design, equations.data, of_data(equations.data))
        information.gather()
        found = contributions(information, equations.operator, solutions)
        ((g, deviations),) = found.deviations.items()
        layout, animals = information.layout, information.animals
        pedigree, u = layout.pedigree, solutions[g]
        sires = [s for s in np.unique(pedigree.sire) if s >= 0 and not np.isnan(deviations[s]).any()]
        assert len(sires) > 6
        for s in sires:
            M = np.zeros((2, 2))
            for c in np.flatnonzero(pedigree.sire == s):
                if animals.record[c] >= 0:
                    a, b, d = animals.own[animals.record[c]].astype(float)
                    J = np.array([[a, b], [b, d]])
                    M += 0.25 * np.linalg.solve(np.eye(2) + 0.5 * J @ SIGMA_G, J)
            np.testing.assert_allclose(np.linalg.solve(SIGMA_G, u[s]), M @ (deviations[s] - u[s]), atol=1e-6)
        alone = np.flatnonzero((pedigree.sire < 0) & (animals.record >= 0))  # with one record each
        np.testing.assert_allclose(found.records[g][alone, 1].mean(), 1.0, atol=0.15)


def test_what_it_does_not_know_is_refused() -> None:
    spec, data = small_model(Recipe(matrix=True, n_animals=60, n_records=150, seed=3))
    with Equations(spec, data, 1) as equations, pytest.raises(NotSupportedError, match="sampling"):
        approximate_pev(equations.operator.design, equations.data)
