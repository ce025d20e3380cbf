"""Whether a solve fits into the memory that is there, before it begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from henderson.equations.memory import (
    MemoryItem,
    counts_of,
    counts_of_store,
    estimate,
    estimate_embedded,
    estimate_per_rank,
)
from henderson.errors import ResourceError
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import Communicator
from henderson.results.stages import available_bytes
from henderson.store.model_data import ModelData

log = logging.getLogger(__name__)

WORTH_A_LINE = 64 << 20
ALREADY_THERE = ("records", "individuals")
MOST_NODES = 4096


def check_memory(spec: ModelSpec, data: ModelData, limit: int | None = None) -> None:
    """Log what the jobs will take, what was read included; raise `ResourceError` if that is more than there is.

    limit: bytes that may be taken beside what was read, if that is less.
    """
    counts = counts_of(data)
    items = estimate_embedded(spec, counts)
    read = sum(i.bytes for i in estimate(spec, counts) if i.what in ALREADY_THERE)
    total, available = _total(items), bytes_within(limit) + read
    if total >= WORTH_A_LINE:
        log.info("the equations take about %.2f GiB of the %.2f GiB there are", total / 2**30, available / 2**30)
    if total > available:
        raise ResourceError(
            f"the equations take about {size_text(total)}, {size_text(available)} are there; use a machine "
            f"with more memory, or fewer traits at a time:\n{_table(items)}"
        )


def check_memory_together(
    spec: ModelSpec, store: Path, communicator: Communicator, on_this_node: Sequence[int], limit: int | None = None
) -> int:
    """Return the bytes that a rank may take. **Collective**; the same on all ranks.

    on_this_node: the ranks that share this rank's memory; limit: bytes that a node may give, if that is less than there
    are. Raises `ResourceError` if the ranks of a node take more together than it has; nothing is read before.
    """
    counts = counts_of_store(store)
    items = estimate_per_rank(spec, counts, communicator.size)
    total = _total(items)
    nodes = communicator.gather_all((on_this_node[0], len(on_this_node), bytes_within(limit)))
    if communicator.rank == 0 and total >= WORTH_A_LINE:
        log.info("each of %d ranks takes about %.2f GiB", communicator.size, total / 2**30)
    # the node that lacks most; the ranks on a node may have looked at different moments
    _, n_here, available = min(nodes, key=lambda node: node[2] - total * node[1])
    if total * n_here <= available:
        return available // n_here

    def fits(nodes: int) -> bool:
        return _total(estimate_per_rank(spec, counts, nodes * n_here)) * n_here <= available

    enough = next(filter(fits, range(2, MOST_NODES + 1)), None)
    remedy = f"use {enough} such nodes with {n_here} ranks each" if enough else "use nodes with more memory"
    if n_here > 1:
        remedy += ", or fewer ranks on a node"
    raise ResourceError(
        f"each of {communicator.size} ranks takes about {size_text(total)}, {n_here} on one node "
        f"{size_text(total * n_here)}; {size_text(available)} are there; {remedy}. A rank takes:\n{_table(items)}"
    )


def bytes_within(limit: int | None) -> int:
    """Return the bytes that this process may take: those there are, `limit` at most."""
    return available_bytes() if limit is None else min(available_bytes(), limit)


def size_text(n: int) -> str:
    """Return a number of bytes as messages have it."""
    return f"{n / 2**30:.2f} GiB" if n >= 2**29 else f"{n / 2**20:.1f} MiB"


def _total(items: Sequence[MemoryItem]) -> int:
    return sum(item.bytes for item in items)


def _table(items: Sequence[MemoryItem]) -> str:
    return "\n".join(f"  {item.what}: {size_text(item.bytes)}" for item in items)
