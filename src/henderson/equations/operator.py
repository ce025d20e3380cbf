"""The product y = C x of the mixed model equations, C = W' R^-1 W + blockdiag(Gamma^-1 (x) Sigma^-1), never formed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from henderson.equations.model import Design, Patterns, Residuals
from henderson.equations.own_sigmas import inverse_factors
from henderson.equations.partition import LocalMatrix, LocalPedigree, Partition, build_partition, cut, level_uses
from henderson.errors import ModelError
from henderson.kernels import record_spans as span_kernels
from henderson.kernels import records as record_kernels
from henderson.kernels import relationship as kernels
from henderson.kernels import vectors as vector_kernels
from henderson.kernels.pedigree_loadings import loadings_product
from henderson.kernels.record_loops import TermLists
from henderson.kernels.record_spans import Spans
from henderson.kernels.records import Bundles
from henderson.kernels.registers import products_of
from henderson.partitions.exchange import Exchange, SharedMemoryExchange, Vectors
from henderson.partitions.layout import lay_out, links, owners
from henderson.partitions.threads import Team
from henderson.store.model_data import ModelData

UNROLLED = 6  # widths up to this have kernels compiled for them
CHUNK = 1 << 20  # records of which the responses are held at a time
SAMPLE = 1 << 17  # records that are looked at for runs
STAYS = 0.6  # of the records have the levels of the one before, where runs pay
PER_SPAN = 3  # steps for a span, beside one for each of its terms

Floats = NDArray[np.float64]
Groups = frozenset[int]


class Terms(NamedTuple):
    """The terms of all groups, or of some, as the kernels want them; by bundles if there are any."""

    bundles: Bundles | None
    spans: Spans


def inverse_of(sigma: Floats, name: str) -> Floats:
    """Return the inverse of a positive definite matrix, exactly symmetric.

    Raises
    ------
    ModelError
        `sigma`, which belongs to the variance `name`, is not positive definite.

    """
    try:
        factor = np.linalg.inv(np.linalg.cholesky(sigma))
    except np.linalg.LinAlgError:
        eigenvalue = float(np.linalg.eigvalsh(sigma)[0])
        raise ModelError(
            f"sigma of {name!r} is not positive definite: smallest eigenvalue {eigenvalue:.3g}; change its elements"
        ) from None
    return np.asarray(factor.T @ factor, np.float64)


def residual_inverses(residuals: Residuals, patterns: Patterns) -> Floats:
    """Return one R^-1 per pattern of observed traits, zero where missing: float64 (n_patterns, n_traits**2)."""
    observed = patterns.observed
    n_patterns, n_traits = observed.shape
    table = np.zeros((n_patterns, n_traits, n_traits))
    sigmas = np.asarray(residuals)
    for mask in np.unique(observed, axis=0):  # patterns of the same traits at once: there may be one for each record
        mine, seen = np.flatnonzero((observed == mask).all(axis=1)), np.flatnonzero(mask)
        if len(seen):
            L = inverse_factors(sigmas[patterns.residual[mine][:, None, None], seen[:, None], seen], "res")
            table[np.ix_(mine, seen, seen)] = np.swapaxes(L, 1, 2) @ L
    return table.reshape(n_patterns, n_traits * n_traits)


class Operator:
    """The equations of a design, cut into partitions that a team of threads works on.

    Vectors are lists of one local vector per partition (owned elements, ghosts, null block); only owned elements carry
    values from one call to the next. Equations left out of X have zero rows and columns.

    Parameters
    ----------
    design
        The design with its kept columns (`rank.full_rank`); over several processes, with the records of this one.
    partitions
        Those of this process.
    exchange
        How they share vectors, with each other and with other processes.
    team
        The threads that work on the partitions.

    """

    def __init__(self, design: Design, partitions: Sequence[Partition], exchange: Exchange, team: Team) -> None:
        self.design = design
        self.team = team
        self.partitions = list(partitions)
        self.n_partitions = len(self.partitions)
        self.exchange = exchange
        self.terms = design.term_lists()
        self.residual = residual_inverses(design.residuals, design.patterns)
        self.minus_residual = -self.residual
        # of levels with Sigmas of their own the identity: that is what they have on the scale of `LocalSigmas`
        self.sigma_inverse = [
            None
            if g.covariance is None
            else np.eye(g.width)
            if g.covariance.own is not None
            else inverse_of(g.covariance.sigma, g.name)
            for g in design.groups
        ]
        self._steady = _steady_slots(design)
        spans = design.spans(steady=self._steady)
        bundles = design.bundles() if design.n_traits <= UNROLLED else None
        if bundles is not None and _spans_are_cheaper(bundles, spans, design.patterns):
            bundles = None
        self._all = Terms(bundles, spans)
        self._terms_by_groups: dict[Groups, Terms] = {}
        self._lists_by_groups: dict[Groups, TermLists] = {}
        self._most = int(np.diff(spans.first_trait.astype(np.int64)).max(initial=0))  # traits of a record
        self.runs: list[NDArray[np.uint32]] | None = None
        if bundles is None and self._steady and 0 < len(design.coefficients) <= UNROLLED:
            self.runs = team.run(self._run_starts, self.n_partitions)

    def _run_starts(self, p: int) -> NDArray[np.uint32]:
        records = self.partitions[p].records
        start = np.empty(len(records.pattern) + 1, np.uint32)
        n = span_kernels.run_starts(records, self._all.spans.steady, start)
        return start[:n].copy()

    @property
    def n_owned(self) -> list[int]:
        """Return the number of owned elements per partition."""
        return [p.layout.n_owned for p in self.partitions]

    def zeros(self) -> Vectors:
        """Return a vector of zeros."""
        return self.team.run(lambda p: self.partitions[p].layout.zeros(), self.n_partitions)

    def apply(self, x: Vectors, out: Vectors) -> None:
        """Set `out` = C x; the ghosts of `x` are filled on the way. **Collective**."""
        self.exchange.forward(x)
        self.team.run(lambda p: self._local(p, x[p], out[p]), self.n_partitions)
        self.exchange.reverse_add(out)
        self.blank(out)

    def right_hand_side(self, responses: Sequence[Floats] | None = None, out: Vectors | None = None) -> Vectors:
        """Return W' R^-1 y, in `out` if given, its ghosts zero. **Collective**.

        y is that of the design, or `responses` by trait, missing where it is.
        """
        out = self.zeros() if out is None else out
        y = self.design.responses if responses is None else responses

        def add(p: int) -> None:
            out[p][:] = 0.0
            records = self.partitions[p].records
            for start in range(0, len(records.pattern), CHUNK):
                part = records.part(start, start + CHUNK)
                responses = np.column_stack([trait[part.start : part.stop] for trait in y])
                record_kernels.right_hand_side(part, self.terms, self.residual, responses, out[p])

        self.team.run(add, self.n_partitions)
        self.exchange.reverse_add(out)
        self.blank(out)
        for part, n in zip(out, self.n_owned, strict=True):
            part[n:] = 0.0
        return out

    def blank(self, y: Vectors) -> None:
        """Set the equations that are left out to zero."""

        def clear(p: int) -> None:
            vector_kernels.blank(self.partitions[p].blank, y[p])

        if any(len(p.blank) for p in self.partitions):
            self.team.run(clear, self.n_partitions)

    def to_levels(self, x: Vectors) -> list[Floats]:
        """Return the values of `x` as one array (n_levels, width) per group."""
        arrays = [np.zeros((g.n_levels, g.width)) for g in self.design.groups]
        for partition, local in zip(self.partitions, x, strict=True):
            for group, array in zip(partition.layout.groups, arrays, strict=True):
                array[group.owned_levels()] = local[group.elements].reshape(-1, group.width)
        return arrays

    def from_levels(self, arrays: Sequence[Floats]) -> Vectors:
        """Return the vector that holds one array (n_levels, width) per group; equations left out become zero."""
        x = self.zeros()
        for partition, local in zip(self.partitions, x, strict=True):
            for group, array in zip(partition.layout.groups, arrays, strict=True):
                local[group.elements] = array[group.owned_levels()].ravel()
        self.blank(x)
        return x

    def _local(self, p: int, x: Floats, y: Floats) -> None:
        """Set `y` to what partition `p` contributes to C x."""
        y[:] = 0.0
        partition = self.partitions[p]
        self._records(p, self._all, self._all, x, y, self.residual)
        for g, local in enumerate(partition.layout.groups):
            if self.sigma_inverse[g] is None or not local.n_owned:
                continue
            if (own := partition.sigmas[g]) is None:
                self._gamma(partition, g, x, y)
            else:
                inside = np.zeros_like(y)
                self._gamma(partition, g, own.standardised(x), inside)
                own.add_restored(inside, y)
        if (pins := partition.pins) is not None:
            y[pins.element] += pins.precision * x[pins.element]

    def couple(self, sources: Groups, targets: Groups, x: Vectors, out: Vectors) -> None:
        """Set `out` to the block of W' R^-1 W from the groups `sources` to `targets` times x. **Collective**.

        Ghosts of `x` are filled on the way; other elements of `x` have no part.
        """

        def clear(p: int) -> None:
            out[p][:] = 0.0

        self._couple(sources, targets, x, out, clear, self.residual)

    def left(self, targets: Groups, sources: Groups, r: Vectors, x: Vectors, out: Vectors) -> None:
        """Set `out` = r - K x in the groups `targets`, K the block of `couple`. **Collective**.

        Ghosts of `x` are filled on the way; other groups of `out` are left with what there was.
        """

        def copy(p: int) -> None:
            self.partitions[p].layout.copy_owned(targets, r[p], out[p])

        if sources:
            self._couple(sources, targets, x, out, copy, self.minus_residual)
        else:
            self.team.run(copy, self.n_partitions)

    def _couple(
        self,
        sources: Groups,
        targets: Groups,
        x: Vectors,
        out: Vectors,
        begin: Callable[[int], None],
        residual: Floats,
    ) -> None:
        """Add the block of W' R^-1 W times x to `out` once begin(p) has set that of a partition. **Collective**."""
        gathered, scattered = (self._terms_of(groups) for groups in (sources, targets))
        self.exchange.forward(x)

        def part(p: int) -> None:
            begin(p)
            self._records(p, gathered, scattered, x[p], out[p], residual)

        self.team.run(part, self.n_partitions)
        self.exchange.reverse_add(out)
        self.blank(out)

    def lists_of(self, groups: Groups) -> TermLists:
        """Return the terms of some groups, for products of vectors side by side; they are kept."""
        if groups not in self._lists_by_groups:
            self._lists_by_groups[groups] = self.design.term_lists(groups)
        return self._lists_by_groups[groups]

    def _terms_of(self, groups: Groups) -> Terms:
        if groups not in self._terms_by_groups:
            bundles = None if self._all.bundles is None else self.design.bundles(groups)
            self._terms_by_groups[groups] = Terms(bundles, self.design.spans(groups, self._steady))
        return self._terms_by_groups[groups]

    def _records(self, p: int, gathered: Terms, scattered: Terms, x: Floats, y: Floats, residual: Floats) -> None:
        """Add W_2' R^-1 W_1 x of partition `p` to `y`; W_1 has the terms in `gathered`, W_2 those in `scattered`."""
        records, n_traits, least = self.partitions[p].records, self.design.n_traits, 1
        if gathered.bundles is not None and scattered.bundles is not None:
            zero = (0.0,) * n_traits
            record_kernels.bundle_product(zero, records, gathered.bundles, scattered.bundles, residual, x, y)
            return
        spans = gathered.spans, scattered.spans
        if self.runs is not None:
            zero, least = (0.0,) * records.coefficients.shape[1], 2
            span_kernels.run_product(zero, n_traits, self.runs[p], records, *spans, residual, x, y)
        if least <= self._most:
            span_kernels.span_product(least, n_traits, records, *spans, residual, x, y)

    def _gamma(self, partition: Partition, g: int, x: Floats, y: Floats) -> None:
        """Add (Gamma^-1 (x) Sigma^-1) x of random group `g` to `y`."""
        local = partition.layout.groups[g]
        inverse = self.sigma_inverse[g]
        assert inverse is not None
        relationship = partition.relationship[g]
        width, first = local.width, local.first_owned
        unrolled = width <= UNROLLED
        zero = (0.0,) * width
        flat = tuple(inverse.ravel().tolist())
        if isinstance(relationship, LocalPedigree):
            own = (relationship.sire, relationship.dam, relationship.precision)
            if unrolled:
                kernels.pedigree_product(zero, first, 0, local.n_owned, *own, flat, x, y)
            else:
                kernels.pedigree_product_wide(products_of(width), width, first, 0, local.n_owned, *own, inverse, x, y)
            if (m := relationship.loadings) is not None:
                loadings_product(width, m.own, m.indptr, m.parent, m.weight, m.precision, inverse, x, y)
        elif isinstance(relationship, LocalMatrix):
            k = relationship
            kernels.matrix_product(width, first, k.indptr, k.columns, k.values, inverse, x, y)
        elif unrolled:
            kernels.identity_product(zero, first, local.n_owned, flat, x, y)
        else:
            kernels.identity_product_wide(products_of(width), width, first, local.n_owned, inverse, x, y)


def _steady_slots(design: Design) -> frozenset[int]:
    """Return the slots whose level stays from one record to the next, mostly; none if runs of records are short."""
    n = min(design.n_records, SAMPLE)
    stays = [slot.codes[1:n] == slot.codes[: n - 1] for slot in design.slots]
    steady = frozenset(s for s, same in enumerate(stays) if len(same) and np.mean(same) >= STAYS)
    if not steady:
        return steady
    runs = np.logical_and.reduce([stays[s] for s in steady]) & (
        np.diff(design.patterns.codes[:n].astype(np.int64)) == 0
    )
    return steady if np.mean(runs) >= STAYS else frozenset()


def _spans_are_cheaper(bundles: Bundles, spans: Spans, patterns: Patterns) -> bool:
    """Return whether the records need fewer steps when only terms of observed traits are taken, span by span."""
    steps = np.cumsum(np.append(0, spans.length + PER_SPAN))
    of_list = np.diff(steps[spans.first_span[spans.first_trait]])[spans.of_pattern]
    return bool(patterns.counts() @ of_list < len(patterns.codes) * bundles.position.size)


def build_operator(design: Design, data: ModelData, team: Team, n_partitions: int | None = None) -> Operator:
    """Return the operator of a design on all data in one process; one partition per thread unless told otherwise."""
    n = team.n_threads if n_partitions is None else n_partitions
    cuts = cut(design, n)
    uses = team.run(lambda p: level_uses(design, data, cuts.piece(p)), n)
    owner = [
        None if cuts.levels[g] is not None else owners(group.n_levels, [uses[p][g].used for p in range(n)])
        for g, group in enumerate(design.groups)
    ]

    def owners_of_used(p: int) -> list[NDArray[np.int32] | None]:
        return [None if of is None else of[use.used] for of, use in zip(owner, uses[p], strict=True)]

    layouts = [lay_out(p, uses[p], owners_of_used(p)) for p in range(n)]
    partitions = team.run(lambda p: build_partition(design, data, cuts.piece(p), layouts[p]), n)
    return Operator(design, partitions, SharedMemoryExchange(links(layouts, owner), n, team), team)
