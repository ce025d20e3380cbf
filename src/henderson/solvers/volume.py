"""What a solve over several processes has sent, and where its time went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from henderson.equations.distributed import Halo
from henderson.partitions.communicator import Communicator


@dataclass(frozen=True)
class CommunicationVolume:
    """Per rank and iteration what is sent (as much is received), and seconds of the solve on the slowest rank.

    messages, bytes: mean and largest over the ranks, of one product: ghosts out to those that read them, contributions
    back to their owners; reductions: sums over all ranks in one iteration. product_seconds includes exchange_seconds;
    the rest of solve_seconds are vector operations, reductions and waiting for other ranks.
    """

    ranks: int
    messages_mean: float
    messages_max: int
    bytes_mean: float
    bytes_max: int
    reductions: float
    ghosts_max: int
    product_seconds: float
    exchange_seconds: float
    preconditioner_seconds: float
    solve_seconds: float

    def as_record(self) -> dict[str, Any]:
        """Return the numbers by name, for `run.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Seconds:
    """Seconds of one rank."""

    product: float
    exchange: float
    preconditioner: float
    solve: float


def volume_of(halo: Halo, communicator: Communicator, reductions: float, seconds: Seconds) -> CommunicationVolume:
    """Return the volume of a solve. **Collective**."""
    read = np.bincount(halo.owner, minlength=communicator.size)  # ghosts here by owner
    asked = np.concatenate(communicator.all_to_all([read[k : k + 1] for k in range(communicator.size)]))
    messages = int((read > 0).sum() + (asked > 0).sum())  # contributions back, and owned elements out
    n_bytes = 8 * int(read.sum() + asked.sum())
    mine = (
        messages,
        n_bytes,
        len(halo.ghosts),
        seconds.product,
        seconds.exchange,
        seconds.preconditioner,
        seconds.solve,
    )
    table = np.array(communicator.gather_all(mine), np.float64)
    mean, largest = table.mean(axis=0), table.max(axis=0)
    return CommunicationVolume(
        communicator.size,
        float(mean[0]),
        int(largest[0]),
        float(mean[1]),
        int(largest[1]),
        reductions,
        int(largest[2]),
        *(float(s) for s in largest[3:]),
    )
