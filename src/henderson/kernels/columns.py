"""Products and vector passes for several right-hand sides side by side: element i of all of them is row i.

The columns of a row are contiguous, so that what a product reads besides the vectors (levels, coefficients, parents,
blocks) is read once for all, and the inner loops run over columns. Shapes: x, y, r, z float64 (n_local, n_columns);
everything else as in `records`, `relationship` and `blocks`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit
from henderson.kernels.record_loops import (
    LocalRecords,
    TermLists,
    gather_columns,
    scatter_columns,
    weigh_columns,
    weight_of,
)


@jit
def record_product(
    n_traits: int,
    records: LocalRecords,
    gathered: TermLists,
    scattered: TermLists,
    residual: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W_2' R^-1 W_1 x to `y`; W_1 has the terms in `gathered`, W_2 those in `scattered`."""
    eta = np.empty((n_traits, x.shape[1]))
    z = np.empty((n_traits, x.shape[1]))
    for r in range(records.slots.shape[0]):
        gather_columns(records, gathered, r, x, eta)
        weigh_columns(residual, records.pattern[r], weight_of(records.weights, r), eta, z)
        scatter_columns(records, scattered, r, z, y)


@jit
def right_hand_sides(
    records: LocalRecords,
    lists: TermLists,
    residual: NDArray[np.float64],
    responses: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add W' R^-1 responses to `y`; responses are float64 (n_records, n_traits, n_columns), zero where missing."""
    z = np.empty((responses.shape[1], responses.shape[2]))
    for r in range(records.slots.shape[0]):
        weigh_columns(residual, records.pattern[r], weight_of(records.weights, r), responses[r], z)
        scatter_columns(records, lists, r, z, y)


@jit
def predict(
    records: LocalRecords,
    lists: TermLists,
    x: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Set `out` = W x, float64 (n_records, n_traits, n_columns), of the traits that `lists` has terms of."""
    for r in range(records.slots.shape[0]):
        gather_columns(records, lists, r, x, out[r])


@jit
def pedigree_product(
    width: int,
    first: int,
    sire: NDArray[np.uint32],
    dam: NDArray[np.uint32],
    precision: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (A^-1 (x) Sigma^-1) x to `y` for the animals of this partition (Henderson 1976, Quaas 1976)."""
    n_columns = x.shape[1]
    mendelian = np.empty((width, n_columns))
    v = np.empty(n_columns)
    for i in range(sire.size):
        own = np.uint32(first + i * width)
        s = sire[i]
        d = dam[i]
        weight = precision[i]
        for t in range(width):
            for j in range(n_columns):
                mendelian[t, j] = (x[own + t, j] - 0.5 * (x[s + t, j] + x[d + t, j])) * weight
        for t in range(width):
            for j in range(n_columns):
                v[j] = 0.0
            for u in range(width):
                scale = sigma_inverse[t, u]
                for j in range(n_columns):
                    v[j] += scale * mendelian[u, j]
            for j in range(n_columns):
                y[own + t, j] += v[j]
            for j in range(n_columns):
                y[s + t, j] -= 0.5 * v[j]
            for j in range(n_columns):
                y[d + t, j] -= 0.5 * v[j]


@jit
def identity_product(
    width: int,
    first: int,
    n_levels: int,
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (I (x) Sigma^-1) x to `y` for `n_levels` levels from element `first`."""
    n_columns = x.shape[1]
    for i in range(n_levels):
        own = np.uint32(first + i * width)
        for t in range(width):
            for u in range(width):
                scale = sigma_inverse[t, u]
                for j in range(n_columns):
                    y[own + t, j] += scale * x[own + u, j]


@jit
def matrix_product(
    width: int,
    first: int,
    indptr: NDArray[np.int64],
    columns: NDArray[np.uint32],
    values: NDArray[np.float64],
    sigma_inverse: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> None:
    """Add (K^-1 (x) Sigma^-1) x to `y` for the owned rows of K^-1 (CSR; `columns` are elements, ghosts included)."""
    n_columns = x.shape[1]
    related = np.empty((width, n_columns))
    for i in range(indptr.size - 1):
        own = np.uint32(first + i * width)
        related[:] = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            other = columns[k]
            scale = values[k]
            for t in range(width):
                for j in range(n_columns):
                    related[t, j] += scale * x[other + t, j]
        for t in range(width):
            for u in range(width):
                scale = sigma_inverse[t, u]
                for j in range(n_columns):
                    y[own + t, j] += scale * related[u, j]


@jit
def copy_to_ghosts(
    source: NDArray[np.float64],
    owned: NDArray[np.uint32],
    ghosts: NDArray[np.uint32],
    target: NDArray[np.float64],
) -> None:
    """Set target[ghosts] = source[owned], row by row."""
    for k in range(owned.size):
        for j in range(source.shape[1]):
            target[ghosts[k], j] = source[owned[k], j]


@jit
def add_to_owner(
    source: NDArray[np.float64],
    owned: NDArray[np.uint32],
    ghosts: NDArray[np.uint32],
    target: NDArray[np.float64],
) -> None:
    """Add source[ghosts] to target[owned], row by row."""
    for k in range(owned.size):
        for j in range(source.shape[1]):
            target[owned[k], j] += source[ghosts[k], j]


@jit
def blank(
    elements: NDArray[np.uint32],
    y: NDArray[np.float64],
) -> None:
    """Set y[elements] = 0: equations that are left out."""
    for k in range(elements.size):
        for j in range(y.shape[1]):
            y[elements[k], j] = 0.0


@jit
def dots(
    n: int,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Set out[j] = a_j'b_j over the first `n` elements."""
    out[:] = 0.0
    for i in range(n):
        for j in range(a.shape[1]):
            out[j] += a[i, j] * b[i, j]


@jit
def subtract(
    n: int,
    b: NDArray[np.float64],
    product: NDArray[np.float64],
    r: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Set r = b - product and out[j] = r_j'r_j."""
    out[:] = 0.0
    for i in range(n):
        for j in range(b.shape[1]):
            r[i, j] = b[i, j] - product[i, j]
            out[j] += r[i, j] * r[i, j]


@jit
def lessen(
    n: int,
    alpha: NDArray[np.float64],
    q: NDArray[np.float64],
    r: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Set r_j -= alpha_j q_j and out[j] = r_j'r_j."""
    out[:] = 0.0
    for i in range(n):
        for j in range(r.shape[1]):
            r[i, j] -= alpha[j] * q[i, j]
            out[j] += r[i, j] * r[i, j]


@jit
def advance(
    n: int,
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64],
    z: NDArray[np.float64],
    p: NDArray[np.float64],
    x: NDArray[np.float64],
) -> None:
    """Set x_j += alpha_j p_j, then p_j = z_j + beta_j p_j."""
    for i in range(n):
        for j in range(p.shape[1]):
            x[i, j] += alpha[j] * p[i, j]
            p[i, j] = z[i, j] + beta[j] * p[i, j]
