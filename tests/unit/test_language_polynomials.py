"""Polynomials and functions of variances: grammar, precedence, values, canonical text."""

from __future__ import annotations

import math

import numpy as np
import pytest

from henderson.errors import ModelError
from henderson.language.functions import evaluate_function, parse_function
from henderson.language.polynomials import canonical, evaluate, is_constant
from henderson.language.source import Problems, Source
from henderson.language.syntax import Misfit

X = np.array([-0.9, -0.5, 0.0, 0.3, 1.0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x", lambda x: x),
        ("-x^2", lambda x: -(x**2)),
        ("2^3^2 * x", lambda x: 512 * x),
        ("x - 1 - 1", lambda x: x - 2),
        ("x / 2 / 2", lambda x: x / 4),
        ("2**-x", lambda x: 2.0**-x),
        ("--x", lambda x: x),
        ("3*x^2 + sqrt(x+1)", lambda x: 3 * x**2 + np.sqrt(x + 1)),
        ("log(exp(x)) + log10(100) + log2(8)", lambda x: x + 5),
        ("sin(x)^2 + cos(pi*x)", lambda x: np.sin(x) ** 2 + np.cos(np.pi * x)),
        ("asin(x) + acos(x) - pi/2", lambda x: 0 * x),
        ("tanh(x) - sinh(x)/cosh(x)", lambda x: 0 * x),
        ("atan(tan(x)) + abs(x)", lambda x: x + np.abs(x)),
        (".5e1*(x)", lambda x: 5 * x),
        ("x^0", lambda x: np.ones_like(x)),
    ],
)
def test_values(text: str, value: object) -> None:
    np.testing.assert_allclose(evaluate(text, X), value(X), rtol=1e-14, atol=1e-14)  # type: ignore[operator]


def test_legendre_polynomials_are_plain() -> None:
    closed = {
        "l0": X**0, "l1": X, "l2": (3 * X**2 - 1) / 2, "l3": (5 * X**3 - 3 * X) / 2,
        "l4": (35 * X**4 - 30 * X**2 + 3) / 8,
        "l5": (63 * X**5 - 70 * X**3 + 15 * X) / 8, "l6": (231 * X**6 - 315 * X**4 + 105 * X**2 - 5) / 16,
        "l7": (429 * X**7 - 693 * X**5 + 315 * X**3 - 35 * X) / 16,
    }  # fmt: skip
    for name, value in closed.items():
        np.testing.assert_allclose(evaluate(name, X), value, rtol=0, atol=1e-14)
    assert evaluate("l3", 0.5) == -0.4375
    ends = [float(evaluate(f"l{n}", -1.0)) for n in range(8)]
    np.testing.assert_allclose(ends, [(-1.0) ** n for n in range(8)], rtol=1e-14)


def test_values_keep_the_shape_and_are_not_finite_where_undefined() -> None:
    assert evaluate("7", np.zeros((2, 3))).tolist() == [[7.0] * 3] * 2
    assert np.isnan(evaluate("log(x)", [-1.0, 1.0])).tolist() == [True, False]
    assert np.isinf(evaluate("1/x", [0.0])).all()


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        ("x ^ 2", "((x))**(2)", "x^2"),
        ("(x*2)*3", " x * 2*3 ", "x*2*3"),
        ("(x + 1) * (2)", "(x+1.0)*2", "(x+1)*2"),
        ("(-x)^2", "( -x )^2", "(-x)^2"),
        ("-(x^2)", "-x^2", "-x^2"),
        ("x-(1-x)", "x - ( 1 - (x))", "x-(1-x)"),
        ("+x", "x", "x"),
    ],
)
def test_canonical_text(one: str, other: str, text: str) -> None:
    assert canonical(one) == canonical(other) == text
    assert canonical(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "y^2",
        "x +",
        "",
        "2x",
        "x(2)",
        "foo(x)",
        "l8",
        "x[1,2]",
        "__import__('os')",
        "x.real",
        "1e999",
        "x;x",
        "(" * 500,
        "-" * 5000 + "x",
    ],
)
def test_what_is_not_a_polynomial_is_refused(text: str) -> None:
    with pytest.raises(Misfit):
        canonical(text)
    with pytest.raises(ModelError, match="polynomial"):
        evaluate(text, X)


@pytest.mark.parametrize(
    "text", ["x^0", "l0", "1", "0*x", "x-x", "x/x", "x-(x-1)", "cos(x)^2+sin(x)^2", "pi", "log(-1)"]
)
def test_constants_are_found(text: str) -> None:
    assert is_constant(text)


@pytest.mark.parametrize("text", ["x", "l1", "1e-6*x", "x^2", "1/x", "abs(x)/x", "sqrt(x)", "log(x)", "exp(-x)"])
def test_functions_of_x_are_no_constants(text: str) -> None:
    assert not is_constant(text)


def test_functions_of_variances() -> None:
    problems = Problems("m.toml")
    sizes = {"g": 2, "res": 1, "gg:bl": 1, "free": None}
    text = parse_function("h2", Source.plain("g[1,1] / (g[1,1] + res[1,1]+`gg:bl`[1,1])"), sizes, problems)
    assert text == "g[1,1]/(g[1,1]+res[1,1]+gg:bl[1,1])"
    sigma = {"g": np.array([[3.0, 1.0], [1.0, 2.0]]), "res": np.array([[4.0]]), "gg:bl": np.array([[5.0]])}
    assert evaluate_function(text, sigma) == 0.25
    assert math.isclose(evaluate_function("g[1,2]/sqrt(g[1,1]*g[2,2])", sigma), 1 / math.sqrt(6))
    assert parse_function("f", Source.plain("free[9,9]"), sizes, problems) == "free[9,9]"
    assert not problems.found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g[1,3]", ["g[1,3]", "2 by 2"]),
        ("gg[1,1]", ["'gg'"]),
        ("g + 1", ["'g'", "g[1,1]"]),
        ("g[1,1", ["]"]),
        ("g[0,1]", ["position"]),
        ("eval(g[1,1])", ["function 'eval'"]),
    ],
)
def test_wrong_functions_of_variances(text: str, words: list[str]) -> None:
    problems = Problems("m.toml")
    assert parse_function("f", Source.plain(text, (7, 3)), {"g": 2}, problems) is None
    message = str(problems.found[0])
    assert "line 7" in message
    for word in words:
        assert word in message
