"""Which random numbers a run has drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from henderson.language.spec import JobSpec

DEFAULT_SEED = 1  # of `reml.result.Sampling` and `accuracy.pev_samples`


def seeds(done: Iterable[tuple[JobSpec, Mapping[str, Any]]]) -> dict[str, int]:
    """Return the seeds of the jobs that have drawn random numbers; given their entries in `run.json`."""
    found = {}
    for job, entry in done:
        if entry.get("method") == "sampling" or str(entry.get("algorithm", "")).startswith("mc-"):
            seed = job.get("seed")
            found[job.name] = seed if isinstance(seed, int) else DEFAULT_SEED
    return found
