"""From the options of the command line to simulated files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from henderson.errors import UsageError
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig


def simulate_from_options(
    out: Path,
    *,
    traits: int,
    records: int | None,
    file_format: str,
    integer_ids: bool,
    scale: float | None,
    progress: Callable[[str, int, int], None] | None,
    **options: Any,
) -> None:
    """Write pedigree, records, truth and `model.toml` into `out`; `options` are those of `SimulationConfig`."""
    if scale is not None:
        raise UsageError("--scale belongs to `henderson simulate testday`; here the sizes are options")
    config = SimulationConfig(
        traits=tuple(f"y{k + 1}" for k in range(traits)),
        records=0.6 if records is None else records,
        format=file_format,  # type: ignore[arg-type]
        ids="integer" if integer_ids else "text",
        **options,
    )
    simulate(config, out, progress)


def simulate_testday_from_options(
    out: Path,
    *,
    scale: float | None,
    seed: int,
    file_format: str,
    progress: Callable[[str, int, int], None] | None,
    **_: Any,
) -> None:
    """Write pedigree, test days, true breeding values and `model.toml` into `out`."""
    config = TestDayConfig(scale=0.001 if scale is None else scale, seed=seed, format=file_format)  # type: ignore[arg-type]
    simulate_testday(config, out, progress)
