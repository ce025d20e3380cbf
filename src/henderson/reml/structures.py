"""Covariance structures: Sigma as a function of free working parameters that cannot leave the parameter space.

Unstructured matrices are worked on as Sigma = D^1/2 L L' D^1/2 with free triangular L, variances as squares: near a
singular Sigma the Newton step in these parameters goes to the boundary and does not cross it (Bates & DebRoy 2004 for
the parameters; the curvature terms below for the step). Held or equal elements are worked on as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from henderson.reml.null_space import keeping_null, keeping_null_within, trapezoid

Floats = NDArray[np.float64]
Kind = Literal["variance", "covariance", "correlation"]

FLOOR = 1e-8  # smallest variance relative to the phenotypic scale: below it is a boundary
MATRIX_FLOOR = 1e-6  # the same for eigenvalues of matrices, whose inverse loses digits to rounding
BLUNT = 1e-3  # variance relative to the phenotypic scale below which damping does not get any tighter
SHRINK = 0.02  # no direction of Sigma shrinks by more than this factor in a round


@dataclass(frozen=True)
class Element:
    """A parameter of the structure as it is reported: row >= col, from 0; `equal`: it repeats an earlier one."""

    row: int
    col: int
    kind: Kind
    fixed: bool
    equal: bool = False


@dataclass
class Structure:
    """The structure of one Sigma.

    fix: bool (size, size); equal: groups of elements; scale: float64 (size,), the phenotypic variance that stands
    behind each position; start: values of the elements that are held; rank: of an unstructured Sigma, whose other
    eigenvalues are `MATRIX_FLOOR` of the phenotypic scale (Meyer & Kirkpatrick 2005), None for full rank.
    """

    kind: Literal["us", "diag", "corgh", "cs", "id"]
    size: int
    fix: NDArray[np.bool_]
    equal: tuple[tuple[tuple[int, int], ...], ...]
    scale: Floats
    start: Floats
    rank: int | None = None
    mode: str = field(init=False)
    _basis: Floats = field(init=False)
    _constant: Floats = field(init=False)
    n_lacking: int = field(init=False, default=0)  # directions that Sigma does not have, by its rank

    def __post_init__(self) -> None:
        n = self.size
        constrained = bool(self.fix.any()) or bool(self.equal)
        self._constant = np.zeros((n, n))
        self._basis = np.zeros((0, n, n))
        if n == 1 and self.kind in ("us", "corgh", "cs"):
            self.kind = "id" if not constrained else "diag"
        if self.kind == "cs":
            self.mode = "linear" if self.fix.any() else "roots"
            J = np.full((n, n), 1.0 / n)
            self._basis = self._held_cs() if self.fix.any() else np.array([J, np.eye(n) - J])
        elif self.kind in ("diag", "id"):
            self.mode = "roots"
            self._basis = self._diagonal_basis()
        elif not constrained:
            self.mode = "cholesky"
            if self.rank is not None and self.rank < n:
                self.n_lacking = n - self.rank
        else:
            self.mode = "linear" if self.kind == "us" else "correlations"
            self._basis = self._element_basis()

    # --- working parameters -------------------------------------------------------------------------------------------

    @property
    def n_free(self) -> int:
        """Return the number of working parameters."""
        return len(self._of_root()[0]) if self.mode == "cholesky" else len(self._basis)

    def _of_root(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows and columns of the elements of L."""
        rows, columns = np.tril_indices(self.size)
        here = columns < self.size - self.n_lacking
        return rows[here], columns[here]

    def pack(self, sigma: Floats) -> Floats:
        """Return the working parameters of `sigma`."""
        if self.mode == "cholesky":
            root = np.sqrt(self.scale)
            scaled = sigma / np.outer(root, root)
            L = trapezoid(scaled, self.n_lacking, MATRIX_FLOOR) if self.n_lacking else np.linalg.cholesky(scaled)
            return np.asarray(L[self._of_root()])
        weights = np.array([np.sum(B * B) for B in self._basis]).reshape(-1)
        if self.mode == "roots":
            inner = np.array([np.sum(B * sigma) for B in self._basis]).reshape(-1)
            return np.asarray(np.sqrt(np.maximum(inner / np.maximum(weights, 1e-300), 0.0)))
        if self.mode == "correlations":
            deviation = np.sqrt(np.diag(sigma))
            sigma = sigma / np.outer(deviation, deviation)
            sigma[np.diag_indices(self.size)] = deviation
        inner = np.array([np.sum(B * (sigma - self._constant)) for B in self._basis]).reshape(-1)
        return np.asarray(inner / np.maximum(weights, 1e-300))

    def sigma(self, phi: Floats) -> Floats:
        """Return Sigma."""
        if self.mode == "cholesky":
            L = self._triangle(phi)
            return np.asarray(L @ L.T + (np.diag(MATRIX_FLOOR * self.scale) if self.n_lacking else 0.0))
        if self.mode == "correlations":
            return self._from_correlations(self._natural(phi))
        weights = phi**2 if self.mode == "roots" else phi
        return self._constant + np.tensordot(weights, self._basis, 1)

    def derivatives(self, phi: Floats) -> Floats:
        """Return dSigma / dphi, (n_free, size, size)."""
        n = self.size
        if self.mode == "cholesky":
            L = self._triangle(phi)
            root = np.sqrt(self.scale)
            rows, columns = self._of_root()
            half = np.zeros((len(rows), n, n))
            half[np.arange(len(rows)), rows] = root[rows, None] * L[:, columns].T
            return half + half.transpose(0, 2, 1)
        if self.mode == "roots":
            return 2.0 * phi[:, None, None] * self._basis
        if self.mode == "correlations":
            Z = self._natural(phi)
            deviation = np.diag(Z)
            R = Z - np.diag(deviation) + np.eye(n)
            found = np.empty_like(self._basis)
            for k, B in enumerate(self._basis):
                d = np.diag(B)
                found[k] = (B - np.diag(d)) * np.outer(deviation, deviation)
                found[k] += R * (np.outer(d, deviation) + np.outer(deviation, d))
            return found
        return self._basis.copy()

    def curvature(self, phi: Floats, gradient: Floats) -> Floats:
        """Return sum_ij gradient_ij d2 Sigma_ij / dphi dphi', (n_free, n_free)."""
        if self.mode == "cholesky":
            rows, columns = self._of_root()
            root = np.sqrt(self.scale)
            scaled = gradient * np.outer(root, root)
            return np.asarray(2.0 * scaled[np.ix_(rows, rows)] * (columns[:, None] == columns))
        if self.mode == "roots":
            return np.diag([2.0 * float(np.sum(gradient * B)) for B in self._basis])
        if self.mode == "correlations":
            k = len(self._basis)
            found = np.empty((k, k))
            for a in range(k):
                step = 1e-5 * max(1.0, abs(phi[a]))
                up, down = phi.copy(), phi.copy()
                up[a] += step
                down[a] -= step
                change = (self.derivatives(up) - self.derivatives(down)) / (2.0 * step)
                found[a] = np.tensordot(change, gradient, 2)
            return (found + found.T) / 2.0
        return np.zeros((self.n_free, self.n_free))

    # --- the parameter space ------------------------------------------------------------------------------------------

    def confine(self, phi: Floats, old: Floats) -> Floats | None:
        """Return `phi` with Sigma kept off the boundary and no direction shrunk too much; None if that cannot be."""
        if self.n_free == 0:
            return phi
        if self.mode == "roots":
            return np.sqrt(np.maximum(phi**2, np.maximum(SHRINK * old**2, FLOOR * self._root_scale())))
        sigma = self.sigma(phi)
        if not np.all(np.isfinite(sigma)):
            return None
        if self.mode != "cholesky":
            return self._lifted(phi, old)
        root = np.sqrt(self.scale)
        scaled = sigma / np.outer(root, root)
        first = self.n_lacking
        before = np.linalg.eigvalsh(self.sigma(old) / np.outer(root, root))[first]
        lowest = max(MATRIX_FLOOR, SHRINK * float(before))
        values, vectors = np.linalg.eigh((scaled + scaled.T) / 2.0)
        if values[first] < lowest:
            values[first:] = np.maximum(values[first:], lowest)
            sigma = (vectors * values) @ vectors.T * np.outer(root, root)
        return self.pack(sigma)

    def _lifted(self, phi: Floats, old: Floats) -> Floats | None:
        """Return `phi` moved (or else cut back towards `old`) until variances and eigenvalues are high enough."""
        basis, least = self._bounded_basis(), self._least(old)
        before = self._lowest(old)[0]
        bound = max(min(MATRIX_FLOOR, before), SHRINK * before)
        weights = 1.0 / np.maximum(np.sum(basis**2, axis=(1, 2)), 1e-300)
        found = np.maximum(phi, least)
        for _ in range(20):
            value, vector = self._lowest(found)
            if value >= bound:
                return found
            normal = np.einsum("kij,i,j->k", basis, vector, vector)
            length = float(normal @ (weights * normal))
            if length < 1e-20:
                break
            found = np.maximum(found + weights * normal * (bound - value + 0.01 * abs(bound)) / length, least)
        for k in range(1, 30):
            trial = old + 0.5**k * (phi - old)
            if np.all(trial >= least) and self._lowest(trial)[0] >= bound:
                return trial
        return old.copy() if before > 0.0 else None

    def _bounded(self, sigma: Floats) -> Floats:
        """Return what has to stay positive definite: Sigma in units of the phenotypic scale, or its correlations."""
        root = np.sqrt(self.scale if self.mode != "correlations" else np.diag(sigma))
        return np.asarray(sigma / np.outer(root, root))

    def _bounded_basis(self) -> Floats:
        """Return the derivatives of `_bounded` by the working parameters, which are constant."""
        mask = 1.0 - np.eye(self.size)
        return (
            self._basis * mask
            if self.mode == "correlations"
            else self._basis / np.sqrt(np.outer(self.scale, self.scale))
        )

    def _lowest(self, phi: Floats) -> tuple[float, Floats]:
        """Return the lowest eigenvalue of `_bounded`, and its vector."""
        values, vectors = np.linalg.eigh(self._bounded(self.sigma(phi)))
        return float(values[0]), vectors[:, 0]

    def _least(self, old: Floats) -> Floats:
        """Return the smallest value of each working parameter: standard deviations stay positive."""
        if self.mode != "correlations":
            return np.full(len(old), -np.inf)
        own = np.einsum("kii->k", self._basis) > 0.0
        return np.where(own, np.maximum(np.sqrt(SHRINK) * old, np.sqrt(FLOOR * self._root_scale())), -np.inf)

    def blocked(self, phi: Floats, ahead: Floats) -> Floats | None:
        """Return the normal (n_free,) of the boundary at `phi` that `ahead` would cross, or None."""
        if self.mode not in ("linear", "correlations") or self.n_free == 0:
            return None
        at = (phi <= 1.01 * self._least(phi)) & (ahead < 0.0)
        if at.any():
            return np.asarray(np.eye(len(phi))[np.flatnonzero(at)[0]], np.float64)
        values, vectors = np.linalg.eigh(self._bounded(self.sigma(phi)))
        null = vectors[:, values < 2.0 * MATRIX_FLOOR]
        if null.shape[1] == 0:
            return None
        across = null.T @ self._bounded_basis() @ null
        change, along = np.linalg.eigh(np.tensordot(ahead, across, 1))
        normal = np.einsum("kij,i,j->k", across, along[:, 0], along[:, 0])
        return normal if change[0] < -1e-9 * float(np.linalg.norm(normal * ahead)) else None

    def metric(self, phi: Floats, complete: Floats) -> Floats:
        """Return the matrix (n_free, n_free) in which damped steps are short.

        It is near `complete`, the information of the complete data, but does not grow without bound towards a singular
        Sigma, where steps along the boundary have to stay possible.
        """
        size = float(phi @ complete @ phi) / (2.0 * self.size)  # the number of levels
        if self.mode == "cholesky":
            rows, _ = self._of_root()
            variances = np.diag(self.sigma(phi)) / self.scale
            return np.diag(2.0 * size / (variances[rows] + BLUNT))
        if self.mode == "roots":
            trace = np.array([np.trace(B) for B in self._basis]).reshape(-1)
            return np.diag(2.0 * size * trace / (phi**2 + BLUNT * self._root_scale()))
        return complete

    def null_directions(self, sigma: Floats) -> Floats:
        """Return the vectors (size, k), in units of the phenotypic scale, along which Sigma of its rank is singular."""
        if self.mode == "correlations":
            return self._null_of_correlations(sigma)
        return self._small_directions(sigma)[:, self.n_lacking :]

    def _small_directions(self, sigma: Floats) -> Floats:
        root = np.sqrt(self.scale)
        values, vectors = np.linalg.eigh(sigma / np.outer(root, root))
        floor = FLOOR if self.mode == "roots" else MATRIX_FLOOR
        return np.asarray(vectors[:, values < 30.0 * floor])

    def _null_of_correlations(self, sigma: Floats) -> Floats:
        """Return the same where variances and correlations are bounded each for themselves."""
        kept = np.diag(sigma) > 30.0 * FLOOR * self.scale
        null = np.eye(self.size)[:, ~kept]
        if (self._bounded_basis() == 0.0).all() or not kept.any():
            return null
        values, vectors = np.linalg.eigh(self._bounded(sigma)[np.ix_(kept, kept)])
        more = np.zeros((self.size, int(np.sum(values < 30.0 * MATRIX_FLOOR))))
        more[kept] = vectors[:, values < 30.0 * MATRIX_FLOOR] * np.sqrt(self.scale / np.diag(sigma))[kept, None]
        return np.linalg.qr(np.hstack([null, more]))[0]

    def tangents(self, phi: Floats) -> Floats:
        """Return directions dSigma that keep the rank of Sigma, (k, size, size): what standard errors refer to."""
        sigma = self.sigma(phi)
        null = self.null_directions(sigma)
        if null.shape[1] == 0:
            return self.derivatives(phi)
        if self.mode in ("linear", "correlations"):
            return keeping_null_within(null / np.sqrt(self.scale)[:, None], self.derivatives(phi))
        if self.mode == "roots":
            return self.derivatives(phi)[phi**2 > 30.0 * FLOOR * self._root_scale()]
        basis = keeping_null(self._small_directions(sigma), self.size)
        return np.asarray(basis * np.sqrt(np.outer(self.scale, self.scale)))

    # --- what is reported ---------------------------------------------------------------------------------------------

    def elements(self) -> list[Element]:
        """Return the reported parameters, row by row of the lower triangle."""
        n = self.size
        name: Kind = "correlation" if self.kind == "corgh" else "covariance"
        repeats = {e for group in self.equal for e in group[1:]}
        if self.kind == "id":
            return [Element(0, 0, "variance", bool(self.fix[0, 0]))]
        if self.kind == "cs":
            off = ~np.eye(n, dtype=np.bool_)
            return [
                Element(0, 0, "variance", bool(np.diag(self.fix).any())),
                Element(1, 0, "covariance", bool(self.fix[off].any())),
            ]
        return [
            Element(i, j, "variance" if i == j else name, bool(self.fix[i, j]), (i + 1, j + 1) in repeats)
            for i in range(n)
            for j in range(i + 1)
            if i == j or self.kind != "diag"
        ]

    def coupling(self) -> NDArray[np.bool_]:
        """Return which elements of Sigma^-1 can differ from zero."""
        n = self.size
        if self.kind in ("diag", "id"):
            return np.eye(n, dtype=np.bool_)
        linked = ~(self.fix & (self.start == 0.0)) | np.eye(n, dtype=np.bool_)
        for _ in range(n.bit_length()):
            linked = (linked.astype(np.int64) @ linked) > 0
        return np.asarray(linked, np.bool_)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _triangle(self, phi: Floats) -> Floats:
        L = np.zeros((self.size, self.size))
        L[self._of_root()] = phi
        return np.sqrt(self.scale)[:, None] * L

    def _root_scale(self) -> Floats:
        return np.array([np.sum(np.diag(B) * self.scale) / max(np.trace(B), 1e-300) for B in self._basis]).reshape(-1)

    def _natural(self, phi: Floats) -> Floats:
        return self._constant + np.tensordot(phi, self._basis, 1)

    @staticmethod
    def _from_correlations(Z: Floats) -> Floats:
        deviation = np.diag(Z).copy()
        R = Z - np.diag(deviation) + np.eye(len(Z))
        return np.asarray(R * np.outer(deviation, deviation))

    def _diagonal_basis(self) -> Floats:
        n = self.size
        if self.kind == "id":
            if self.fix.any():
                self._constant = np.diag(np.diag(self.start))
                return np.zeros((0, n, n))
            return np.eye(n)[None]
        return self._grouped([(i, i) for i in range(n)])

    def _held_cs(self) -> Floats:
        off = ~np.eye(self.size, dtype=np.bool_)
        found = []
        for part in (~off, off):
            if self.fix[part].any():
                self._constant[part] = self.start[part]
            else:
                found.append(part.astype(np.float64))
        return np.array(found).reshape(-1, self.size, self.size)

    def _element_basis(self) -> Floats:
        return self._grouped([(i, j) for i in range(self.size) for j in range(i + 1)])

    def _grouped(self, elements: list[tuple[int, int]]) -> Floats:
        """Return one matrix per free element or group of equal ones; held elements go to the constant."""
        n = self.size
        start = self.start.copy()
        if self.kind == "corgh":
            deviation = np.sqrt(np.diag(start))
            start = start / np.outer(deviation, deviation)
            start[np.diag_indices(n)] = deviation
        leader = {(i - 1, j - 1): (g[0][0] - 1, g[0][1] - 1) for g in self.equal for i, j in g}
        found: dict[tuple[int, int], Floats] = {}
        for i, j in elements:
            if self.fix[i, j]:
                self._constant[i, j] = self._constant[j, i] = start[i, j]
                continue
            B = found.setdefault(leader.get((i, j), (i, j)), np.zeros((n, n)))
            B[i, j] = B[j, i] = 1.0
        return np.array(list(found.values())).reshape(-1, n, n)
