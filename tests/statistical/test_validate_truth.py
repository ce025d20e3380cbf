"""Method LR on simulated data: without bias with the variances that made them, overdispersed with a too large one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from henderson.jobs.contrasts import Contrasts, Floats, contrast_variances
from henderson.jobs.run import Settings, run
from henderson.jobs.simulate import simulate_from_options
from henderson.jobs.validate import Choices, EffectValidation, validate
from henderson.results.solution_files import places

SEEDS = range(7, 15)
CUT = "2016"
TREND = 5.0  # about a genetic standard deviation a year
INFLATED = 5.0


def validated(folder: Path, factor: float, records: str = "records.csv") -> EffectValidation:
    text = (folder / "model.toml").read_text().replace("records.csv", records)
    (sigma,) = re.findall(r"\[variance.g\]\nsigma = \[\[(.*?)\]\]", text)
    stem = f"{Path(records).stem}{factor:g}"
    model = folder / f"{stem}.toml"
    model.write_text(text.replace(sigma, repr(factor * float(sigma)), 1))
    how = [
        Settings(folder / f"{name}_{stem}", jobs=("solve",), threads=1, before=before)
        for name, before in (("partial", ("born", CUT)), ("whole", None))
    ]
    for settings in how:
        run(model, settings)
    folders = [settings.folders(model)[0] for settings in how]

    def by_model(contrasts: Sequence[Contrasts]) -> tuple[list[Floats], list[Floats]]:
        partial, whole = (contrast_variances(model, settings, contrasts) for settings in how)
        return partial, whole

    return validate(folders[0], folders[1], Choices(replicates=200, daughters=3), by_model).effects[0]


def with_trend(folder: Path, by_year: float) -> None:
    """Write records whose later years are better than the model knows."""
    table = pa_csv.read_csv(folder / "records.csv")
    years = np.maximum(table["born"].to_numpy() - int(CUT) + 1, 0)
    values = table["y1"].to_numpy() + by_year * years
    place = table.schema.get_field_index("y1")
    pa_csv.write_csv(table.set_column(place, "y1", pa.array(values)), folder / "trending.csv")


@dataclass(frozen=True)
class Case:
    """The validations of a simulation: right, with a too large variance, with a trend; the true reliability."""

    right: EffectValidation
    wrong: EffectValidation
    trending: EffectValidation
    true: float


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    results = []
    for seed in SEEDS:
        folder = tmp_path_factory.mktemp("lr") / "data"
        simulate_from_options(
            folder, animals=4000, pedigree="dairy", traits=1, records=None, herds=66, missing=0.0, seed=seed,
            file_format="csv", scale=None, integer_ids=False, progress=None,
        )  # fmt: skip
        with_trend(folder, TREND)
        right, wrong = validated(folder, 1.0), validated(folder, INFLATED)
        trending = validated(folder, 1.0, "trending.csv")
        truth = pa_csv.read_csv(folder / "truth_animals.csv")
        u = truth["u_y1"].to_numpy()[places(truth["id"].combine_chunks(), right.ids)]
        results.append(Case(right, wrong, trending, float(np.corrcoef(u, right.partial)[0, 1] ** 2)))
    return results


def within(values: list[float], expected: float, errors: float = 3.0) -> bool:
    return abs(np.mean(values) - expected) < errors * np.std(values, ddof=1) / np.sqrt(len(values))


def test_the_right_variance_gives_neither_bias_nor_dispersion(found: list[Case]) -> None:
    right = [c.right for c in found]
    assert within([r.lr.dispersion.value for r in right], 1.0)
    assert within([r.lr.bias_sd.value for r in right], 0.0)
    assert within([r.trend.difference_sd.value for r in right if r.trend is not None], 0.0)
    assert np.std([r.lr.dispersion.value for r in right]) < 0.25
    assert sum(bool(r.lr.dispersion.holds(1.0)) for r in right) >= len(right) - 1
    assert sum(bool(r.lr.bias.holds(0.0)) for r in right) >= len(right) - 1
    assert all(r.lr.families > 15 for r in right)
    assert all(r.by_model for r in right)


def test_reliabilities_are_those_with_the_true_breeding_values(found: list[Case]) -> None:
    assert within([c.right.lr.reliability.value - c.true for c in found], 0.0)


def test_a_too_large_variance_shows_as_dispersion(found: list[Case]) -> None:
    assert all(c.wrong.lr.dispersion.value < c.right.lr.dispersion.value for c in found)
    assert not within([c.wrong.lr.dispersion.value for c in found], 1.0)
    assert np.mean([c.wrong.lr.dispersion.value for c in found]) < 0.9


def test_method_three_sees_a_trend_and_only_that(found: list[Case]) -> None:
    both = [(c.right.bulls, c.trending.bulls) for c in found]
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    assert len(pairs) >= 6  # of others fewer than five bulls have new daughters
    assert within([a.delta_sd.value for a, _ in pairs], 0.0)
    assert sum(bool(a.delta_sd.holds(0.0)) for a, _ in pairs) >= len(pairs) - 1
    assert all(b.delta.value > a.delta.value for a, b in pairs)
    assert not within([b.delta_sd.value for _, b in pairs], 0.0)
    assert not any(b.within_bound for _, b in pairs)
    assert sum(b.delta_sd.holds(0.0) is False for _, b in pairs) >= len(pairs) // 2
    assert all(c.trending.lr.bias.holds(0.0) is False for c in found)
