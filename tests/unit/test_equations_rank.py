"""Dependent columns of X: how many, which, and that what is kept spans the same space."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.equations import cross_products
from henderson.equations import rank as rank_module
from henderson.equations.design import build_design
from henderson.equations.model import Design
from henderson.equations.rank import full_rank
from henderson.language.spec import DataSpec, Equation, ModelSpec, SubFactor, Term, VarianceSpec
from henderson.store.model_data import Labels, ModelData, Records


def model(*equations: tuple[Term, ...], polynomials: tuple[str, ...] = ()) -> ModelSpec:
    names = sorted({t.subfactor for terms in equations for t in terms})
    identity = tuple(tuple(float(i == j) for j in range(len(equations))) for i in range(len(equations)))
    return ModelSpec(
        DataSpec(("records.csv",)),
        tuple(Equation(f"y{k}", terms) for k, terms in enumerate(equations)),
        tuple(SubFactor(n) for n in names),
        (VarianceSpec("res", identity),),
        polynomials=polynomials,
    )


def data_of(
    responses: list[np.ndarray], classes: dict[str, np.ndarray], covariates: dict[str, np.ndarray]
) -> ModelData:
    return ModelData(
        Records(
            np.arange(len(responses[0])),
            {f"y{k}": np.asarray(y, float) for k, y in enumerate(responses)},
            {name: np.asarray(x, float) for name, x in covariates.items()},
            {name: np.asarray(c, np.int32) for name, c in classes.items()},
        ),
        {name: Labels(np.arange(1, int(np.max(c)) + 2)) for name, c in classes.items()},
    )


def dense_x(design: Design, trait: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """X of one trait, and (group, level, position) of its columns."""
    columns = [
        (g, level, p)
        for g, group in enumerate(design.groups)
        for level in range(group.n_levels)
        for p in range(group.width)
    ]
    place = {c: k for k, c in enumerate(columns)}
    X = np.zeros((design.n_records, len(columns)))
    for t in design.terms:
        slot = design.slots[t.slot]
        if t.trait != trait:
            continue
        for r in range(design.n_records):
            if slot.codes[r] >= 0 and design.patterns.observed[design.patterns.codes[r], trait]:
                c = 1.0 if t.coefficient < 0 else design.coefficients[t.coefficient][r]
                X[r, place[slot.group, int(slot.codes[r]), t.position]] += c
    return X, columns


def check(spec: ModelSpec, data: ModelData) -> Design:
    """The kept columns are independent and span all of X."""
    design = full_rank(build_design(spec, data))
    X = np.concatenate([dense_x(design, t)[0] for t in range(design.n_traits)])
    columns = dense_x(design, 0)[1]
    kept = [k for k, (g, level, p) in enumerate(columns) if design.kept[g][level, p]]  # type: ignore[index]
    scale = np.maximum(np.linalg.norm(X, axis=0), 1e-300)
    rank = np.linalg.matrix_rank(X / scale, tol=1e-6)
    assert len(kept) == rank
    assert np.linalg.matrix_rank((X / scale)[:, kept], tol=1e-6) == rank
    empty = int((np.linalg.norm(X, axis=0) == 0.0).sum())
    assert len(design.dropped) == X.shape[1] - empty - rank
    return design


def names(design: Design) -> list[tuple[str, str]]:
    return [
        (design.groups[g].positions[p].subfactor, design.groups[g].labels.text(level, level + 1)[0])  # type: ignore[union-attr]
        for g, level, p in design.dropped
    ]


N = 40
RNG = np.random.default_rng(5)
Y = RNG.normal(size=N)
X1 = RNG.normal(size=N) + 3.0


def covariate(variable: str, subfactor: str, **how: object) -> Term:
    return Term(variable, subfactor, "covariate", **how)  # type: ignore[arg-type]


def test_parity_confounded_with_herd_year_season() -> None:
    """Mrode example 5.1: rank 4 of 6; parities are sums of herd-year-seasons and come later in the equation."""
    parity = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    hys = [0, 2, 0, 3, 1, 2, 0, 2, 1, 3]
    data = data_of([np.arange(10.0)], {"parity": parity, "hys": hys}, {})
    design = check(model((Term("hys", "h"), Term("parity", "p"))), data)
    assert names(design) == [("p", "1"), ("p", "2")]


def test_a_mean_stays_and_the_last_level_of_a_later_class_goes() -> None:
    data = data_of([Y], {"sex": RNG.integers(0, 3, N)}, {})
    assert names(check(model((Term("1", "m"), Term("sex", "s"))), data)) == [("s", "3")]
    assert names(check(model((Term("sex", "s"), Term("1", "m"))), data)) == [("m", "1")]


@pytest.mark.parametrize(
    ("centred", "with_class", "n_dropped"), [(False, False, 1), (True, False, 0), (True, True, 1), (False, True, 1)]
)
def test_global_and_nested_covariate(centred: bool, with_class: bool, n_dropped: int) -> None:
    """Without centring the nested columns add up to the global one; with it they differ by the class means."""
    terms = [covariate("x", "b", centred=centred), covariate("x", "c", nested_in="g", centred=centred)]
    if with_class:
        terms.insert(0, Term("g", "f"))
    design = check(model(tuple(terms)), data_of([Y], {"g": RNG.integers(0, 4, N)}, {"x": X1}))
    assert len(design.dropped) == n_dropped


def test_equal_class_means_make_the_global_covariate_dependent() -> None:
    g = np.arange(N) % 4
    x = np.repeat(np.linspace(-1.0, 1.0, N // 4), 4)
    terms = (covariate("x", "b", centred=True), covariate("x", "c", nested_in="g", centred=True))
    assert len(check(model(terms), data_of([Y], {"g": g}, {"x": x})).dropped) == 1


@pytest.mark.parametrize("nested", [None, "g"])
def test_polynomials_to_order_four(nested: str | None) -> None:
    ages = RNG.integers(20, 40, N).astype(float)
    polynomials = ("x", "x^2", "x^3", "x^4", "2*x^2-x")
    terms = (Term("1", "m"), covariate("x", "c", polynomials=(1, 2, 3, 4), centred=True, nested_in=nested))
    data = data_of([Y], {"g": RNG.integers(0, 2, N)}, {"x": ages})
    assert not check(model(terms, polynomials=polynomials), data).dropped
    terms = (Term("1", "m"), covariate("x", "c", polynomials=(1, 2, 5), centred=True, nested_in=nested))
    assert len(check(model(terms, polynomials=polynomials), data).dropped) == (1 if nested is None else 2)


def test_levels_without_observed_trait_are_no_levels() -> None:
    a, b = Y.copy(), Y.copy()
    sex = np.arange(N) % 4
    a[sex == 1] = np.nan
    b[sex != 2] = np.nan
    a[sex == 3], b[sex == 3] = np.nan, np.nan
    design = check(model((Term("sex", "s0"),), (Term("sex", "s1"),)), data_of([a, b], {"sex": sex}, {}))
    assert design.groups[0].labels.text() == ["1", "3"]
    np.testing.assert_array_equal(design.kept[0], [[True, False], [True, True]])
    assert not design.dropped


def test_traits_are_independent_unless_they_share_a_sub_factor() -> None:
    classes = {"h": RNG.integers(0, 4, N), "s": RNG.integers(0, 2, N)}
    data = data_of([Y, Y], classes, {})
    assert len(check(model((Term("h", "a"), Term("s", "c")), (Term("h", "b"), Term("s", "d"))), data).dropped) == 2
    assert len(check(model((Term("h", "a"), Term("s", "c")), (Term("h", "b"), Term("s", "c"))), data).dropped) == 1


@pytest.mark.parametrize("fill_limit", [6000, 10])
def test_large_classes_give_the_same_rank(monkeypatch: pytest.MonkeyPatch, fill_limit: int) -> None:
    """The orders for many columns: largest class first, and fill-reducing when what remains is large too."""
    monkeypatch.setattr(rank_module, "TERM_ORDER_LIMIT", 20)
    monkeypatch.setattr(rank_module, "FILL_LIMIT", fill_limit)
    n = 300
    herd = RNG.integers(0, 40, n)
    year = herd % 5 * 3 + RNG.integers(0, 3, n)  # five sets of herds that share no year
    sex = RNG.integers(0, 2, n)
    y = RNG.normal(size=n)
    terms = (Term("1", "m"), Term("sex", "s"), Term("herd", "h"), Term("year", "j"))
    design = check(model(terms, terms_of(terms)), data_of([y, y], {"herd": herd, "year": year, "sex": sex}, {}))
    assert len(design.dropped) == 2 * (1 + 1 + 5)


def terms_of(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The same terms with sub-factors of their own."""
    return tuple(Term(t.variable, t.subfactor + "2") for t in terms)


def test_chunks_of_records_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of([Y], {"h": RNG.integers(0, 4, N), "s": RNG.integers(0, 3, N)}, {})
    spec = model((Term("1", "m"), Term("h", "a"), Term("s", "c")))
    whole = check(spec, data)
    monkeypatch.setattr(rank_module, "CHUNK", 7)
    monkeypatch.setattr(rank_module, "BLOCK", 7)
    monkeypatch.setattr(cross_products, "BLOCK", 5)
    monkeypatch.setattr(cross_products, "CHUNK", 7)
    assert check(spec, data).dropped == whole.dropped


def test_a_covariate_that_does_not_vary_is_left_out_and_reported() -> None:
    x = np.array([3.1, 3.1, 3.1, 3.1])
    terms = (Term("1", "m"), covariate("x", "c", centred=True), covariate("x", "n", nested_in="a", centred=True))
    data = data_of([np.array([5.0, 6.0, 8.0, 7.0])], {"a": np.array([0, 1, 0, 1])}, {"x": x})
    assert names(full_rank(build_design(model(terms), data))) == [("c", ""), ("n", "1"), ("n", "2")]
