"""`run.json`: what was run on which inputs, how long it took and how it ended."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import henderson
from henderson.language.spec import ModelSpec
from henderson.results.circumstances import machine, versions
from henderson.results.files import write_json
from henderson.results.manifest import file_sha256
from henderson.results.stages import Stage

Json = dict[str, Any]


def describe_inputs(paths: Iterable[Path]) -> list[Json]:
    """Return path, bytes and sha256 of every input file. Cost: one read of each."""
    inputs = []
    for path in paths:
        inputs.append({"path": str(path), "bytes": path.stat().st_size, "sha256": file_sha256(path)})
    return inputs


def effective_config(spec: ModelSpec, settings: Json) -> Json:
    """Return the model as it was understood, defaults included, and the settings of the run."""
    config = {f.name: plain(getattr(spec, f.name)) for f in dataclasses.fields(spec) if f.name != "source"}
    return {"model": config, **plain(settings)}


@dataclasses.dataclass(frozen=True)
class How:
    """How a run was done: what it takes to do it again.

    command: the directory it was started in, the parameter file and the settings; threads: of each rank; nodes: their
    names, none for this one; seeds: by the name of the job that draws random numbers.
    """

    command: Json
    engine: str
    ranks: int
    threads: int
    nodes: Sequence[str] = ()
    seeds: Mapping[str, int] = dataclasses.field(default_factory=dict)


def write_run_record(
    out: Path, how: How, *, inputs: list[Json], config: Json, stages: Sequence[Stage], jobs: list[Json]
) -> Json:
    """Return the content of `run.json`, which is written whole. `seed` is that of the first job that has one."""
    record = {
        "version": henderson.__version__,
        "command": plain(how.command),
        "inputs": inputs,
        "config": config,
        "engine": how.engine,
        "ranks": how.ranks,
        "threads": how.threads,
        "seed": next(iter(how.seeds.values()), None),
        "seeds": dict(how.seeds),
        "versions": versions(parallel=how.engine == "petsc"),
        "machine": machine(how.nodes),
        "stages": [dataclasses.asdict(s) for s in stages],
        "jobs": plain(jobs),
    }
    write_json(out / "run.json", record)
    return record


def plain(value: Any) -> Any:
    """Return dataclasses, tuples, paths and NumPy numbers as what JSON has; numbers that are not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
