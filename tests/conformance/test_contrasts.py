"""Variances of contrasts among predictions: k'C^-1 k beside the dense inverse, and what they say of bias."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from henderson.equations.assembly import assemble
from henderson.jobs.contrasts import Contrasts, contrast_variances
from henderson.jobs.run import Settings, run, understand
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.solvers.solve import Equations
from henderson.store.reader import open_store

INDEX = "\n[index.merit]\nweights = { u1 = 2, u2 = -0.5 }\n"


def test_they_are_quadratic_forms_of_the_inverse(tmp_path: Path) -> None:
    simulate(SimulationConfig(animals=250, traits=("y1", "y2"), repeats=2, seed=5), tmp_path / "data")
    model = tmp_path / "data" / "model.toml"
    model.write_text(model.read_text() + INDEX)
    rng = np.random.default_rng(1)
    settings = Settings(tmp_path / "out", jobs=("solve",), threads=2, before=("born", "2016"))
    run(model, settings)
    with Equations(
        settings.applied_to(understand(model, ("solve",))), open_store(tmp_path / "out" / "store.zarr")
    ) as eq:
        assembled = assemble(eq.operator)
        inverse = np.linalg.inv(assembled.matrix.toarray())
        group = next(g for g, each in enumerate(eq.operator.design.groups) if each.name == "g")
        labels = np.array(eq.operator.design.groups[group].labels.text())
    some = rng.choice(len(labels), 20, replace=False)
    k = {"u1": rng.normal(size=(20, 2)), "u2": rng.normal(size=(20, 1)), "merit": rng.normal(size=(20, 20))}
    weights = {"u1": [1.0, 0.0], "u2": [0.0, 1.0], "merit": [2.0, -0.5]}
    ids = pa.array(labels[some].tolist())
    found = contrast_variances(model, settings, [Contrasts("g", name, ids, values) for name, values in k.items()])
    for mine, (name, values) in zip(found, k.items(), strict=True):
        full = np.zeros((len(inverse), values.shape[1]))
        for position, weight in enumerate(weights[name]):
            full[assembled.number[group][some, position]] += weight * values
        expected = np.einsum("ij,ik,kj->j", full, inverse, full)
        np.testing.assert_allclose(mine, expected, rtol=1e-6)
