"""Search directions of a small problem, every one kept conjugate to all before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from henderson.partitions.exchange import Exchange, Vectors

Floats = NDArray[np.float64]

SMALL = 50_000  # equations up to which directions are kept
MOST = 300  # directions that are kept; 2 MOST vectors of memory


class Conjugation:
    """The directions p_j of conjugate gradients and their products C p_j, to keep the next one conjugate to them.

    In exact arithmetic the recurrence does that by itself. In floating point conjugacy is lost from the moment when the
    first extreme eigenvector has converged (Paige 1971; Greenbaum 1989): the iteration takes more rounds, and magnifies
    every rounding error, so that residual histories depend on the order of summation. Taking out of M^-1 r its
    components along all earlier directions (Golub & Van Loan 2013, section 10.3; Notay 2000) keeps them to the last
    digits. The last direction is the recurrence's own part.

    Parameters
    ----------
    exchange
        For sums over the partitions.
    n_owned
        Owned elements per partition of this process.

    """

    def __init__(self, exchange: Exchange, n_owned: Sequence[int]) -> None:
        self._exchange, self._n = exchange, list(n_owned)
        self._directions = [np.empty((MOST, n)) for n in n_owned]  # pages are taken as they fill
        self._products = [np.empty((MOST, n)) for n in n_owned]
        self._curvatures = np.empty(MOST)
        self._known = 0  # curvatures
        self._count = 0
        self._has_last = False
        self._rests = False

    @staticmethod
    def of(exchange: Exchange, n_owned: Sequence[int]) -> Conjugation | None:
        """Return an empty one if the problem of all processes is small, else None. **Collective**."""
        small = exchange.sum([float(n) for n in n_owned]) <= SMALL
        return Conjugation(exchange, n_owned) if small else None

    def remember(self, p: Vectors, Cp: Vectors) -> None:
        """Keep a direction and its product; beyond `MOST` none are added: the first ones matter most."""
        self._has_last = self._count < MOST and not self._rests
        if not self._has_last:
            return
        for k, n in enumerate(self._n):
            self._directions[k][self._count] = p[k][:n]
            self._products[k][self._count] = Cp[k][:n]
        self._count += 1

    def forget(self) -> None:
        """Begin anew, as the recurrence does from another residual."""
        self._known = self._count = 0
        self._has_last = self._rests = False

    def correct(self, r: Vectors, z: Vectors) -> float:
        """Take out of z = M^-1 r all directions but the recurrence's last; return r'z. **Collective**.

        If they were more than half of it, `r` consists of errors: `z` stays as it is, and nothing is taken out any more
        until the recurrence begins anew. Cost: one pass over the directions, one over their products; two reductions.
        """
        new = slice(self._known, self._count)
        partials = []
        for k, n in enumerate(self._n):
            curvatures = np.einsum("ij,ij->i", self._directions[k][new], self._products[k][new])
            components = self._products[k][: self._count] @ z[k][:n]
            partials.append(np.concatenate([[r[k][:n] @ z[k][:n]], curvatures, components]))
        rz, *sums = np.split(self._exchange.sum_arrays(partials), [1, 1 + self._count - self._known])
        self._curvatures[new], components = sums
        self._known = self._count
        used = self._count - self._has_last
        if used == 0:
            return float(rz[0])
        coefficients = components[:used] / self._curvatures[:used]
        parts = [coefficients @ directions[:used] for directions in self._directions]
        lost = self._exchange.sum(
            [float(r[k][:n] @ part) for k, (n, part) in enumerate(zip(self._n, parts, strict=True))]
        )
        if abs(lost) > 0.5 * abs(rz[0]):
            self.forget()
            self._rests = True
            return float(rz[0])
        for k, n in enumerate(self._n):
            z[k][:n] -= parts[k]
        return float(rz[0]) - lost

    def arrays(self) -> dict[str, list[Floats]]:
        """Return what a checkpoint has to hold, flat arrays per partition."""
        of = {"directions": self._directions, "products": self._products}
        flat = {name: [part[: self._count].ravel() for part in parts] for name, parts in of.items()}
        flat["curvatures"] = [self._curvatures[: self._known]] * len(self._n)
        return flat | {"count": [np.array([float(self._count)])] * len(self._n)}

    def restore(self, arrays: Mapping[str, Sequence[Floats]]) -> None:
        """Go back to what `arrays` gave."""
        curvatures = arrays["curvatures"][0]
        self._known, self._count = len(curvatures), int(arrays["count"][0][0])
        self._curvatures[: self._known] = curvatures
        for k, n in enumerate(self._n):
            for name, parts in (("directions", self._directions), ("products", self._products)):
                parts[k][: self._count] = arrays[name][k].reshape(self._count, n)
        self._has_last = False  # the next direction comes from a recurrence that does not know it
