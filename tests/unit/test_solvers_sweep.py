"""The order in which the sweep goes through animals, and what partitions solve for together."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.equations.design import build_design
from henderson.equations.operator import Operator, build_operator
from henderson.equations.rank import full_rank
from henderson.partitions.threads import Team
from henderson.solvers import class_border, class_factor
from henderson.solvers.class_border import border_places
from henderson.solvers.pcg import pcg
from henderson.solvers.sweep import SweepPreconditioner, classes_of
from henderson.solvers.sweep_order import Turns, turns_of
from henderson.store.model_data import ModelData
from oracles.small_models import Recipe, small_model

RECIPE = Recipe(n_traits=2, selfing=True, n_animals=120)


def operator_of(team: Team, partitions: int) -> tuple[Operator, ModelData]:
    spec, data = small_model(RECIPE)
    return build_operator(full_rank(build_design(spec, data)), data, team, partitions), data


@pytest.mark.parametrize("partitions", [1, 2, 3, 7])
def test_every_animal_has_one_turn_after_those_of_its_progeny(partitions: int) -> None:
    with Team(1) as team:
        operator, data = operator_of(team, partitions)
        groups = frozenset(range(len(operator.design.groups))) - classes_of(operator)
        turns = turns_of(operator, groups, operator.zeros())
        pedigree = next(iter(data.pedigrees.values()))
        assert len({len(t) for mine in turns for t in mine.values()}) == 1
        for g in turns[0]:
            n = operator.design.groups[g].n_levels
            turn, place, home = (np.full(n, -1) for _ in range(3))
            for p, mine in enumerate(turns):
                start = operator.partitions[p].layout.groups[g].start
                for k in range(len(mine[g])):
                    turn[start + mine[g][k]] = k
                place[start + mine[g].animals] = np.arange(len(mine[g].animals))
                home[start + mine[g].animals] = p
            assert (turn >= 0).all()
            for parent in (pedigree.sire, pedigree.dam):
                child = np.flatnonzero(parent >= 0)
                parents = parent[child]
                here = home[child] == home[parents]
                assert (turn[child] <= turn[parents]).all()
                assert (turn[child] < turn[parents])[~here].all()
                assert (place[child] < place[parents])[here].all()
        assert sum(len(t.animals) - t.bounds[1] for t in turns[0].values()) > 0


def test_turns_are_slices() -> None:
    turns = Turns(np.array([4, 2, 0, 3, 1], np.int32), (0, 2, 2, 5))
    assert [turns[k].tolist() for k in range(len(turns))] == [[4, 2], [], [0, 3, 1]]


def test_the_border_has_the_levels_that_partitions_share() -> None:
    with Team(1) as team:
        operator, _ = operator_of(team, 3)
        classes = classes_of(operator)
        places, level, n_dense = border_places(operator, classes, 0)
        shared = set()
        for partition in operator.partitions:
            shared |= {(g, int(level)) for g in classes for level in partition.layout.groups[g].ghosts}
        assert len(level) == sum(operator.design.groups[g].width for g, _ in shared) > 0
        assert len(set(level.tolist())) == len(shared)
        assert n_dense == 0
        for partition, place in zip(operator.partitions, places, strict=True):
            for g, local in enumerate(partition.layout.groups):
                owned = place[local.elements]
                for level, rows in zip(local.owned_levels(), owned.reshape(-1, local.width), strict=True):
                    kept = operator.design.kept[g]
                    inside = (g, int(level)) in shared
                    assert ((rows >= 0) == (inside if kept is None else kept[level] & inside)).all()


@pytest.mark.parametrize("room", [0, 3])
def test_levels_that_do_not_fit_are_shared_on_the_diagonal(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_border, "SHARED_LIMIT", room)
    with Team(2) as team:
        operator, _ = operator_of(team, 4)
        rhs = operator.right_hand_side()
        report = pcg(operator, SweepPreconditioner(operator, 0), rhs, rtol=1e-10)
        exact = pcg(operator, SweepPreconditioner(operator), rhs, rtol=1e-10)
        assert report.converged
        assert exact.iterations <= report.iterations
        for a, b in zip(operator.to_levels(report.solution), operator.to_levels(exact.solution), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7 * (1.0 + np.abs(b).max()))


@pytest.mark.parametrize(("anyway", "products"), [(0, 10), (1, 1 << 30)])
def test_classes_with_a_large_factor_are_taken_level_by_level(
    anyway: int, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen before it is formed, or by the symbolic factor; the solutions are the same."""
    with Team(1) as team:
        spec, data = small_model(Recipe(n_traits=2, n_records=400, n_animals=120, overlay=True, shared=True))
        operator = build_operator(full_rank(build_design(spec, data)), data, team, 1)
        rhs = operator.right_hand_side()
        exact = pcg(operator, SweepPreconditioner(operator, 0), rhs, rtol=1e-10)
        monkeypatch.setattr(class_factor, "FILL_ANYWAY", anyway)
        monkeypatch.setattr(class_factor, "PRODUCTS", products)
        monkeypatch.setattr(class_factor, "FILL", 0)
        found = pcg(operator, SweepPreconditioner(operator, 0), rhs, rtol=1e-10)
        assert found.converged
        assert found.iterations > exact.iterations
        for a, b in zip(operator.to_levels(found.solution), operator.to_levels(exact.solution), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7 * (1.0 + np.abs(b).max()))
