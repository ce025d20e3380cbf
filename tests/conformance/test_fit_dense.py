"""Tests, predictions and standard errors of a fit against dense generalised least squares at its estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import henderson
from oracles.dense_gls import Dense, dummies, interaction

LEVELS = {"A": ["a1", "a2", "a3"], "B": ["b1", "b2"], "G": [f"g{k}" for k in range(9)]}
TERMS = ["(Intercept)", "A", "B", "x", "A:B"]
WIDTH = [1, 3, 2, 1, 6]


def columns(*terms: str) -> np.ndarray:
    """The numbers of the columns of some terms."""
    first = np.cumsum([0, *WIDTH])
    return np.concatenate([np.zeros(0, int), *(np.arange(first[k], first[k + 1]) for k in map(TERMS.index, terms))])


def design(frame: pd.DataFrame) -> np.ndarray:
    parts = [np.ones((len(frame), 1)), dummies(list(frame["A"]), LEVELS["A"]), dummies(list(frame["B"]), LEVELS["B"])]
    return np.hstack([*parts, frame[["x"]].to_numpy(), interaction(frame, ["A", "B"], LEVELS)])


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Unbalanced, correlated, without the cell a3:b2; two group effects per group, residuals by B."""
    rng = np.random.default_rng(5)
    n = 90
    made = pd.DataFrame({c: rng.choice(LEVELS[c], n) for c in LEVELS})
    made = made[~((made["A"] == "a3") & (made["B"] == "b2"))].reset_index(drop=True)
    made["x"] = rng.normal(3.0, 1.0, len(made)) + (made["A"] == "a2")
    u = dict(zip(LEVELS["G"], rng.normal(0, [[1.5], [0.4]], (2, 9)).T, strict=True))
    slopes = np.array([u[g] for g in made["G"]])
    noise = rng.normal(0, 1, len(made)) * np.where(made["B"] == "b1", 0.7, 1.4)
    made["y"] = 2.0 + 1.2 * (made["A"] == "a2") + 0.5 * made["x"] + slopes[:, 0] + slopes[:, 1] * made["x"] + noise
    return made


@pytest.fixture(scope="module")
def fit(frame: pd.DataFrame) -> henderson.Fit:
    return henderson.reml("y ~ A*B + x + (x | G)", residual="~ dsum(~ units | B)", data=frame)


def random_design(frame: pd.DataFrame) -> np.ndarray:
    Z = dummies(list(frame["G"]), LEVELS["G"])
    return np.hstack([Z, Z * frame[["x"]].to_numpy()])


@pytest.fixture(scope="module")
def dense(frame: pd.DataFrame, fit: henderson.Fit) -> Dense:
    Z, G = random_design(frame), group_covariance(fit)
    R = np.array([fit.sigma("res", b).iloc[0, 0] for b in frame["B"]])
    return Dense(frame["y"].to_numpy(), design(frame), Z @ G @ Z.T + np.diag(R))


def group_covariance(fit: henderson.Fit) -> np.ndarray:
    return np.kron(fit.sigma("G").to_numpy(), np.eye(9))


def test_incremental_wald(fit: henderson.Fit, dense: Dense) -> None:
    found = fit.wald()
    assert list(found.index) == TERMS
    for k, term in enumerate(TERMS):
        before, rank = dense.reduction(columns(*TERMS[:k]))
        after, full = dense.reduction(columns(*TERMS[: k + 1]))
        assert found.loc[term, "df"] == full - rank
        assert found.loc[term, "Wald"] == pytest.approx(after - before, rel=1e-6)
        assert found.loc[term, "F"] == pytest.approx((after - before) / (full - rank), rel=1e-6)
    assert found["df"].sum() == np.linalg.matrix_rank(dense.X) == 6


def test_conditional_wald(fit: henderson.Fit, dense: Dense) -> None:
    found = fit.wald("conditional", "residual")
    others = {"A": ["(Intercept)", "B", "x"], "B": ["(Intercept)", "A", "x"], "x": ["(Intercept)", "A", "B", "A:B"],
              "A:B": ["(Intercept)", "A", "B", "x"], "(Intercept)": []}  # fmt: skip
    from scipy.stats import f

    for term, rest in others.items():
        before, rank = dense.reduction(columns(*rest))
        after, full = dense.reduction(columns(*rest, term))
        assert found.loc[term, "df"] == full - rank
        assert found.loc[term, "Wald"] == pytest.approx(after - before, rel=1e-6, abs=1e-6)
        assert found.loc[term, "den_df"] == len(dense.y) - 6
        if full > rank:
            wanted = f.sf((after - before) / (full - rank), full - rank, len(dense.y) - 6)
            assert found.loc[term, "Pr(>F)"] == pytest.approx(wanted, rel=1e-5)


def grid(frame: pd.DataFrame, **given: list[object]) -> list[pd.DataFrame]:
    """For each combination of what is given, all cells that are averaged over."""
    x = given.pop("x", [frame["x"].mean()])
    product = pd.MultiIndex.from_product([*given.values(), x], names=[*given, "x"]).to_frame(index=False)
    rest = [c for c in ("A", "B") if c not in given]
    cells = pd.MultiIndex.from_product([LEVELS[c] for c in rest], names=rest).to_frame(index=False) if rest else None
    rows = [product.iloc[[k]] for k in range(len(product))]
    return [r if cells is None else r.merge(cells, how="cross") for r in rows]


def check(found: pd.DataFrame, dense: Dense, cells: list[pd.DataFrame], some: tuple[int, int]) -> None:
    """Compare with the mean over the cells; `some`: how many are estimable, of how many."""
    L = np.array([design(c).mean(axis=0) for c in cells])
    value, se, estimable = dense.estimate(L)
    assert (int(estimable.sum()), len(estimable)) == some
    assert list(found["status"] == "estimable") == list(estimable)
    np.testing.assert_allclose(found["predicted"][estimable], value[estimable], rtol=1e-7)
    np.testing.assert_allclose(found["std_error"][estimable], se[estimable], rtol=1e-6)
    assert found["predicted"][~estimable].isna().all()


def test_means_of_classes(fit: henderson.Fit, dense: Dense, frame: pd.DataFrame) -> None:
    check(fit.predict("A"), dense, grid(frame, A=LEVELS["A"]), (2, 3))
    check(fit.predict("B"), dense, grid(frame, B=LEVELS["B"]), (1, 2))
    check(fit.predict("A:B"), dense, grid(frame, A=LEVELS["A"], B=LEVELS["B"]), (5, 6))
    two = fit.predict(["A", "B"], at={"x": [0, 2.5]})
    check(two, dense, grid(frame, A=LEVELS["A"], B=LEVELS["B"], x=[0.0, 2.5]), (10, 12))
    assert list(two.columns[:3]) == ["A", "B", "x"]
    check(fit.predict("A", at={"B": "b1"}), dense, grid(frame, A=LEVELS["A"], B=["b1"]), (3, 3))


def test_new_rows_with_random_effects(fit: henderson.Fit, dense: Dense, frame: pd.DataFrame) -> None:
    new = frame.iloc[[3, 40, 7]].reset_index(drop=True)
    found = fit.predict(new)
    Z, G = random_design(frame), group_covariance(fit)
    value, se = dense.predict(design(new), random_design(new), Z, G)
    np.testing.assert_allclose(found["predicted"], value, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], se, rtol=1e-6)
    value, se, _ = dense.estimate(design(new))
    for without in (fit.predict(new, random=False), fit.predict(new.drop(columns="G"))):
        np.testing.assert_allclose(without["predicted"], value, rtol=1e-7)
        np.testing.assert_allclose(without["std_error"], se, rtol=1e-6)
    stranger = fit.predict(new.assign(G="nobody"))
    K = np.column_stack([np.ones(3), new["x"]])
    extra = np.einsum("ij,jk,ik->i", K, fit.sigma("G").to_numpy(), K)
    np.testing.assert_allclose(stranger["predicted"], value, rtol=1e-7)
    np.testing.assert_allclose(stranger["std_error"], np.sqrt(se**2 + extra), rtol=1e-6)


def test_groups_with_their_effects(fit: henderson.Fit, dense: Dense, frame: pd.DataFrame) -> None:
    found = fit.predict("G", at={"A": "a1"})
    cells = pd.MultiIndex.from_product([["a1"], LEVELS["B"]], names=["A", "B"]).to_frame(index=False)
    L = np.repeat(design(cells.assign(x=frame["x"].mean())).mean(axis=0)[None], 9, axis=0)
    K = random_design(pd.DataFrame({"G": LEVELS["G"], "x": frame["x"].mean()}))
    value, se = dense.predict(L, K, random_design(frame), group_covariance(fit))
    np.testing.assert_allclose(found["predicted"], value, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], se, rtol=1e-6)
    blups = fit.ranef("G")
    unit = np.eye(18)
    value, se = dense.predict(np.zeros((18, 13)), unit, random_design(frame), group_covariance(fit))
    np.testing.assert_allclose(blups["blup"], value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(blups["std_error"], se, rtol=1e-6)


def test_fixed_effects_and_fitted_values(fit: henderson.Fit, dense: Dense, frame: pd.DataFrame) -> None:
    table = fit.fixef()
    rows = [("x", ""), ("(Intercept)", "1")]
    for key in rows:
        assert key in table.index
    value, se, estimable = dense.estimate(np.eye(13)[[columns("x")[0]]])
    assert estimable.all()
    assert table.loc[("x", ""), "estimate"] == pytest.approx(value[0], rel=1e-7)
    assert table.loc[("x", ""), "std_error"] == pytest.approx(se[0], rel=1e-6)
    found = fit.fitted()
    value, _ = dense.predict(design(frame), random_design(frame), random_design(frame), group_covariance(fit))
    assert list(found["row"]) == list(range(len(frame)))
    np.testing.assert_allclose(found["fitted"], value, rtol=1e-7)
    np.testing.assert_allclose(found["fitted"] + found["residual"], frame["y"], rtol=1e-12)


def test_centred_nested_covariates_of_two_traits() -> None:
    """Lmt's equations centre within classes: means at the overall mean of the covariate all the same."""
    rng = np.random.default_rng(8)
    n = 120
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], n), "S": rng.choice(list("abcdefgh"), n)})
    frame["age"] = rng.normal(30, 4, n) + 3.0 * (frame["sex"] == "M")
    effects = dict(zip("abcdefgh", rng.normal(0, 1, (8, 2)), strict=True))
    u = np.array([effects[s] for s in frame["S"]])
    for k, trait in enumerate(("p", "q")):
        frame[trait] = u[:, k] + 0.3 * (k + 1) * frame["age"] + (frame["sex"] == "M") + rng.normal(0, 1, n)
    frame.loc[:9, "q"] = np.nan
    equations = "\n".join(
        f"{t} = sex*s{k} + age(t(co(n(sex);p(1,2))))*a{k} + S*u{k}(v(g({k})))" for k, t in enumerate("pq", start=1)
    )
    fit = henderson.reml(equations, data=frame, polynomials=["x", "x^2/10"], variance={"g": {}})
    found = fit.predict("sex", at={"age": [28, 31.5]})

    def fixed(rows: pd.DataFrame, t: int, like: pd.DataFrame) -> np.ndarray:
        sexes = dummies(list(rows["sex"]), ["F", "M"])
        x = rows["age"].to_numpy() - rows["sex"].map(like.groupby("sex")["age"].mean()).to_numpy()
        own = np.hstack([sexes, sexes * x[:, None], sexes * x[:, None] ** 2 / 10])
        return np.hstack([own, 0 * own] if t == 0 else [0 * own, own])

    seen = [frame, frame[frame["q"].notna()]]
    X = np.vstack([fixed(s, t, s) for t, s in enumerate(seen)])
    Z = np.zeros((len(X), 16))
    R = np.zeros((len(X), len(X)))
    at = [(t, i) for t, s in enumerate(seen) for i in s.index]
    sigma, residual = fit.sigma("g").to_numpy(), fit.sigma("res").to_numpy()
    for k, (t, i) in enumerate(at):
        Z[k, 8 * t + "abcdefgh".index(frame["S"][i])] = 1.0
        for m, (v, j) in enumerate(at):
            R[k, m] = residual[t, v] * (i == j)
    y = np.concatenate([seen[0]["p"], seen[1]["q"]])
    dense = Dense(y, X, Z @ np.kron(sigma, np.eye(8)) @ Z.T + R)
    points = pd.DataFrame({"sex": ["F", "F", "M", "M"], "age": [28, 31.5] * 2})
    value, se, _ = dense.estimate(np.vstack([fixed(points, t, seen[t]) for t in (0, 1)]))
    assert list(found["trait"]) == ["p"] * 4 + ["q"] * 4
    np.testing.assert_allclose(found["predicted"], value, rtol=1e-7)
    np.testing.assert_allclose(found["std_error"], se, rtol=1e-6)
    wald = fit.wald()
    assert list(wald.index) == ["trait:sex", "trait:sex:age[x, x^2/10]"]
    full, _ = dense.reduction(np.arange(12))
    first, _ = dense.reduction(np.array([0, 1, 6, 7]))
    np.testing.assert_allclose(wald["Wald"], [first, full - first], rtol=1e-6)
    assert list(wald["df"]) == [4, 8]


def test_models_without_fixed_or_without_random_effects(frame: pd.DataFrame) -> None:
    random = henderson.reml("y ~ 0 + (1 | G)", data=frame)
    Z = dummies(list(frame["G"]), LEVELS["G"])
    variances = random.varcomp["component"].to_numpy()
    V = variances[0] * Z @ Z.T + variances[1] * np.eye(len(frame))
    wanted = variances[0] * Z.T @ np.linalg.solve(V, frame["y"])
    np.testing.assert_allclose(random.predict("G")["predicted"], wanted, rtol=1e-7)
    assert random.wald().empty
    assert random.fixef().empty
    assert "0 fixed effects" in random.summary()
    fixed = henderson.reml("y ~ A", data=frame)
    means = frame.groupby("A")["y"].mean()
    np.testing.assert_allclose(fixed.predict("A")["predicted"], means, rtol=1e-9)
    s2 = frame.groupby("A")["y"].apply(lambda v: ((v - v.mean()) ** 2).sum()).sum() / (len(frame) - 3)
    assert fixed.varcomp.loc["units!R", "component"] == pytest.approx(s2, rel=1e-6)
    np.testing.assert_allclose(fixed.predict("A")["std_error"], np.sqrt(s2 / frame.groupby("A").size()), rtol=1e-6)
    assert fixed.ranef().empty
    assert fixed.wald("incremental", "residual").loc["A", "den_df"] == len(frame) - 3
    assert len(fixed.plot().axes) == 4
