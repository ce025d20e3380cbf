"""The equations over several processes: each has one partition, and knows where its ghosts are owned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.equations.design import build_design
from henderson.equations.model import Design, Slot
from henderson.equations.partition import Partition, build_partition, cut, level_uses
from henderson.equations.rank import full_rank
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import Communicator
from henderson.partitions.layout import lay_out, links, owners
from henderson.store.reader import open_store


@dataclass(frozen=True)
class Halo:
    """Where the ghosts of one process are owned.

    n_owned: owned elements here; first_owned: global number of the first of them (elements are numbered rank by rank);
    ghosts: uint32 local elements, every ghost once; owner: int32 rank that owns each; element: int64 its local element
    there.
    """

    n_owned: int
    first_owned: int
    n_global: int
    ghosts: NDArray[np.uint32]
    owner: NDArray[np.int32]
    element: NDArray[np.int64]


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
    """Return the share of this process in the equations of `spec` on the store. **Collective**."""
    data = open_store(store)
    design = full_rank(build_design(spec, data))
    n, rank = communicator.size, communicator.rank
    cuts = cut(design, n)
    uses = [level_uses(design, data, cuts.piece(p)) for p in range(n)]
    owner = [
        None if cuts.levels[g] is not None else owners(group.n_levels, [uses[p][g].used for p in range(n)])
        for g, group in enumerate(design.groups)
    ]
    mine_of = [[None if o is None else o[u.used] for o, u in zip(owner, uses[p], strict=True)] for p in range(n)]
    layouts = [lay_out(p, uses[p], mine_of[p]) for p in range(n)]
    partition = build_partition(design, data, cuts.piece(rank), layouts[rank])
    mine = [link for link in links(layouts, owner) if link.user == rank]
    sizes = [layout.n_owned for layout in layouts]
    halo = Halo(
        sizes[rank],
        sum(sizes[:rank]),
        sum(sizes),
        np.concatenate([np.empty(0, np.uint32), *(link.ghosts for link in mine)]),
        np.concatenate([np.empty(0, np.int32), *(np.full(len(k.ghosts), k.owner, np.int32) for k in mine)]),
        np.concatenate([np.empty(0, np.int64), *(link.owned.astype(np.int64) for link in mine)]),
    )
    here = slice(cuts.records[rank], cuts.records[rank + 1])
    local = replace(
        design,
        slots=tuple(Slot(s.group, s.codes[here]) for s in design.slots),
        coefficients=tuple(c[here] for c in design.coefficients),
        patterns=replace(design.patterns, codes=design.patterns.codes[here]),
        responses=tuple(y[here] for y in design.responses),
        weights=None if design.weights is None else design.weights[here],
    )
    records = replace(partition.records, start=0, stop=here.stop - here.start)
    return Share(local, replace(partition, records=records), halo)
