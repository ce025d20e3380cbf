"""Which levels a partition owns, which it only reads (ghosts), and where each lies in its local vectors.

Every group of equations is a table of levels by positions. Its levels are cut either into contiguous ranges
(individuals of a pedigree or matrix) or by first use in the records (classes). Local vectors hold the owned blocks
group by group, then the ghost blocks group by group, then one null block as wide as the widest group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from henderson.kernels import level_table
from henderson.kernels import vectors as kernels
from henderson.kernels.hashing import table_size
from henderson.partitions import scratch
from henderson.partitions.exchange import Link

Codes = NDArray[np.int32]
FEW = 8  # levels for each code above which tables are over the codes


@dataclass(frozen=True)
class GroupLayout:
    """The blocks of one group in one partition.

    owned: global levels in local order, or None if they are the range start..stop; ghosts: global levels, ascending;
    first_owned, first_ghost: the element where each part begins.
    """

    n_levels: int
    width: int
    start: int
    stop: int
    owned: Codes | None
    ghosts: Codes
    first_owned: int
    first_ghost: int

    @property
    def n_owned(self) -> int:
        """Return the number of owned levels."""
        return self.stop - self.start if self.owned is None else len(self.owned)

    @property
    def elements(self) -> slice:
        """Return where the owned levels lie in a local vector."""
        return slice(self.first_owned, self.first_owned + self.n_owned * self.width)

    @property
    def ghost_elements(self) -> slice:
        """Return where the ghosts lie in a local vector."""
        return slice(self.first_ghost, self.first_ghost + len(self.ghosts) * self.width)

    def owned_levels(self) -> Codes:
        """Return the global levels in local order."""
        return np.arange(self.start, self.stop, dtype=np.int32) if self.owned is None else self.owned

    def offsets(self, codes: Codes, null: int) -> NDArray[np.uint32]:
        """Return the local element of each level of `codes`, `null` for negative ones. Cost: log2(ghosts) per ghost."""
        out = np.empty(codes.shape, np.uint32)
        if self.owned is None:
            kernels.offsets_by_range(
                codes,
                self.start,
                self.stop,
                self.first_owned,
                self.ghosts,
                self.first_ghost,
                self.width,
                np.uint32(null),
                out,
            )
            return out
        own = self.first_owned + np.arange(len(self.owned)) * self.width
        theirs = self.first_ghost + np.arange(len(self.ghosts)) * self.width
        if _few(codes.size, self.n_levels):
            levels = np.concatenate([self.owned, self.ghosts])
            slots = np.zeros(table_size(len(levels)), np.int32)
            level_table.first_use(levels, slots, np.empty_like(levels), 0)
            elements = np.concatenate([own, theirs]).astype(np.uint32)
            level_table.offsets(codes, slots, levels, elements, np.uint32(null), out)
            return out
        table = np.full(self.n_levels, null, np.uint32)
        table[self.owned] = own
        table[self.ghosts] = theirs
        kernels.offsets_by_table(codes, table, np.uint32(null), out)
        return out


@dataclass(frozen=True)
class Layout:
    """The local vectors of one partition: `groups` in order, sizes in elements."""

    groups: tuple[GroupLayout, ...]
    n_owned: int
    n_ghosts: int
    null_width: int

    @property
    def null(self) -> int:
        """Return the element where the null block begins."""
        return self.n_owned + self.n_ghosts

    @property
    def n_local(self) -> int:
        """Return the length of a local vector."""
        return self.null + self.null_width

    def zeros(self) -> NDArray[np.float64]:
        """Return a local vector of zeros."""
        return scratch.zeros(self.n_local)

    def copy_owned(self, groups: Iterable[int], source: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Set the owned elements of some groups in `out` to those of `source`, ghosts and the null block to zero.

        Both may be several local vectors side by side; other elements of `out` stay.
        """
        for g in groups:
            own = self.groups[g].elements
            out[own] = source[own]
        out[self.n_owned :] = 0.0


@dataclass(frozen=True)
class GroupUse:
    """What one partition uses of one group.

    used: levels in order of first use; of a group cut into ranges, the levels outside `bounds` that it reads;
    bounds: its range start..stop, or None if the group is cut by first use.
    """

    n_levels: int
    width: int
    used: Codes
    bounds: tuple[int, int] | None


def first_use(n_levels: int, codes: Sequence[Codes]) -> Codes:
    """Return the levels that occur in `codes` (negative ones skipped) in order of first use.

    Memory: five bytes a level, or, where they are many more than the codes, some ten bytes a code.
    """
    n_codes = sum(each.size for each in codes)
    n_used = 0
    if _few(n_codes, n_levels):
        slots, order = np.zeros(table_size(n_codes), np.int32), np.empty(n_codes, np.int32)
        for each in codes:
            n_used = level_table.first_use(each, slots, order, n_used)
        return order[:n_used].copy()
    seen = np.zeros(n_levels, np.bool_)
    order = np.empty(n_levels, np.int32)
    for each in codes:
        n_used = kernels.first_use(each, seen, order, n_used)
    return order[:n_used].copy()


def _few(n_codes: int, n_levels: int) -> bool:
    """Return whether a table over all levels would be much larger than one over those that `n_codes` codes can use."""
    return n_levels > FEW * (n_codes + 1)


def outside(codes: Sequence[Codes], start: int, stop: int) -> Codes:
    """Return the levels of `codes` outside start..stop, ascending, negative ones skipped."""
    found = [np.unique(c[(c >= 0) & ((c < start) | (c >= stop))]) for c in codes]
    return np.unique(np.concatenate(found)).astype(np.int32) if found else np.empty(0, np.int32)


def owners(n_levels: int, used: Sequence[Codes]) -> NDArray[np.int32]:
    """Return the first partition that uses each level, len(used) if none does (`directory.lowest_users` of ranks)."""
    owner = np.full(n_levels, len(used), np.int32)
    for partition in range(len(used) - 1, -1, -1):
        owner[used[partition]] = partition
    return owner


def lay_out(partition: int, uses: Sequence[GroupUse], owner: Sequence[NDArray[np.int32] | None]) -> Layout:
    """Return the layout of `partition`; `owner` gives, per group cut by first use, the owner of each of `used`."""
    widths = [use.width for use in uses]
    owned: list[Codes | None] = []
    ghosts: list[Codes] = []
    counts: list[int] = []
    for use, of in zip(uses, owner, strict=True):
        if use.bounds is not None:
            owned.append(None)
            ghosts.append(outside([use.used], *use.bounds))
            counts.append(use.bounds[1] - use.bounds[0])
            continue
        assert of is not None
        mine = of == partition
        owned.append(use.used[mine])
        ghosts.append(np.sort(use.used[~mine]))
        counts.append(int(mine.sum()))
    n_owned = sum(n * w for n, w in zip(counts, widths, strict=True))
    n_ghosts = sum(len(g) * w for g, w in zip(ghosts, widths, strict=True))
    groups = []
    own = 0
    ghost = n_owned
    for use, mine_, theirs, n in zip(uses, owned, ghosts, counts, strict=True):
        start, stop = use.bounds or (0, 0)
        groups.append(GroupLayout(use.n_levels, use.width, start, stop, mine_, theirs, own, ghost))
        own += n * use.width
        ghost += len(theirs) * use.width
    return Layout(tuple(groups), n_owned, n_ghosts, max(widths, default=1))


def links(layouts: Sequence[Layout], owner: Sequence[NDArray[np.int32] | None]) -> list[Link]:
    """Return the links between the partitions of one process: which owned element is which ghost."""
    pairs: dict[tuple[int, int], list[tuple[NDArray[np.uint32], NDArray[np.uint32]]]] = {}
    for user, layout in enumerate(layouts):
        for g, group in enumerate(layout.groups):
            if not len(group.ghosts):
                continue
            of = owner[g]
            stops = np.array([other.groups[g].stop for other in layouts])
            by = np.searchsorted(stops, group.ghosts, side="right") if of is None else of[group.ghosts]
            local = group.first_ghost + np.arange(len(group.ghosts)) * group.width
            for p in np.unique(by).tolist():
                at = by == p
                theirs = layouts[p].groups[g].offsets(group.ghosts[at], layouts[p].null)
                steps = np.arange(group.width, dtype=np.uint32)
                pairs.setdefault((p, user), []).append(
                    (
                        (theirs[:, None] + steps).ravel().astype(np.uint32),
                        (local[at][:, None] + steps).ravel().astype(np.uint32),
                    )
                )
    return [
        Link(p, user, np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts]))
        for (p, user), parts in pairs.items()
    ]
