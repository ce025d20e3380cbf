"""The truth is what the model says: moments of simulated values within stated multiples of their standard errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from henderson.pedigree.inbreeding import mendelian_variance
from henderson.simulate.config import SimulationConfig
from henderson.simulate.mating import FEMALE, MALE, SimulatedPedigree, simulate_pedigree
from henderson.simulate.records import AGE_MEAN, record_rows
from henderson.simulate.values import Truth, draw_truth

SIGMAS = 5.0  # bound in standard errors: a false alarm once in two million checks, and the seeds are fixed
DAIRY = SimulationConfig(animals=60_000, missing=(0.0, 0.1, 0.3), herds=3000, herd_sd=(5.0, 3.0, 8.0), seed=11)
RANDOM = dataclasses.replace(DAIRY, pedigree="random", cohorts=6, maternal=True, repeats=2, records=60_000)
SMALL_HERD_BOOK = dataclasses.replace(RANDOM, animals=20_000, cohorts=20, sires=4, records=0.6)


@pytest.fixture(scope="module", params=["dairy", "random", "inbred"])
def simulated(request: pytest.FixtureRequest) -> tuple[SimulationConfig, SimulatedPedigree, Truth]:
    config = {"dairy": DAIRY, "random": RANDOM, "inbred": SMALL_HERD_BOOK}[request.param]
    pedigree = simulate_pedigree(config, lambda done: None)
    return config, pedigree, draw_truth(config, pedigree, lambda done: None)


def assert_covariance(sample: np.ndarray, expected: np.ndarray) -> None:
    """Mean zero and the expected covariance; Var(s_ij) = (s_ii s_jj + s_ij^2) / n for normal samples."""
    n = len(sample)
    variances = np.diag(expected)
    assert np.all(np.abs(sample.mean(axis=0)) < SIGMAS * np.sqrt(variances / n))
    se = np.sqrt((np.outer(variances, variances) + expected**2) / n)
    assert np.all(np.abs(sample.T @ sample / n - expected) < SIGMAS * se)


def test_founders_have_the_genetic_covariance(simulated) -> None:
    config, pedigree, truth = simulated
    founders = (pedigree.sire < 0) & (pedigree.dam < 0)
    assert founders.sum() >= 1000
    assert_covariance(truth.u[founders], config.genetic())


def test_mendelian_samples_scaled_by_their_variance_have_the_genetic_covariance(simulated) -> None:
    config, pedigree, truth = simulated
    u = np.vstack([truth.u, np.zeros(truth.u.shape[1])])  # the last row is the unknown parent's
    m = truth.u - 0.5 * (u[pedigree.sire] + u[pedigree.dam])
    d = mendelian_variance(pedigree.sire, pedigree.dam, truth.inbreeding)
    assert_covariance(m / np.sqrt(d)[:, None], config.genetic())
    # with inbred parents the variance is less than a half, and the sample shows by how much
    inbred = d < 0.49
    if inbred.sum() > 1000:
        assert_covariance(m[inbred], d[inbred].mean() * config.genetic())


def test_inbred_parents_were_tested() -> None:
    pedigree = simulate_pedigree(SMALL_HERD_BOOK, lambda done: None)
    truth = draw_truth(SMALL_HERD_BOOK, pedigree, lambda done: None)
    assert (mendelian_variance(pedigree.sire, pedigree.dam, truth.inbreeding) < 0.45).sum() > 1000


def test_progeny_regress_by_one_half_on_each_parent(simulated) -> None:
    _, pedigree, truth = simulated
    both = (pedigree.sire >= 0) & (pedigree.dam >= 0)
    for trait in range(truth.u.shape[1]):
        y = truth.u[both, trait]
        X = np.column_stack([np.ones(len(y)), truth.u[pedigree.sire[both], trait], truth.u[pedigree.dam[both], trait]])
        inverse = np.linalg.inv(X.T @ X)
        beta = inverse @ (X.T @ y)
        residual = y - X @ beta
        se = np.sqrt(np.diag(inverse) * (residual @ residual) / len(y))
        assert np.all(np.abs(beta - [0, 0.5, 0.5]) < SIGMAS * se)


def columns(config: SimulationConfig, pedigree: SimulatedPedigree, truth: Truth) -> dict[str, np.ndarray]:
    (block,) = record_rows(dataclasses.replace(config, ids="integer"), pedigree, truth)
    return {name: column.to_numpy(zero_copy_only=False) for name, column in block.items()}


def test_records_less_all_effects_have_the_residual_covariance(simulated) -> None:
    config, pedigree, truth = simulated
    rows = columns(config, pedigree, truth)
    animal, t = rows["id"] - 1, config.n_traits
    expected = truth.mean + truth.herd[rows["herd"] - 1] + truth.u[animal, :t]
    expected += (rows["age"][:, None] - AGE_MEAN) * truth.age
    if config.records_all:
        expected += (rows["sex"] == FEMALE)[:, None] * truth.sex
    if config.maternal:
        u = np.vstack([np.zeros(2 * t), truth.u])  # row 0 is the unknown dam's
        expected += u[rows["dam"], t:]
    if truth.permanent is not None:
        expected += truth.permanent[np.searchsorted(truth.recorded, animal)]
    e = np.column_stack([rows[name] for name in config.traits]) - expected
    assert_covariance(e[~np.isnan(e).any(axis=1)], config.residual())


def test_herds_sexes_ages_and_missing_values_are_as_asked(simulated) -> None:
    config, pedigree, truth = simulated
    rows = columns(config, pedigree, truth)
    n = config.n_records
    assert len(rows["id"]) == n
    assert_covariance(truth.herd, np.diag(config.per_trait(config.herd_sd) ** 2))
    for name, share in zip(config.traits, config.per_trait(config.missing), strict=True):
        assert np.isnan(rows[name]).mean() == pytest.approx(share, abs=SIGMAS * np.sqrt(share / n) + 1e-12)
    females = (pedigree.sex == FEMALE).mean()
    assert females == pytest.approx(config.female_share, abs=SIGMAS * 0.5 / np.sqrt(config.animals))
    assert rows["age"].min() == AGE_MEAN - 150
    assert rows["age"].max() == AGE_MEAN + 150
    assert rows["age"].mean() == pytest.approx(AGE_MEAN, abs=SIGMAS * 301 / np.sqrt(12 * n))
    if truth.permanent is not None:
        assert_covariance(truth.permanent, config.permanent())


def test_phenotypic_variance_is_the_sum_of_its_parts() -> None:
    config = dataclasses.replace(RANDOM, cohorts=1, maternal=False, records=1.0, repeats=1)
    config = dataclasses.replace(config, age_effect=0.0, sex_effect=0.0)
    pedigree = simulate_pedigree(config, lambda done: None)
    truth = draw_truth(config, pedigree, lambda done: None)
    rows = columns(config, pedigree, truth)
    herd = config.per_trait(config.herd_sd) ** 2
    within = np.diag(config.genetic() + config.residual())  # cohort of founders
    for i, name in enumerate(config.traits):
        n = np.count_nonzero(~np.isnan(rows[name]))
        # the herds are 3000 draws of unequal weight: twice their number's standard error
        se = np.sqrt(2 / n) * within[i] + 2 * np.sqrt(2 / config.n_herds) * herd[i]
        assert np.nanvar(rows[name]) == pytest.approx(within[i] + herd[i], abs=SIGMAS * se)


def test_dairy_pedigree_looks_like_one() -> None:
    config = DAIRY
    pedigree = simulate_pedigree(config, lambda done: None)
    born = np.searchsorted(pedigree.cohort_start, np.arange(config.animals), side="right") - 1
    sire, dam = pedigree.sire, pedigree.dam
    for parent, sex, ages in ((sire, MALE, range(2, 6)), (dam, FEMALE, range(2, 7))):
        known = parent >= 0
        assert np.all(pedigree.sex[parent[known]] == sex)
        assert set(np.unique(born[known] - born[parent[known]])) == set(ages)
        later = born >= 2
        assert (~known[later]).mean() == pytest.approx(config.share_unknown, abs=0.005)
        assert not known[~later].any()
    year = born == config.n_cohorts - 1
    use = np.sort(np.bincount(sire[year & (sire >= 0)]))[::-1]
    use = use[use > 0]
    assert 0.5 * config.n_sires <= len(use) <= config.n_sires
    best = use[: len(use) // 10]
    assert best.sum() > 0.25 * use.sum()  # very unequal: a tenth of the bulls has more than a quarter of the progeny
    home = pedigree.herd[dam[year]] == pedigree.herd[year]
    assert home[dam[year] >= 0].mean() > 0.85
    sizes = np.sort(np.bincount(pedigree.herd, minlength=config.n_herds))
    assert sizes[-config.n_herds // 10 :].mean() > 5 * sizes[: config.n_herds // 10].mean()
    assert truthful_generations(pedigree)


def test_random_pedigree_has_discrete_generations() -> None:
    pedigree = simulate_pedigree(RANDOM, lambda done: None)
    first, last = list(pedigree.cohorts())[-1]
    assert set(pedigree.generation[first:last]) == {RANDOM.n_cohorts - 1}
    assert np.unique(pedigree.sire[first:last]).size == RANDOM.n_sires == 250
    assert np.all(pedigree.sex[pedigree.sire[first:last]] == MALE)
    assert np.all(pedigree.sex[pedigree.dam[first:last]] == FEMALE)
    assert truthful_generations(pedigree)


def truthful_generations(pedigree: SimulatedPedigree) -> bool:
    above = np.append(pedigree.generation, -1)
    return bool(np.array_equal(pedigree.generation, 1 + np.maximum(above[pedigree.sire], above[pedigree.dam])))
