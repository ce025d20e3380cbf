"""The average information without a factor: working variates, solved for some columns at a time.

AI_kl = 1/2 f_k'P f_l with f_k = V_k P y (Gilmour, Thompson & Cullis 1995; Johnson & Thompson 1995). With s_l the
solution for f_l, v_l = P f_l = R^-1 (f_l - W s_l), and f_k'v_l needs only W'v_l and sums of v_l e' over the records: no
more columns than those being solved are ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.equations.columns import ColumnOperator
from henderson.equations.operator import Operator
from henderson.kernels import working as kernels
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]
Solve = Callable[[ColumnOperator, Vectors, Vectors | None], Vectors]

COLUMNS = 64  # working variates solved side by side


@dataclass(frozen=True)
class Variates:
    """The variates of directions dSigma of every Sigma, random groups first, at a point.

    groups: numbers of the random groups; x: solutions of the records; e: residuals per partition.
    """

    operator: Operator
    groups: Sequence[int]
    x: Vectors
    e: Sequence[Floats]
    directions: Sequence[Floats]

    def information(self, solve: Solve, answers: Vectors | None) -> tuple[Floats, Vectors | None]:
        """Return 1/2 f_k'P f_l, and the solutions if they are few. **Collective**.

        `answers`: where the solves begin; they are overwritten. Cost: as many solves as directions, `COLUMNS` side by
        side, and two passes over the records for each lot.
        """
        owner = [(b, k) for b, ds in enumerate(self.directions) for k in range(len(ds))]
        total = len(owner)
        found = np.zeros((total, total))
        few = total <= COLUMNS
        solved: Vectors | None = None
        for first in range(0, total, COLUMNS):
            part = owner[first : first + COLUMNS]
            columns = ColumnOperator(self.operator, len(part))
            effects, change = self._effects(columns, part)
            rhs, _ = self._pass(columns, effects, change)
            fits = few and answers is not None and answers[0].shape[1] == total
            solved = solve(columns, rhs, answers if fits else None)
            for mine, s in zip(effects, solved, strict=True):
                mine -= s
            found[:, first : first + len(part)] = self._products(*self._pass(columns, effects, change))
        return np.asarray((found + found.T) / 4.0), solved if few else None

    def _effects(self, columns: ColumnOperator, part: Sequence[tuple[int, int]]) -> tuple[Vectors, Floats]:
        """Return what the variates have of random effects, and dR R^-1 by pattern."""
        operator, design = self.operator, self.operator.design
        n_traits, n_random = design.n_traits, len(self.groups)
        effects = columns.zeros()
        change = np.zeros((len(part), len(design.patterns.observed), n_traits, n_traits))
        for column, (block, k) in enumerate(part):
            d = self.directions[block][k]
            if block < n_random:
                times = self._times(block, d)
                for p, partition in enumerate(operator.partitions):
                    local = partition.layout.groups[self.groups[block]]
                    kernels.times_block(
                        local.width, local.first_owned, local.n_owned, self.x[p], times, column, effects[p]
                    )
            else:
                here, every = self._changes(block)
                change[column, here] = every[k]
        return effects, change

    def _changes(self, block: int) -> tuple[NDArray[np.int64], Floats]:
        """Return the patterns of a residual class, and dR R^-1 of its directions there, (k, n_here, size, size)."""
        patterns, n_traits = self.operator.design.patterns, self.operator.design.n_traits
        here = np.flatnonzero(patterns.residual == block - len(self.groups))
        seen = patterns.observed[here]
        residual = self.operator.residual.reshape(-1, n_traits, n_traits)[here]
        ds = self.directions[block].reshape(-1, 1, n_traits, n_traits)
        return here, np.asarray((ds * (seen[:, :, None] & seen[:, None, :])) @ residual)

    def _times(self, block: int, d: Floats) -> Floats:
        """Return Sigma^-1 dSigma of a random group."""
        inverse = self.operator.sigma_inverse[self.groups[block]]
        assert inverse is not None
        return np.ascontiguousarray(inverse @ d)

    def _pass(self, columns: ColumnOperator, effects: Vectors, change: Floats) -> tuple[Vectors, Floats]:
        """Return W'v and the sums of v e' by pattern for v = R^-1 (W effects + change e)."""
        operator, parts = self.operator, self.operator.partitions
        operator.exchange.forward(effects)
        out = columns.zeros()

        def part(p: int) -> Floats:
            sums = np.zeros_like(change)
            kernels.working_variates(
                parts[p].records, operator.terms, operator.residual, effects[p], self.e[p], change, out[p], sums
            )
            return sums

        sums = operator.exchange.sum_arrays(operator.team.run(part, operator.n_partitions))
        operator.exchange.reverse_add(out)
        columns.blank(out)
        return out, sums

    def _products(self, out: Vectors, sums: Floats) -> Floats:
        """Return f_k'v_l for all k, (n_directions, n_columns)."""
        operator = self.operator
        rows = []
        for block, ds in enumerate(self.directions):
            if block < len(self.groups):
                g = self.groups[block]
                parts = []
                for partition, x, w in zip(operator.partitions, self.x, out, strict=True):
                    local = partition.layout.groups[g]
                    mine = x[local.elements].reshape(local.n_owned, local.width)
                    theirs = w[local.elements].reshape(local.n_owned, local.width * w.shape[1])
                    parts.append((mine.T @ theirs).reshape(local.width, local.width, w.shape[1]))
                inner = operator.exchange.sum_arrays(parts)
                times = np.array([self._times(block, d) for d in ds]).reshape(-1, *inner.shape[:2])
                rows.append(np.tensordot(times, inner, 2))
            else:
                here, change = self._changes(block)
                rows.append(np.tensordot(change, sums[:, here], ([1, 2, 3], [1, 2, 3])))
        return np.concatenate(rows)
