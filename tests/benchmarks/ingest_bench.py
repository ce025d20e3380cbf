"""Rows per second, CPU seconds and peak memory of ingest, by stage, on generated CSV files with text ids.

    python tests/benchmarks/ingest_bench.py             # 3 M rows, 1 M animals
    python tests/benchmarks/ingest_bench.py --full      # 30 M rows, 10 M animals
    python tests/benchmarks/ingest_bench.py --rows 1e6 --animals 3e5 --workers 2 --folder /tmp/bench

The files are made once in the folder (default: a temporary one, removed afterwards). The ingest runs in a process of
its own, after a first small one that compiles the kernels.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from henderson.ingest.run import BLOCK_BYTES, ingest
from henderson.language.spec import (
    DataSpec,
    Equation,
    GammaSpec,
    ModelSpec,
    PedigreeSpec,
    SubFactor,
    Term,
    VarianceSpec,
)

_BLOCK_ROWS = 1 << 20
_TRAITS = ("y1", "y2", "y3")


def names(animals: np.ndarray) -> pa.Array:
    """Return text ids such as DE0012345678; -1 becomes 0, the unknown parent."""
    number = pa.array(np.maximum(animals, 0) * 7 + 1_000_003)
    text = pc.binary_join_element_wise("DE", pc.utf8_lpad(pc.cast(number, pa.string()), 10, "0"), "")
    return pc.if_else(pa.array(animals >= 0), text, "0")


def write_files(folder: Path, n_rows: int, n_animals: int, seed: int = 1) -> None:
    """Write pedigree.csv and records.csv: ten overlapping generations, three traits, one response in ten missing."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.Generator(np.random.Philox(seed))
    n_founders = max(2, n_animals // 10)
    stride = max(10, n_animals // 2_000)  # one animal in so many is a sire, as in dairy cattle
    with (folder / "pedigree.csv").open("wb") as out:
        for start in range(0, n_animals, _BLOCK_ROWS):
            row = np.arange(start, min(start + _BLOCK_ROWS, n_animals))
            back = rng.random((2, len(row))) * np.minimum(row, n_animals // 8)
            parents = np.where(row < n_founders, -1, row - 1 - back.astype(np.int64))
            parents[0] = np.where(parents[0] < 0, -1, parents[0] - parents[0] % stride)
            dams = parents[1] + (parents[1] % stride == 0)
            dams = np.where((parents[1] < 0) | (dams >= row), -1, dams)
            table = pa.table({"id": names(row), "sire": names(parents[0]), "dam": names(dams)})
            options = pa.csv.WriteOptions(include_header=start == 0, quoting_style="none")
            pa.csv.write_csv(table, out, options)
    n_herds = max(2, n_animals * 25_000 // 10_000_000)
    with (folder / "records.csv").open("wb") as out:
        for start in range(0, n_rows, _BLOCK_ROWS):
            n = min(_BLOCK_ROWS, n_rows - start)
            animal = rng.integers(0, n_animals, n)
            columns = {
                "id": names(animal),
                "herd": pa.array(1 + animal % n_herds),
                "sex": pa.array(animal % 2).cast(pa.string()),
            }
            for trait in _TRAITS:
                value = pa.array(np.round(rng.normal(30, 5, n), 2))
                text = pc.cast(value, pa.string())
                columns[trait] = pc.if_else(pa.array(rng.random(n) < 0.1), "NA", text)
            options = pa.csv.WriteOptions(include_header=start == 0, quoting_style="none")
            pa.csv.write_csv(pa.table(columns), out, options)


def model(folder: Path) -> ModelSpec:
    """Return an animal model with herd and sex for the three traits."""
    equations, subfactors = [], []
    for k, trait in enumerate(_TRAITS, 1):
        terms = (Term("herd", f"h{k}"), Term("sex", f"s{k}"), Term("id", f"u{k}"))
        equations.append(Equation(trait, terms))
        subfactors += [SubFactor(f"h{k}"), SubFactor(f"s{k}"), SubFactor(f"u{k}", "g", (k,))]
    return ModelSpec(
        DataSpec(("records.csv",)),
        tuple(equations),
        tuple(subfactors),
        (VarianceSpec("g", gamma=GammaSpec("pedigree", "ped")), VarianceSpec("res")),
        pedigrees=(PedigreeSpec("ped", "pedigree.csv"),),
        source=folder / "model.toml",
    )


def measure(folder: Path, workers: int, block_bytes: int, queue: Any) -> None:
    """Ingest the files of `folder` and put {stages, seconds, cpu, peak} into `queue`."""
    stages: dict[str, list[float]] = {}
    last = ["plan", time.perf_counter(), time.process_time()]

    def progress(stage: str, done: int, total: int) -> None:
        if stage != last[0] or done == total:
            now, cpu = time.perf_counter(), time.process_time()
            name = stage if stage == last[0] else f"{last[0]}: after" if last[0] in stages else last[0]
            entry = stages.setdefault(name, [0.0, 0.0])
            entry[0] += now - last[1]
            entry[1] += cpu - last[2]
            last[:] = [stage, now, cpu]

    store = folder / "store.zarr"
    shutil.rmtree(store, ignore_errors=True)
    shutil.rmtree(folder / "store.zarr.wip", ignore_errors=True)
    wall, cpu = time.perf_counter(), time.process_time()
    ingest(model(folder), store, workers=workers, block_bytes=block_bytes, progress=progress)
    now = time.perf_counter()
    stages["seal and publish"] = [now - last[1], time.process_time() - last[2]]
    queue.put(
        {
            "stages": stages,
            "seconds": now - wall,
            "cpu": time.process_time() - cpu,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    )


def run_apart(folder: Path, workers: int, block_bytes: int) -> dict[str, Any]:
    """Return what `measure` finds in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measure, args=(folder, workers, block_bytes, queue))
    process.start()
    result: dict[str, Any] = queue.get()
    process.join()
    return result


def main() -> None:
    """Generate, ingest, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=float, default=3e6)
    parser.add_argument("--animals", type=float, default=1e6)
    parser.add_argument("--full", action="store_true", help="30 M rows, 10 M animals")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--block-bytes", type=int, default=BLOCK_BYTES)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows, animals = (30_000_000, 10_000_000) if options.full else (int(options.rows), int(options.animals))
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ingest-bench-"))
    try:
        warm = folder / "warm"
        write_files(warm, 3000, 1000)
        run_apart(warm, options.workers, options.block_bytes)
        case = folder / f"rows-{rows}-animals-{animals}"
        if not (case / "records.csv").exists():
            write_files(case, rows, animals)
        result = run_apart(case, options.workers, options.block_bytes)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{rows:,} rows, {animals:,} animals, {options.workers} workers")
    print(f"{'stage':32s} {'wall s':>8s} {'CPU s':>8s}")
    for stage, (wall, cpu) in result["stages"].items():
        print(f"{stage:32s} {wall:8.2f} {cpu:8.2f}")
    records = [v for s, v in result["stages"].items() if s.startswith(("records", "order"))]
    wall, cpu = (sum(v[k] for v in records) for k in (0, 1))

    def line(what: str, wall: float, cpu: float) -> str:
        rates = f"{rows / wall / 1e6:.2f} M rows/s, {cpu / rows * 1e6:.2f} CPU s per M rows"
        return f"{what:32s} {wall:8.2f} {cpu:8.2f}   {rates}"

    print(line("record stages", wall, cpu))
    print(line("all", result["seconds"], result["cpu"]))
    print(f"peak {result['peak'] / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
