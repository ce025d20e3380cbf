"""From nothing to a store ready to solve: seconds and memory of simulate, ingest and reading, at some scales.

    python cluster/scaling/testday_data.py --scale 0.02 --scale 0.05       # and what follows from them for scale 1
    python cluster/scaling/testday_data.py --scale 1 --folder /scratch/td --keep

Every step runs in a process of its own. A stage's memory is the peak of resident memory while it ran, and, of that,
what is not a mapped file: `anonymous`, sampled every 10 ms. Processor seconds tell more than wall seconds on a machine
that does other things too. The table for scale 1 takes seconds as proportional to the scale, and memory as a constant
and a part proportional to it, from the two largest scales; kernels are compiled before.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.results.stages import Stages
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.store.stream import RecordReader

SAMPLE = 0.01  # seconds between looks at the memory
MIB = 1 << 20
ROUND = ("pattern", "code", "class", "related")  # what a product with the equations reads of a record

Row = tuple[str, float, float, int, int]  # stage, seconds, CPU seconds, peak bytes, those that are no mapped file
Tell = Callable[[str, int, int], None]


def anonymous() -> int:
    """Return the resident bytes of this process that are no file's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


class Watch:
    """The stages of a step, told by its progress."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._stages = Stages()
        self._most = 0
        self._open: Any = None

    @contextmanager
    def step(self, name: str) -> Iterator[Tell]:
        """Record the stages of a block; `name` is the first."""
        stopped = threading.Event()

        def look() -> None:
            while not stopped.wait(SAMPLE):
                self._most = max(self._most, anonymous())

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        self._begin(name)
        try:
            yield self._told
        finally:
            self._end()
            stopped.set()
            watcher.join()

    def _told(self, stage: str, done: int, total: int) -> None:
        if stage != self._name:
            self._end()
            self._begin(stage)

    def _begin(self, name: str) -> None:
        self._name, self._most, self._cpu = name, anonymous(), time.process_time()
        self._open = self._stages.stage(name)
        self._open.__enter__()

    def _end(self) -> None:
        self._open.__exit__(None, None, None)
        done = self._stages.done[-1]
        self.rows.append((done.name, done.seconds, time.process_time() - self._cpu, done.peak_bytes, self._most))


def simulate_step(scale: float, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Write the data."""
    watch = Watch()
    with watch.step("start") as tell:
        simulate_testday(TestDayConfig(scale=scale), folder / "data", tell)
    return watch.rows, json.loads((folder / "data" / "truth.json").read_text())


def ingest_step(scale: float, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Make the store."""
    watch = Watch()
    spec = load_model(folder / "data" / "model.toml", read_schema)
    with watch.step("plan") as tell:
        ingest(spec, folder / "store.zarr", progress=tell)
    files = [p for p in (folder / "store.zarr").rglob("*") if p.is_file()]
    return watch.rows, {"store files": len(files), "store MiB": round(sum(p.stat().st_size for p in files) / MIB)}


def read_step(scale: float, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Stream the records: what a round needs, then everything."""
    reader = RecordReader(folder / "store.zarr")
    named = [c for c in reader.available() if c[0] in ROUND]
    held = [c for c in reader.available() if c[0] not in ("response", "covariate")]
    watch, told = Watch(), {}
    for name, columns, threads in (("round, 1 thread", named, 1), ("round", named, 2), ("all held", held, 2)):
        n = n_bytes = 0
        begin, cpu = time.perf_counter(), time.process_time()
        with watch.step(name):
            for chunk in reader.stream(columns, whole=True, threads=threads):
                n += len(chunk)
                n_bytes += sum(a.nbytes for a in chunk.arrays.values())
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        assert n == reader.n_records
        told[f"{name}: M records/s"] = round(n / seconds / 1e6, 1)
        told[f"{name}: MB/s"] = round(n_bytes / seconds / 1e6)
        told[f"{name}: M records/CPU s"] = round(n / cpu / 1e6, 1)
    return watch.rows, told


def _run(step: Callable[[float, Path], Any], scale: float, folder: Path, queue: Any) -> None:
    queue.put(step(scale, folder))


def measured(step: Callable[[float, Path], Any], scale: float, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Return what a step tells, run in a new process."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_run, args=(step, scale, folder, queue))
    process.start()
    while True:
        try:
            found: tuple[list[Row], dict[str, Any]] = queue.get(timeout=1)
            break
        except Exception:
            if process.exitcode is not None:
                raise SystemExit(f"{step.__name__} ended with exit code {process.exitcode}") from None
    process.join()
    return found


def at_scale(scale: float, folder: Path) -> dict[str, Row]:
    """Print the table of one scale and return its rows."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows: dict[str, Row] = {}
    facts: dict[str, Any] = {}
    for name, step in (("simulate", simulate_step), ("ingest", ingest_step), ("read", read_step)):
        found, told = measured(step, scale, folder)
        facts |= told
        rows |= {f"{name}: {row[0]}": row for row in found}
    print(f"\n## scale {scale:g}\n\n" + "; ".join(f"{k} {v:,}" for k, v in facts.items() if k != "seed"))
    show(rows)
    return rows


def show(rows: dict[str, Row]) -> None:
    """Print a table of stages, with a line for each step."""
    print("\n| stage | s | CPU s | peak MiB | anonymous MiB |\n|---|---|---|---|---|")
    steps = dict.fromkeys(name.split(":")[0] for name in rows)
    for step in steps:
        mine = {name: row for name, row in rows.items() if name.split(":")[0] == step}
        seconds, cpu = (sum(row[k] for row in mine.values()) for k in (1, 2))
        peak, own = (max(row[k] for row in mine.values()) for k in (3, 4))
        for name, row in {**mine, f"**{step}**": (step, seconds, cpu, peak, own)}.items():
            print(f"| {name} | {row[1]:.2f} | {row[2]:.2f} | {row[3] / MIB:.0f} | {row[4] / MIB:.0f} |")


def extrapolate(small: float, large: float, found: dict[float, dict[str, Row]]) -> None:
    """Print what follows for scale 1 from two scales."""
    print(f"\n## scale 1, from {small:g} and {large:g}")
    rows = {}
    for name, (stage, seconds, cpu, *memory) in found[large].items():
        before = found[small].get(name)
        if before is not None:
            slopes = [max(0.0, (now - then) / (large - small)) for now, then in zip(memory, before[3:], strict=True)]
            peak, own = (int(now + slope * (1 - large)) for now, slope in zip(memory, slopes, strict=True))
            rows[name] = (stage, seconds / large, cpu / large, peak, own)
    show(rows)


def main() -> None:
    """Measure the scales asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, action="append", help="default: 0.02 and 0.05")
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    parser.add_argument("--keep", action="store_true", help="leave data and store in the folder")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="testday-"))
    measured(simulate_step, 1e-4, folder / "first")
    for step in (ingest_step, read_step):
        measured(step, 1e-4, folder / "first")
    shutil.rmtree(folder / "first")
    found = {}
    for scale in options.scale or [0.02, 0.05]:
        found[scale] = at_scale(scale, folder / f"{scale:g}")
        if not options.keep:
            shutil.rmtree(folder / f"{scale:g}")
    if len(found) > 1:
        *_, small, large = sorted(found)
        extrapolate(small, large, found)
    if not options.keep and options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
