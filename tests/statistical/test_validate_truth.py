"""Method LR on simulated data: without bias with the variances that made them, overdispersed with a too large one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest

from henderson.jobs.run import Settings, run
from henderson.jobs.simulate import simulate_from_options
from henderson.jobs.validate import Choices, EffectValidation, validate
from henderson.results.solution_files import places

SEEDS = range(7, 15)
INFLATED = 5.0


def validated(folder: Path, factor: float) -> EffectValidation:
    text = (folder / "model.toml").read_text()
    (sigma,) = re.findall(r"\[variance.g\]\nsigma = \[\[(.*?)\]\]", text)
    model = folder / f"model{factor:g}.toml"
    model.write_text(text.replace(sigma, repr(factor * float(sigma)), 1))
    for name, before in (("partial", ("born", "2016")), ("whole", None)):
        run(model, Settings(folder / f"{name}{factor:g}", jobs=("solve",), threads=1, before=before))
    return validate(folder / f"partial{factor:g}", folder / f"whole{factor:g}", Choices(replicates=200)).effects[0]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[EffectValidation, EffectValidation, float]]:
    """Return of each simulation the validations with the true and a too large variance, and the true reliability."""
    results = []
    for seed in SEEDS:
        folder = tmp_path_factory.mktemp("lr") / "data"
        simulate_from_options(
            folder, animals=4000, pedigree="dairy", traits=1, records=None, herds=66, missing=0.0, seed=seed,
            file_format="csv", scale=None, integer_ids=False, progress=None,
        )  # fmt: skip
        right, wrong = validated(folder, 1.0), validated(folder, INFLATED)
        truth = pa_csv.read_csv(folder / "truth_animals.csv")
        u = truth["u_y1"].to_numpy()[places(truth["id"].combine_chunks(), right.ids)]
        results.append((right, wrong, float(np.corrcoef(u, right.partial)[0, 1] ** 2)))
    return results


def within(values: list[float], expected: float, errors: float = 3.0) -> bool:
    return abs(np.mean(values) - expected) < errors * np.std(values, ddof=1) / np.sqrt(len(values))


def test_the_right_variance_gives_neither_bias_nor_dispersion(
    found: list[tuple[EffectValidation, EffectValidation, float]],
) -> None:
    right = [r for r, _, _ in found]
    assert within([r.lr.dispersion.value for r in right], 1.0)
    assert within([r.lr.bias_sd.value for r in right], 0.0)
    assert within([r.trend.difference_sd.value for r in right if r.trend is not None], 0.0)
    assert np.std([r.lr.dispersion.value for r in right]) < 0.25
    assert sum(r.lr.dispersion.holds(1.0) for r in right) >= len(right) - 1
    assert all(r.lr.families > 20 for r in right)


def test_reliabilities_are_those_with_the_true_breeding_values(
    found: list[tuple[EffectValidation, EffectValidation, float]],
) -> None:
    assert within([r.lr.reliability.value - true for r, _, true in found], 0.0)


def test_a_too_large_variance_shows_as_dispersion(
    found: list[tuple[EffectValidation, EffectValidation, float]],
) -> None:
    assert all(w.lr.dispersion.value < r.lr.dispersion.value for r, w, _ in found)
    assert not within([w.lr.dispersion.value for _, w, _ in found], 1.0)
    assert np.mean([w.lr.dispersion.value for _, w, _ in found]) < 0.9
