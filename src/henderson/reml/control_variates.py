"""Forms of samples with less spread: regressions on others whose expected values are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.samples import Forms, residual_factors

Floats = NDArray[np.float64]

UNRELATED = 1e-4  # squares of control variates, relative to what they control, below which they are but rounding
LACKING = 1e-2  # eigenvalue of the correlations of a Sigma below which the data say next to nothing along its vector


def combined(quadratic: Forms, cross: Forms, signs: Forms, operator: Operator) -> Forms:
    """Return forms with the expected values of `quadratic` and far less spread over the samples.

    Control variates are the difference of the two forms, and the signs' own squares, whose expected values are known.
    Everything is seen through F, F F' = Sigma^-1, where all elements of a matrix are alike and share coefficients.
    """
    random: list[Floats | None] = []
    for a, b, z, inverse in zip(quadratic.random, cross.random, signs.random, operator.sigma_inverse, strict=True):
        if a is None or b is None or z is None or inverse is None:
            random.append(None)
            continue
        factor, turn, apart = _frame(inverse)
        back = np.linalg.inv(factor)
        surplus = turn.T @ _surplus(z) @ turn
        mixed = reduced(factor.T @ a @ factor, factor.T @ b @ factor, surplus, apart)
        random.append(back.T @ mixed @ back)
    factors = residual_factors(operator)
    across = np.swapaxes(factors, 1, 2)
    observed = operator.design.patterns.observed
    both = observed[:, :, None] & observed[:, None, :]
    surplus = _surplus(signs.residual * both)
    mixed = reduced(across @ quadratic.residual @ factors, across @ cross.residual @ factors, surplus)
    residual = np.zeros_like(mixed)
    for p, seen in enumerate(np.flatnonzero(o) for o in observed):
        if len(seen):
            at = np.ix_(np.arange(len(mixed)), seen, seen)
            back = np.linalg.inv(factors[p][np.ix_(seen, seen)])
            residual[:, p][at] = back.T @ mixed[:, p][at] @ back
    return Forms(tuple(random), residual)


def _frame(inverse: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return F, F F' = Sigma^-1, and which of its columns are directions that a Sigma of reduced rank does not have.

    If there are any, columns are those of the principal components of the correlations, else F is the triangular factor
    that the signs have been multiplied with. In between: the orthogonal matrix by which the former is turned into F.
    """
    factor = np.asarray(np.linalg.cholesky(inverse), np.float64)
    sigma = np.linalg.inv(inverse)
    deviation = np.sqrt(np.diag(sigma))
    values, vectors = np.linalg.eigh(sigma / np.outer(deviation, deviation))
    apart = values < LACKING
    if not apart.any():
        return factor, np.eye(len(factor)), apart
    turned = vectors / np.sqrt(values) / deviation[:, None]
    return turned, np.linalg.solve(factor, turned), apart


def _surplus(z: Floats) -> Floats:
    """Return sums of products of signs less their expected values: squares of signs are 1."""
    return np.asarray(z * (1.0 - np.eye(z.shape[-1])))


def reduced(a: Floats, b: Floats, z: Floats, apart: NDArray[np.bool_] | None = None) -> Floats:
    """Return a + c1 (b - a) + c2 z with the least spread over samples, (n_samples, ...) like `a`; E z = 0.

    Coefficients are pooled over the elements, those in rows and columns `apart`, (size,), for themselves; those for one
    half of the samples come from the other half, so that means stay unbiased. Fewer than 8 samples are left as they
    are.
    """
    if len(a) < 8:
        return a
    size = a.shape[-1]
    apart = np.zeros(size, np.bool_) if apart is None else apart
    kinds = (apart[:, None].astype(np.int64) + apart).ravel()
    shape = (len(a), -1, size**2)
    d1, d2, y = (b - a).reshape(shape), z.reshape(shape), a.reshape(shape)
    out = np.empty_like(y)
    half = np.arange(len(a)) % 2 == 0
    for kind in np.unique(kinds):
        at = kinds == kind
        for here, other in ((half, ~half), (~half, half)):
            centred = [(v[other] - v[other].mean(axis=0))[:, :, at].ravel() for v in (d1, d2, y)]
            left = np.stack(centred[:2], axis=1)
            inner = left.T @ left + UNRELATED * float(centred[2] @ centred[2]) * np.eye(2)
            coefficients = -np.linalg.pinv(inner, hermitian=True) @ (left.T @ centred[2])
            mixed = y[here] + coefficients[0] * d1[here] + coefficients[1] * d2[here]
            out[np.ix_(here, np.arange(out.shape[1]), at)] = mixed[:, :, at]
    return out.reshape(a.shape)
