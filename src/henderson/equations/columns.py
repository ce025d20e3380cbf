"""Products of C with several vectors at once: what is read besides the vectors is read once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition
from henderson.kernels import columns as kernels
from henderson.kernels.pedigree_loadings_columns import loadings_product
from henderson.partitions.exchange import Vectors

Floats = NDArray[np.float64]


class ColumnOperator:
    """The operator of `operator` on `n_columns` vectors side by side: local arrays of shape (n_local, n_columns)."""

    def __init__(self, operator: Operator, n_columns: int) -> None:
        self.operator = operator
        self.n_columns = n_columns
        self.team, self.exchange = operator.team, operator.exchange
        self.n_partitions, self.n_owned = operator.n_partitions, operator.n_owned

    def zeros(self) -> Vectors:
        """Return vectors of zeros."""
        parts = self.operator.partitions
        return self.team.run(lambda p: np.zeros((parts[p].layout.n_local, self.n_columns)), self.n_partitions)

    def apply(self, x: Vectors, out: Vectors) -> None:
        """Set `out` = C x; the ghosts of `x` are filled on the way. **Collective**."""
        self.exchange.forward(x)
        self.team.run(lambda p: self._local(p, x[p], out[p]), self.n_partitions)
        self.exchange.reverse_add(out)
        self.blank(out)

    def left(self, targets: frozenset[int], sources: frozenset[int], r: Vectors, x: Vectors, out: Vectors) -> None:
        """Set `out` = r - K x in the groups `targets`, K the block of W' R^-1 W from `sources`. **Collective**.

        Ghosts of `x` are filled on the way; other groups of `out` are left with what there was.
        """
        operator = self.operator
        gathered, scattered = (operator.lists_of(groups) for groups in (sources, targets))
        n_traits, less = operator.design.n_traits, operator.minus_residual
        self.exchange.forward(x)

        def part(p: int) -> None:
            partition = operator.partitions[p]
            partition.layout.copy_owned(targets, r[p], out[p])
            kernels.record_product(n_traits, partition.records, gathered, scattered, less, x[p], out[p])

        self.team.run(part, self.n_partitions)
        self.exchange.reverse_add(out)
        self.blank(out)

    def right_hand_sides(self, responses: Sequence[Floats]) -> Vectors:
        """Return W' R^-1 y of responses float64 (n_records, n_traits, n_columns), one array per partition.

        Missing responses must be zero. **Collective**.
        """
        out = self.zeros()
        operator = self.operator

        def add(p: int) -> None:
            r = operator.partitions[p].records
            kernels.right_hand_sides(r, operator.terms, operator.residual, responses[p], out[p])

        self.team.run(add, self.n_partitions)
        self.exchange.reverse_add(out)
        self.blank(out)
        return out

    def predict(self, x: Vectors) -> list[Floats]:
        """Return W x, float64 (n_records, n_traits, n_columns) per partition. **Collective**."""
        self.exchange.forward(x)
        operator = self.operator
        n_traits = operator.design.n_traits
        every = operator.design.term_lists(observed=False)

        def part(p: int) -> Floats:
            r = operator.partitions[p].records
            out = np.empty((len(r.pattern), n_traits, self.n_columns))
            kernels.predict(r, every, x[p], out)
            return out

        return self.team.run(part, self.n_partitions)

    def blank(self, y: Vectors) -> None:
        """Set the equations that are left out to zero."""
        parts = self.operator.partitions
        if any(len(p.blank) for p in parts):
            self.team.run(lambda p: kernels.blank(parts[p].blank, y[p]), self.n_partitions)

    def _local(self, p: int, x: Floats, y: Floats) -> None:
        y[:] = 0.0
        operator = self.operator
        partition = operator.partitions[p]
        if (pins := partition.pins) is not None:
            y[pins.element] += pins.precision[:, None] * x[pins.element]
        n_traits = operator.design.n_traits
        terms = operator.terms
        kernels.record_product(n_traits, partition.records, terms, terms, operator.residual, x, y)
        for g, local in enumerate(partition.layout.groups):
            inverse = operator.sigma_inverse[g]
            if inverse is None or not local.n_owned:
                continue
            if (own := partition.sigmas[g]) is None:
                _gamma(partition, g, inverse, x, y)
            else:
                inside = np.zeros_like(y)
                _gamma(partition, g, inverse, own.standardised(x), inside)
                own.add_restored(inside, y)


def _gamma(partition: Partition, g: int, inverse: Floats, x: Floats, y: Floats) -> None:
    """Add (Gamma^-1 (x) Sigma^-1) x of random group `g` to `y`."""
    local, relationship = partition.layout.groups[g], partition.relationship[g]
    width, first = local.width, local.first_owned
    if isinstance(relationship, LocalPedigree):
        own = (relationship.sire, relationship.dam, relationship.precision)
        kernels.pedigree_product(width, first, *own, inverse, x, y)
        if relationship.loadings is not None:
            loadings_product(width, relationship.loadings, inverse, x, y)
    elif isinstance(relationship, LocalMatrix):
        rows = (relationship.indptr, relationship.columns, relationship.values)
        kernels.matrix_product(width, first, *rows, inverse, x, y)
    else:
        kernels.identity_product(width, first, local.n_owned, inverse, x, y)
