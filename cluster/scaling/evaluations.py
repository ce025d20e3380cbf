"""Simulated evaluations that scripts measure, made once in a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_evaluation(folder: Path, *options: str) -> None:
    """Simulate data as the options of `henderson simulate` say, and ingest them, if their store is not there."""
    model, store = folder / "model.toml", folder / "store.zarr"
    if store.exists():
        return
    simulate = ["henderson", "simulate", *options, "--format", "parquet", "--out", str(folder)]
    subprocess.run(simulate, check=True, capture_output=True)
    subprocess.run(["henderson", "ingest", str(model), "--store", str(store), "--quiet"], check=True)
