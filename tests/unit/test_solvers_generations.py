"""The coarse space of generations, and effects nested in individuals: rounds that they save on test days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.equations.model import Design
from henderson.jobs.run import Settings, ingest_only, understand
from henderson.partitions.threads import Team
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.solvers import nested_effects
from henderson.solvers.generations import Generations
from henderson.solvers.nested_effects import Nesting
from henderson.solvers.pcg import pcg
from henderson.solvers.solve import Stages, set_up
from henderson.solvers.sweep import SweepPreconditioner
from henderson.store.reader import open_store

RTOL = 1e-8


def none_of(design: Design, others: frozenset[int], swept: frozenset[int]) -> list[list[Nesting]]:
    return []


def without(self: Generations, schur: object) -> None:
    self._inverse = np.zeros((self.n, self.n))


def test_both_save_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "testday"
    simulate_testday(TestDayConfig(scale=0.001, format="parquet"), folder)
    ingest_only(folder / "model.toml", Settings(store=tmp_path / "store"))
    with Team(2) as team:
        operator = set_up(understand(folder / "model.toml"), open_store(tmp_path / "store"), team, Stages())
        rhs = operator.right_hand_side()

        def rounds() -> int:
            report = pcg(operator, SweepPreconditioner(operator), rhs, rtol=RTOL, xtol=1.0)
            assert report.converged
            return report.iterations

        both = rounds()
        monkeypatch.setattr(Generations, "set_up", without)
        nested = rounds()
        monkeypatch.setattr(nested_effects, "candidates", none_of)
        neither = rounds()
        assert both < 0.85 * nested
        assert nested < 0.95 * neither
