"""From the options of the command line to simulated files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate


def simulate_from_options(
    out: Path,
    *,
    traits: int,
    records: int | None,
    file_format: str,
    integer_ids: bool,
    progress: Callable[[str, int, int], None] | None,
    **options: Any,
) -> None:
    """Write pedigree, records, truth and `model.toml` into `out`; `options` are those of `SimulationConfig`."""
    config = SimulationConfig(
        traits=tuple(f"y{k + 1}" for k in range(traits)),
        records=0.6 if records is None else records,
        format=file_format,  # type: ignore[arg-type]
        ids="integer" if integer_ids else "text",
        **options,
    )
    simulate(config, out, progress)
