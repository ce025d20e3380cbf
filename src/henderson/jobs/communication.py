"""What processes send each other in a round, and how long that and their own work take: reckoned, not measured.

The model is that of cluster/scaling/iteration_model.py, whose constants were measured on one host.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from henderson.equations.memory import Counts
from henderson.language.spec import JobSpec

GHOSTS = 17.0  # individuals that a rank reads of others: this times the square root of those it has
LATENCY = 2e-6  # seconds of a message
NETWORK = 1.25e9  # bytes a second that a rank has of the network
SUMS = 4  # over all ranks, in a round: three of the iteration, one of the small groups
TURNS = 7  # of the sweep, in each of which ghosts are exchanged, forward and back
MORE_PASSES = 9  # vectors that the iteration of PETSc reads or writes beyond those of the embedded engine
STREAM = 1 << 22  # elements


@dataclass(frozen=True)
class Traffic:
    """Of a rank in a round: messages, bytes, and the seconds of both with the sums over all ranks."""

    messages: float
    bytes: float
    seconds: float


def traffic(counts: Counts, equations: int, n_ranks: int, job: JobSpec) -> Traffic:
    """Return what one of `n_ranks` sends in a round.

    Sires have progeny everywhere: a rank has nearly all others as neighbours, though no more than it has ghosts.
    """
    individuals = max(1, *counts.n_individuals.values(), 1)
    own = individuals / n_ranks
    ghosts = min(GHOSTS * math.sqrt(own), individuals - own)
    exchanges = 2.0 * (1 + (TURNS if job.get("preconditioner") == "sweep" else 0))
    messages = exchanges * min(n_ranks - 1, ghosts)
    sent = exchanges * ghosts * 8.0 * equations / individuals
    sums = SUMS * 2.0 * math.ceil(math.log2(n_ranks)) * LATENCY
    return Traffic(messages, sent, messages * LATENCY + sent / NETWORK + sums)


def seconds_of_a_round(alone: float, equations: int, n_ranks: int, talk: Traffic | None, stream: float) -> float:
    """Return the seconds of a round on `n_ranks`, from those `alone` in one process with one thread."""
    if talk is None:
        return alone
    return alone / n_ranks + MORE_PASSES * 8.0 * equations / n_ranks / stream + talk.seconds


def stream_rate() -> float:
    """Return the bytes a second that one thread reads and writes here, the best of three."""
    a, b = np.ones(STREAM), np.ones(STREAM)
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        np.add(a, 1.0, out=b)
        best = min(best, time.perf_counter() - start)
    return 3 * 8 * STREAM / best  # b is read before it is written
