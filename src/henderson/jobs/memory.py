"""Whether a solve fits into the memory that is there, before it begins."""

from __future__ import annotations

import logging

from henderson.equations.memory import counts_of, estimate
from henderson.errors import ResourceError
from henderson.language.spec import ModelSpec
from henderson.results.stages import available_bytes
from henderson.store.model_data import ModelData

log = logging.getLogger(__name__)

WORTH_A_LINE = 64 << 20
ALREADY_THERE = ("records", "individuals")


def check_memory(spec: ModelSpec, data: ModelData) -> None:
    """Log what the solve will take; raise `ResourceError` with the table if that is more than there is."""
    items = [i for i in estimate(spec, counts_of(data)) if i.what not in ALREADY_THERE]
    total, available = sum(i.bytes for i in items), available_bytes()
    if total >= WORTH_A_LINE:
        log.info("the equations take about %.2f GiB of the %.2f GiB there are", total / 2**30, available / 2**30)
    if total > available:
        table = "\n".join(f"  {i.what}: {i.bytes / 2**30:.2f} GiB" for i in items)
        raise ResourceError(
            f"the equations take about {total / 2**30:.1f} GiB, {available / 2**30:.1f} GiB are there; use a machine "
            f"with more memory, or fewer traits at a time:\n{table}"
        )
