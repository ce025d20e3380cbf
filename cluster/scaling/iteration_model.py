"""How long an iteration takes, from bytes, gathers, messages and reductions; and from it a table to many ranks.

    python cluster/scaling/iteration_model.py MEASURED.json [--animals 100000000] [--latency 2e-6] [--network 1.25e9]

MEASURED.json holds lines of `mpi_iteration.py`, of one rank and of two. The model: an iteration computes on `records`
and `individuals` (seconds each, measured on some thousands that stay in the cache), streams `bytes`, reaches for
`gathers` blocks that are too far away to be in a cache, sends `messages` with `sent` bytes, and sums `reductions` times
over all ranks:

    seconds = records * record + individuals * individual + bytes / stream + gathers * gather
              + messages * latency + sent / network + reductions * reduction
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from henderson.equations.distributed import Share

CACHED = 1 << 20  # bytes: blocks nearer than this to the last one are found in a cache
VECTOR_PASSES = {"cg": 13, "groppcg": 19, "pipecg": 30}  # vectors read or written by PETSc in one iteration
COPIES = 5  # x into the local vector and y out of it, and the zeros


@dataclass(frozen=True)
class Machine:
    """Constants: seconds, but for stream and network in bytes/s.

    record, individual: computing in the cache; stream: a triad; gather: a block from anywhere in a vector; reduction: a
    sum over the ranks; latency: of a message.
    """

    record: float
    individual: float
    stream: float
    gather: float
    reduction: float
    latency: float
    network: float


@dataclass(frozen=True)
class Counts:
    """Of one rank and iteration."""

    records: float
    individuals: float
    bytes: float
    gathers: float
    messages: float
    sent: float
    reductions: float


@dataclass(frozen=True)
class Seconds:
    """The parts of an iteration."""

    compute: float
    stream: float
    gathers: float
    messages: float
    reductions: float

    @property
    def total(self) -> float:
        """Return their sum."""
        return self.compute + self.stream + self.gathers + self.messages + self.reductions


def count(share: Share, messages: int, sent: int, reductions: float, method: str) -> Counts:
    """What an iteration of a share reads, writes and sends."""
    partition, layout = share.partition, share.partition.layout
    records = partition.records
    n_records, n_slots = records.slots.shape
    per_record = 4 * n_slots + 2 + 8 * records.coefficients.shape[1] + (8 if records.weights is not None else 0)
    n_bytes = float(n_records * per_record)
    gathers = 0.0
    for s in range(n_slots):
        offsets = records.slots[:, s].astype(np.int64)
        far = np.abs(np.diff(offsets)) * 8 > CACHED
        small = len(np.unique(offsets[:100_000])) < len(offsets[:100_000]) / 20  # a class of few levels stays cached
        gathers += 0.0 if small else 2.0 * float(far.sum())
    for g, local in enumerate(layout.groups):
        relationship = partition.relationship[g]
        elements = local.n_owned * local.width
        if share.design.groups[g].covariance is not None:
            n_bytes += 3 * 8 * elements  # x, and y read and written
        n_bytes += 8 * local.n_owned * local.width * (local.width + 1) / 2  # the preconditioner's blocks
        if relationship is not None and hasattr(relationship, "sire"):
            n_bytes += 16 * local.n_owned
            own = local.first_owned + np.arange(local.n_owned, dtype=np.int64) * local.width
            for parent in (relationship.sire, relationship.dam):
                far = np.abs(own - parent.astype(np.int64)) * 8 > CACHED
                gathers += 2.0 * float((far & (parent != layout.null)).sum())  # x read, y updated
        elif relationship is not None:
            n_bytes += 12 * len(relationship.values)
    passes = VECTOR_PASSES.get(method, 13) + COPIES
    n_bytes += 8 * passes * layout.n_owned
    individuals = sum(g.n_owned for g in layout.groups[: len(partition.relationship)] if g.owned is None)
    return Counts(n_records, individuals, n_bytes, gathers, messages, sent, reductions)


def predict(counts: Counts, machine: Machine) -> Seconds:
    """The seconds of an iteration."""
    return Seconds(
        counts.records * machine.record + counts.individuals * machine.individual,
        counts.bytes / machine.stream,
        counts.gathers * machine.gather,
        counts.messages * machine.latency + counts.sent / machine.network,
        counts.reductions * machine.reduction,
    )


def at_scale(one: Counts, two: Counts, scale: float, ghosts: float, width: int, ranks: int) -> Counts:
    """The counts of one of `ranks` ranks, from those of a rank alone and of one of two.

    Work goes with the animals of a rank, `scale` times those of the rank alone. Each of `ghosts` animals that live
    elsewhere is received and its contributions are sent back, and as much goes the other way; sires are used
    everywhere, so that a rank has nearly all others as neighbours, but no more than it has ghosts.
    """
    alone = ranks == 1
    return Counts(
        one.records * scale,
        one.individuals * scale,
        one.bytes * scale,
        one.gathers * scale,
        0.0 if alone else 2.0 * min(ranks - 1, ghosts),
        0.0 if alone else 2.0 * ghosts * width * 8.0,
        0.0 if alone else two.reductions,
    )


def main() -> None:
    """Print measured beside predicted, and the table to many ranks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--animals", type=float, default=1e8)
    parser.add_argument("--measured-animals", type=float, default=1e6)
    parser.add_argument("--ghosts", type=float, default=16.5, help="ghosts are this times sqrt(animals of a rank)")
    parser.add_argument("--width", type=int, default=3, help="traits")
    parser.add_argument("--latency", type=float, default=2e-6, help="seconds a message takes, of the cluster's network")
    parser.add_argument("--network", type=float, default=1.25e9, help="bytes/s a rank has of the network")
    parser.add_argument("--stream", type=float, help="bytes/s a rank has of its node's memory; as measured if left out")
    arguments = parser.parse_args()
    runs = [json.loads(line) for line in arguments.measured.read_text(encoding="utf-8").splitlines() if line.strip()]
    by_ranks = {run["ranks"]: run for run in runs if run["method"] == "cg"}
    print("| ranks | measured, s | predicted, s | difference |\n|---|---|---|---|")
    for ranks, run in sorted(by_ranks.items()):
        off = run["predicted"] / run["quartile"] - 1.0
        print(f"| {ranks} | {run['quartile']:.4f} | {run['predicted']:.4f} | {off:+.0%} |")
    one, two = (Counts(**by_ranks[k]["counts"]) for k in (1, 2))
    here = Machine(**by_ranks[2]["machine"])  # with all cores busy
    print(f"\n{arguments.animals:.3g} animals:\n")
    print("| ranks | s/iteration | compute and memory | messages | reductions | sent | MB | efficiency |")
    print("|---|---|---|---|---|---|---|---|")
    alone = None
    for ranks in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
        # a reduction over many ranks: a tree of messages
        steps = math.ceil(math.log2(ranks)) if ranks > 1 else 0
        cluster = replace(here, latency=arguments.latency, network=arguments.network)
        cluster = replace(cluster, stream=arguments.stream or here.stream)
        cluster = replace(cluster, reduction=2.0 * steps * arguments.latency)
        share = arguments.animals / ranks
        ghosts = min(arguments.ghosts * math.sqrt(share), arguments.animals - share)
        counts = at_scale(one, two, share / arguments.measured_animals, ghosts, arguments.width, ranks)
        parts = predict(counts, cluster)
        alone = alone or parts.total
        local = parts.compute + parts.stream + parts.gathers
        print(
            f"| {ranks} | {parts.total:.4f} | {local:.4f} | {parts.messages:.5f} | {parts.reductions:.6f} | "
            f"{counts.messages:.0f} | {counts.sent / 1e6:.2f} | {alone / ranks / parts.total:.0%} |"
        )


if __name__ == "__main__":
    main()
