"""Random small models with data, as users could write them: every kind of term, missing traits, weights, inbreeding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from henderson.language.spec import (
    BlocksSpec,
    DataSpec,
    Equation,
    GammaSpec,
    ModelSpec,
    SubFactor,
    Term,
    VarianceSpec,
)
from henderson.store.model_data import Labels, ModelData, Pedigree, Records, RelationshipMatrix, StoredSigmas


@dataclass(frozen=True)
class Recipe:
    """What a small model contains."""

    seed: int = 0
    n_traits: int = 2
    n_records: int = 30
    n_animals: int = 14
    missing: float = 0.2
    weights: bool = False
    selfing: bool = False
    mean: bool = True
    covariate: bool = True
    nested: bool = False
    interaction: bool = False
    shared: bool = False
    overlay: bool = False
    maternal: bool = False
    permanent: bool = False
    matrix: bool = False
    regression: bool = False
    unequal: bool = False
    related_class: bool = False
    runs: bool = False  # records of an animal observe one trait after the other
    own: bool = False  # a Sigma for most levels of every random factor, and for most records


def positive_definite(rng: np.random.Generator, n: int) -> tuple[tuple[float, ...], ...]:
    B = rng.normal(size=(n, n))
    sigma = B @ B.T + np.eye(n)
    return tuple(tuple(float(v) for v in row) for row in (sigma + sigma.T) / 2)


def random_pedigree(rng: np.random.Generator, n: int, selfing: bool = False) -> Pedigree:
    """An inbred pedigree in arbitrary store order; F and d from the tabular method."""
    sire, dam = np.full(n, -1), np.full(n, -1)
    for i in range(3, n):
        sire[i] = rng.integers(0, i) if rng.random() < 0.85 else -1
        dam[i] = rng.integers(0, i) if rng.random() < 0.85 else -1
        if dam[i] == sire[i] and not (selfing and rng.random() < 0.8):
            dam[i] = -1
        elif selfing and sire[i] >= 0 and rng.random() < 0.2:
            dam[i] = sire[i]
    A = np.zeros((n, n))
    generation = np.zeros(n, int)
    for i in range(n):
        s, d = sire[i], dam[i]
        row = 0.5 * sum((A[p] for p in (s, d) if p >= 0), np.zeros(n))
        A[i], A[:, i] = row, row
        A[i, i] = 1.0 + (0.5 * A[s, d] if min(s, d) >= 0 else 0.0)
        generation[i] = 1 + max((generation[p] for p in (s, d) if p >= 0), default=-1)
    inbreeding = np.diag(A) - 1.0
    variance = 1.0 - sum(np.where(p >= 0, 0.25 * (1.0 + inbreeding[p]), 0.0) for p in (sire, dam))
    order = rng.permutation(n)  # store position -> animal
    place = np.append(np.argsort(order), -1)
    return Pedigree(
        "ped",
        Labels(100 + order.astype(np.int64)),
        place[sire[order]].astype(np.int32),
        place[dam[order]].astype(np.int32),
        generation[order].astype(np.int32),
        inbreeding[order],
        variance[order],
    )


def small_model(recipe: Recipe) -> tuple[ModelSpec, ModelData]:
    rng = np.random.default_rng(recipe.seed)
    n, m, T = recipe.n_animals, recipe.n_records, recipe.n_traits
    pedigree = random_pedigree(rng, n, recipe.selfing)
    y = rng.normal(size=(T, m)) * 3.0 + 5.0
    y[rng.random((T, m)) < recipe.missing] = np.nan
    x = rng.normal(size=m) + 2.0
    x[rng.random(m) < (0.0 if recipe.runs else 0.1)] = np.nan
    y[:, np.isnan(x)] = np.nan  # a covariate may be missing where nothing is observed
    animal = np.sort(rng.integers(0, n, m)).astype(np.int32)
    if recipe.runs:
        of = np.arange(m) // 9 % T  # the trait, but for some records that have all
        y[(np.arange(T)[:, None] != of) & (rng.random(m) < 0.95)] = np.nan
    dam = rng.integers(-2, n, m).astype(np.int32)
    B = rng.normal(size=(n, n))
    K = B @ B.T / n + np.eye(n)
    K_inverse = np.linalg.inv(K)
    K_inverse = (K_inverse + K_inverse.T) / 2
    labels = Labels.from_text([f"k{i}" for i in range(n)])
    records = Records(
        np.arange(m),
        {f"y{t}": y[t] for t in range(T)},
        {"x": x},
        {
            "herd": rng.integers(0, 5, m).astype(np.int32),
            "sex": rng.integers(-1, 2, m).astype(np.int32),
            "mate1": rng.integers(0, 4, m).astype(np.int32),
            "mate2": rng.integers(0, 4, m).astype(np.int32),
        },
        {("id", "ped"): animal, ("dam", "ped"): dam, ("line", "K"): rng.integers(0, n, m).astype(np.int32)},
        rng.random(m) + 0.5 if recipe.weights else None,
    )
    data = ModelData(
        records,
        {
            "herd": Labels.from_text(["d", "b", "e", "a", "c"]),
            "sex": Labels(np.array([2, 1])),
            "mate1": Labels(np.array([4, 1, 9, 2])),
            "mate2": Labels(np.array([2, 7, 1, 3])),
        },
        {"ped": pedigree},
        {"K": RelationshipMatrix("K", labels, csr_array(K_inverse), np.diag(np.linalg.inv(K_inverse)).copy())},
    )
    spec = _spec(recipe, rng)
    return _with_own_sigmas(spec, data, rng) if recipe.own else (spec, data)


def _with_own_sigmas(spec: ModelSpec, data: ModelData, rng: np.random.Generator) -> tuple[ModelSpec, ModelData]:
    """Levels and records choose among five Sigmas, and that of all others."""
    sizes = {"herd": len(data.levels["herd"]), **{c: len(data.pedigrees["ped"]) for c in ("id", "dam", "line")}}
    found, variances = {}, []
    for v in spec.variances:
        n = spec.n_positions(v.name)
        table = np.array([positive_definite(rng, n) for _ in range(5)]).reshape(5, -1)
        members = {s.name for s in spec.subfactors if s.variance == v.name}
        columns = {t.level_variable or "" for e in spec.equations for t in e.terms if t.subfactor in members}
        related = rng.integers(-1, 5, sizes["id"] + 1).astype(np.int32)  # one Sigma, whichever column names the level
        numbers = {c: related if c != "herd" else rng.integers(-1, 5, 6).astype(np.int32) for c in columns}
        of_record = rng.integers(-1, 5, len(data.records)).astype(np.int32) if v.name == "res" else None
        found[v.name] = StoredSigmas(table, numbers, of_record)
        variances.append(replace(v, blocks=BlocksSpec(f"{v.name}.bin")))
    return replace(spec, variances=tuple(variances)), replace(data, sigmas=found)


def _spec(recipe: Recipe, rng: np.random.Generator) -> ModelSpec:
    T = recipe.n_traits
    factors: dict[str, SubFactor] = {}
    sizes = {"g": T * (2 if recipe.maternal else 1)}

    def fixed(term: Term) -> Term:
        factors[term.subfactor] = SubFactor(term.subfactor)
        return term

    def random(term: Term, variance: str, *positions: int) -> Term:
        factors[term.subfactor] = SubFactor(term.subfactor, variance, positions)
        sizes[variance] = max(sizes.get(variance, 0), *positions)
        return term

    equations = []
    for t in range(T):
        terms = []
        if recipe.mean and t == 0:
            terms.append(fixed(Term("1", "m")))
        terms.append(fixed(Term("sex" if recipe.unequal and t == 1 else "herd", f"b{t}")))
        if recipe.shared:
            terms.append(fixed(Term("sex" if t % 2 else "mate1", "common")))
        if recipe.overlay:
            terms += [fixed(Term("mate1", f"o{t}")), fixed(Term("mate2", f"o{t}"))]
        if recipe.interaction:
            terms.append(fixed(Term("herd:sex", f"i{t}")))
        if recipe.related_class and t == 0:
            terms.append(fixed(Term("dam", "f")))
        if recipe.covariate:
            terms.append(fixed(Term("x", f"c{t}", "covariate", polynomials=(1, 3), centred=True)))
        if recipe.nested:
            terms.append(fixed(Term("x", f"n{t}", "covariate", nested_in="sex", centred=t == 0)))
        terms.append(random(Term("id", f"u{t}"), "g", t + 1))
        if recipe.maternal:
            terms.append(random(Term("dam", f"d{t}"), "g", T + t + 1))
        if recipe.permanent:
            terms.append(random(Term("dam", f"p{t}"), "pe", t + 1))
        if recipe.matrix and t == 0:
            terms.append(random(Term("line", "k"), "k", 1))
        if recipe.regression:
            curve = Term("x", f"r{t}", "covariate", nested_in="id" if recipe.runs else "herd", polynomials=(2, 1))
            terms.append(random(curve, "rr", 2 * t + 1, 2 * t + 2))
        equations.append(Equation(f"y{t}", tuple(terms)))
    gammas = {"g": GammaSpec("pedigree", "ped"), "k": GammaSpec("matrix", "K")}
    variances = [
        VarianceSpec(name, positive_definite(rng, size), gamma=gammas.get(name, GammaSpec()))
        for name, size in sorted(sizes.items())
    ]
    return ModelSpec(
        DataSpec(("records.csv",)),
        tuple(equations),
        tuple(sorted(factors.values(), key=lambda s: s.name)),
        (*variances, VarianceSpec("res", positive_definite(rng, T))),
        polynomials=("x", "x^0", "l2"),
    )
