"""A dairy-like animal model of one to three traits, its pedigree and records made directly as arrays."""

from __future__ import annotations

import numpy as np

from henderson.language.spec import DataSpec, Equation, GammaSpec, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.store.model_data import Labels, ModelData, Pedigree, Records

G = ((30.0, 12.0, 6.0), (12.0, 20.0, 5.0), (6.0, 5.0, 15.0))
R = ((60.0, 20.0, 10.0), (20.0, 45.0, 9.0), (10.0, 9.0, 40.0))


def dairy_model(n_traits: int = 3) -> ModelSpec:
    """Return ``y_t = herd*b_t + id*u_t(v(g(t)))``."""
    equations = tuple(Equation(f"y{t}", (Term("herd", f"b{t}"), Term("id", f"u{t}"))) for t in range(1, n_traits + 1))
    fixed = tuple(SubFactor(f"b{t}") for t in range(1, n_traits + 1))
    random = tuple(SubFactor(f"u{t}", "g", (t,)) for t in range(1, n_traits + 1))
    sigma = tuple(row[:n_traits] for row in G[:n_traits])
    residual = tuple(row[:n_traits] for row in R[:n_traits])
    variances = (VarianceSpec("g", sigma, gamma=GammaSpec("pedigree", "ped")), VarianceSpec("res", residual))
    return ModelSpec(DataSpec(("records.csv",)), equations, fixed + random, variances)


def dairy_data(n_animals: int, n_records: int, n_herds: int, n_traits: int = 3, seed: int = 7) -> ModelData:
    """Return records and pedigree in store order: herd by herd, within herd by birth; sires from all herds."""
    rng = np.random.default_rng(np.random.Philox(seed))
    generation = np.sort(rng.integers(0, 10, n_animals)).astype(np.int32)
    herd = rng.integers(0, n_herds, n_animals)
    n_sires = max(20, n_animals // 250)
    is_sire = np.zeros(n_animals, bool)
    is_sire[rng.choice(n_animals, n_sires, replace=False)] = True
    order = np.lexsort((generation, herd))
    generation, herd, is_sire = generation[order], herd[order], is_sire[order]
    # Dams: an earlier animal of the herd; sires: any bull of the generation before.
    first = np.searchsorted(herd, np.arange(n_herds))
    place = np.arange(n_animals) - first[herd]
    dam = np.arange(n_animals) - 1 - rng.integers(0, 20, n_animals)
    dam = np.where((place > 0) & (dam >= first[herd]), dam, -1)
    dam[(dam >= 0) & (generation[dam] >= generation)] = -1
    sire = np.full(n_animals, -1)
    for g in range(1, 10):
        bulls = np.flatnonzero(is_sire & (generation == g - 1))
        young = np.flatnonzero(generation == g)
        if len(bulls):
            sire[young] = rng.choice(bulls, len(young))
    sire[rng.random(n_animals) < 0.05] = -1
    known = (sire >= 0).astype(float) + (dam >= 0)
    pedigree = Pedigree(
        "ped",
        Labels(np.arange(1, n_animals + 1)),
        sire.astype(np.int32),
        dam.astype(np.int32),
        generation,
        np.zeros(n_animals),
        1.0 - 0.25 * known,
    )
    cows = np.sort(rng.choice(np.flatnonzero(~is_sire), n_records, replace=n_records > n_animals * 0.9))
    L = np.linalg.cholesky(np.array(R)[:n_traits, :n_traits])
    effect = rng.normal(size=(n_herds, n_traits)) * 8.0
    y = effect[herd[cows]] + rng.normal(size=(n_records, n_traits)) @ L.T + 50.0
    y += rng.normal(size=(n_records, n_traits)) * 5.0
    y[:, 1:][rng.random((n_records, n_traits - 1)) < 0.1] = np.nan
    records = Records(
        np.arange(n_records),
        {f"y{t + 1}": np.ascontiguousarray(y[:, t]) for t in range(n_traits)},
        classes={"herd": herd[cows].astype(np.int32)},
        related={("id", "ped"): cows.astype(np.int32)},
    )
    return ModelData(records, {"herd": Labels(np.arange(1, n_herds + 1))}, {"ped": pedigree})
