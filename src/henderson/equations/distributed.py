"""The equations over several processes: each reads its slice of the store and has one partition of the equations.

What a process reads and holds goes with its share of records and individuals, and with the levels that these use. Only
the columns of X are known to all: which of them are kept (one byte each) and the labels of fixed effects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.absorbed_groups import full_rank_with_groups
from henderson.equations.design import build_design
from henderson.equations.model import Design
from henderson.equations.partition import Partition, Piece, build_partition, level_uses
from henderson.equations.store_share import Bounds, share_of_store
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import Communicator
from henderson.partitions.directory import lowest_users
from henderson.partitions.layout import GroupUse, Layout, lay_out

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Halo:
    """Where the ghosts of one process are owned, and which of its own elements others read.

    n_owned: owned elements here; first_owned: global number of the first of them (elements are numbered rank by rank);
    ghosts: uint32 local elements, every ghost once; owner: int32 rank that owns each, ascending; element: int64 its
    local element there; wanted: uint32 own elements that others have as ghosts; wanted_by: int32 by which rank, in the
    order of its ghosts.
    """

    n_owned: int
    first_owned: int
    n_global: int
    ghosts: NDArray[np.uint32]
    owner: NDArray[np.int32]
    element: NDArray[np.int64]
    wanted: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    wanted_by: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def n_neighbours(self) -> int:
        """Return the number of processes that own ghosts of this one."""
        return len(np.unique(self.owner))


@dataclass(frozen=True)
class Share:
    """What one process has of the equations.

    design: with the records of this process only (slots, patterns, coefficients, responses, weights); its groups and
    `kept` are those of all.
    """

    design: Design
    partition: Partition
    halo: Halo


def take_share(spec: ModelSpec, store: Path, communicator: Communicator) -> Share:
    """Return the share of this process in the equations of `spec` on the store. **Collective**.

    Levels, columns left out and patterns are those of one process; which process owns what does not depend on chance.
    Errors in the store and the data are raised by all processes alike.
    """
    data, bounds = share_of_store(store, communicator)
    design = full_rank_with_groups(build_design(spec, data, communicator), spec, data, communicator)
    ranges = _ranges(design, bounds, communicator.rank)
    before = communicator.gather_all(design.n_records)[: communicator.rank]
    design = replace(design, first_record=sum(before))
    piece = Piece((0, design.n_records), ranges)
    uses = level_uses(design, data, piece)
    owners = [_owners(use, communicator) for use in uses]
    layout = lay_out(communicator.rank, uses, owners)
    partition = build_partition(design, data, piece, layout)
    halo = find_halo(layout, _owners_of_ghosts(design, layout, uses, owners, bounds), communicator)
    return Share(design, partition, halo)


def _ranges(design: Design, bounds: Bounds, rank: int) -> tuple[tuple[int, int] | None, ...]:
    """Return the individuals of this process per group, None if the group is cut by first use."""
    names = [g.covariance.name if g.covariance is not None else None for g in design.groups]
    return tuple(None if n is None else (bounds[n][rank], bounds[n][rank + 1]) for n in names)


def _owners(use: GroupUse, communicator: Communicator) -> Codes | None:
    """Return the owner of each level in `used`, None for a group that is cut into ranges."""
    return None if use.bounds is not None else lowest_users(use.used, use.n_levels, communicator)


def _owners_of_ghosts(
    design: Design, layout: Layout, uses: list[GroupUse], owners: list[Codes | None], bounds: Bounds
) -> list[Codes]:
    """Return the owner of each ghost of every group."""
    found = []
    for group, local, use, of in zip(design.groups, layout.groups, uses, owners, strict=True):
        if of is None:
            assert group.covariance is not None
            stops = np.asarray(bounds[group.covariance.name or ""][1:])
            found.append(np.searchsorted(stops, local.ghosts, side="right").astype(np.int32))
        else:
            order = np.argsort(use.used)
            found.append(of[order[np.searchsorted(use.used, local.ghosts, sorter=order)]])
    return found


def find_halo(layout: Layout, owners: list[Codes], communicator: Communicator) -> Halo:
    """Return where the ghosts of `layout` are; `owners` gives the owner of each per group. **Collective**.

    Every process asks the owners of its ghosts where these are: (group, level) there, their local element back.
    """
    groups = layout.groups
    number = np.concatenate([np.full(len(g.ghosts), k, np.int32) for k, g in enumerate(groups)])
    level = np.concatenate([g.ghosts for g in groups])
    local = np.concatenate([g.first_ghost + np.arange(len(g.ghosts), dtype=np.int64) * g.width for g in groups])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    number, level, local, owner = number[order], level[order], local[order], owner[order]
    cuts = np.searchsorted(owner, np.arange(1, communicator.size))
    asked = communicator.all_to_all(np.split(np.stack([number, level], axis=1), cuts))
    answers = [_elements(layout, part) for part in asked]
    element = np.concatenate(communicator.all_to_all(answers))
    width = np.array([g.width for g in groups], np.int64)
    sizes = communicator.gather_all(layout.n_owned)
    by = np.repeat(np.arange(communicator.size, dtype=np.int32), [len(part) for part in asked])
    wanted_width = width[np.concatenate(asked)[:, 0]]
    return Halo(
        layout.n_owned,
        sum(sizes[: communicator.rank]),
        sum(sizes),
        _spread(local, width[number]).astype(np.uint32),
        np.repeat(owner, width[number]),
        _spread(element, width[number]),
        _spread(np.concatenate(answers), wanted_width).astype(np.uint32),
        np.repeat(by, wanted_width),
    )


def _elements(layout: Layout, asked: Codes) -> NDArray[np.int64]:
    """Return the first local element of the levels asked for: rows of (group, level)."""
    out = np.empty(len(asked), np.int64)
    for k, group in enumerate(layout.groups):
        mine = asked[:, 0] == k
        if mine.any():
            out[mine] = group.offsets(np.ascontiguousarray(asked[mine, 1]), layout.null)
    return out


def _spread(first: NDArray[np.int64], width: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return first[k], first[k] + 1, ... first[k] + width[k] - 1 for each k, one after the other."""
    begin = np.cumsum(width) - width
    return np.repeat(first - begin, width) + np.arange(int(width.sum()))
