"""Products of small matrices, of any width, against NumPy; nothing beside them is read or written."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from henderson.kernels.jit import index, jit
from henderson.kernels.registers import WIDE, add_scaled, packed_product, products_of, whole_product

WIDTHS = [*range(1, 18), 24, 31, WIDE, WIDE + 1]
N_LEVELS = 3


@jit
def packed_products(routine: int, packed: NDArray, x: NDArray, y: NDArray) -> None:
    n, size = (x.size - 2) // packed.shape[0], packed.shape[1]
    for i in range(packed.shape[0]):
        at = index(1 + i * n)
        packed_product(routine, packed, index(i * size), x, at, y, at)


@jit
def whole_products(routine: int, scale: float, a: NDArray, x: NDArray, y: NDArray) -> None:
    n = a.shape[0]
    for i in range((x.size - 2) // n):
        at = index(1 + i * n)
        whole_product(routine, scale, a, x, at, y, at)


@jit
def add_all(routine: int, n: int, scale: float, x: NDArray, y: NDArray) -> None:
    for i in range((x.size - 2) // n):
        at = index(1 + i * n)
        add_scaled(routine, scale, x, at, y, at)


def vectors(width: int) -> tuple[NDArray, NDArray]:
    """x between two NaN, which must not be read, and y between two numbers, which must stay."""
    rng = np.random.default_rng(width)
    x = np.concatenate([[np.nan], rng.normal(size=N_LEVELS * width), [np.nan]])
    return x, np.concatenate([[7.0], rng.normal(size=N_LEVELS * width), [8.0]])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_packed(width: int, precision: type) -> None:
    lower = np.tril_indices(width)
    packed = np.random.default_rng(2).normal(size=(N_LEVELS, len(lower[0]))).astype(precision)
    x, y = vectors(width)
    packed_products(products_of(width, precision is np.float32).packed, packed, x, y)
    matrices = np.zeros((N_LEVELS, width, width))
    matrices[:, lower[0], lower[1]] = matrices[:, lower[1], lower[0]] = packed
    expected = np.einsum("itu,iu->it", matrices, x[1:-1].reshape(N_LEVELS, width)).ravel()
    np.testing.assert_allclose(y[1:-1], expected, rtol=0.0, atol=1e-13)
    assert (y[0], y[-1]) == (7.0, 8.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_whole(width: int) -> None:
    a = np.random.default_rng(3).normal(size=(width, width))
    a = a + a.T
    x, y = vectors(width)
    whole_products(products_of(width).whole, -0.5, a, x, y)
    expected = -0.5 * x[1:-1].reshape(N_LEVELS, width) @ a
    np.testing.assert_allclose(y[1:-1], expected.ravel(), rtol=0.0, atol=1e-13)
    assert (y[0], y[-1]) == (7.0, 8.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_add(width: int) -> None:
    x, y = vectors(width)
    expected = y[1:-1] + 0.3 * x[1:-1]
    add_all(products_of(width).add, width, 0.3, x, y)
    np.testing.assert_allclose(y[1:-1], expected, rtol=0.0, atol=1e-15)
    assert (y[0], y[-1]) == (7.0, 8.0)


def test_matrices_by_columns_are_refused() -> None:
    x, y = vectors(3)
    with pytest.raises(Exception, match="do not follow each other"):
        whole_products(products_of(3).whole, 1.0, np.asfortranarray(np.eye(3)), x, y)
