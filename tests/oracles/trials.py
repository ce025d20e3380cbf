"""Trials of random families with two traits of very different size, for fits of variance components."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from henderson.language.spec import DataSpec, Equation, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.store.model_data import Labels, ModelData, Records

GROUPS = 40


def trial(
    seed: int = 1, *, repeats: int = 4, genetic: float = 0.5, missing: float = 0.0
) -> tuple[ModelSpec, ModelData]:
    """Two traits of very different size in random families."""
    rng = np.random.default_rng(seed)
    n = GROUPS * repeats
    family = np.repeat(np.arange(GROUPS), repeats)
    sd = np.array([20.0, 0.1])
    G = np.array([[1.0, genetic], [genetic, 1.0]]) * 0.3
    R = np.array([[1.0, -0.2], [-0.2, 1.0]])
    u = rng.multivariate_normal(np.zeros(2), G, GROUPS)
    y = (u[family] + rng.multivariate_normal(np.zeros(2), R, n)) * sd + np.array([400.0, 5.0])
    y[rng.random(y.shape) < missing] = np.nan
    records = Records(
        np.arange(n),
        {"a": y[:, 0].copy(), "b": y[:, 1].copy()},
        {},
        {"family": family.astype(np.int32), "half": (family % 2).astype(np.int32)},
    )
    data = ModelData(records, {"family": Labels(np.arange(GROUPS)), "half": Labels(np.arange(2))})
    equations = tuple(Equation(t, (Term("1", f"m{k}"), Term("family", f"u{k}"))) for k, t in enumerate("ab"))
    subfactors = (SubFactor("m0"), SubFactor("m1"), SubFactor("u0", "g", (1,)), SubFactor("u1", "g", (2,)))
    eye = ((1.0, 0.0), (0.0, 1.0))
    variances = (VarianceSpec("g", eye), VarianceSpec("res", eye))
    return ModelSpec(DataSpec(("r.csv",)), equations, subfactors, variances), data


def with_variances(spec: ModelSpec, **changes: dict[str, object]) -> ModelSpec:
    return replace(spec, variances=tuple(replace(v, **changes.get(v.name, {})) for v in spec.variances))


def no_values(spec: ModelSpec) -> ModelSpec:
    return with_variances(spec, g={"sigma": None}, res={"sigma": None})
