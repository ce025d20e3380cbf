"""Where the state of a run's solve is kept, and of which run it is."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

from henderson.jobs.stopping import Stopping
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import Alone, Communicator
from henderson.results.run_record import effective_config
from henderson.solvers.checkpoint import Checkpointing
from henderson.store.reader import store_attributes

FOLDER = "checkpoint"


def checkpoints_of(
    spec: ModelSpec,
    store: Path,
    out: Path,
    every: float | None,
    stopping: Stopping | None,
    communicator: Communicator | None = None,
) -> Checkpointing | None:
    """Return the checkpoints of a run: `every` so many seconds, and when told to stop; None if it wants neither."""
    if every is None and stopping is None:
        return None
    flag = (stopping or Stopping()).flag
    label = run_label(spec, store)
    return Checkpointing(out / FOLDER, math.inf if every is None else every, flag, communicator or Alone(), label)


def run_label(spec: ModelSpec, store: Path) -> str:
    """Return what tells runs apart: a checksum of the model and of what the store was made of."""
    model = json.dumps(effective_config(spec, {}), sort_keys=True, default=str)
    text = f"{model}\n{store_attributes(store)['fingerprint']}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
