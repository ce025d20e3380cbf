"""Times `henderson run` beside what a Python user would write with SciPy, on the same files, from CSV to solutions.

    python tests/benchmarks/scipy_bench.py [--animals N] [--records N] [--herds N] [--repeat R] [--no-assert]

Both sides solve the same equations of simulated data to the same relative residual, each in processes of its own and in
turn, so that time and peak memory are its own. Peak memory is the larger of the kernel's account of the process and of
what its whole family of processes was seen to hold. A small run of ours comes first, so that kernels are compiled.
The solutions must agree; then our solve must be at least five times faster (wall clock) with a third of the memory.
The default size is 1,000,000 animals, 3 traits, 600,000 records, 25,000 herds; `--animals 20000` is a smoke test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

BASELINE = Path(__file__).with_name("scipy_baseline.py")
MIN_SPEED_UP = 5.0
MAX_MEMORY_SHARE = 1 / 3
MAX_DIFFERENCE = 1e-5  # of breeding values, in genetic standard deviations
SAMPLE_SECONDS = 0.02
MIB = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One process: its output, wall and CPU seconds, peak memory in bytes, wall (and CPU) seconds by stage."""

    output: str
    wall: float
    cpu: float
    peak: int
    stages: dict[str, float] = field(default_factory=dict)
    iterations: int = 0


def measure(command: list[str]) -> Measured:
    """Return what a command took; its standard error passes through, a failure is an error.

    This process must stay small: on Linux a child's account of peak memory starts with its parent's.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read() if process.stdout else ""))
    reader.start()
    family = psutil.Process(process.pid)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, _resident(family))
        time.sleep(SAMPLE_SECONDS)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Measured(output[0], wall, usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss * 1024))


def _resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process and all its descendants, 0 once it has ended."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.Error:
        pass
    return total


def run_baseline(folder: Path, out: Path, rtol: float) -> Measured:
    """Return what the SciPy side took; its solutions lie in `out`."""
    m = measure([sys.executable, str(BASELINE), str(folder), str(out), "--rtol", str(rtol)])
    report = json.loads(m.output)
    stages = {name: wall for name, (wall, _) in report["stages"].items()}
    return Measured(m.output, m.wall, m.cpu, m.peak, stages, report["iterations"])


def run_henderson(folder: Path, out: Path, threads: int | None = None) -> Measured:
    """Return what our side took, a fresh store included; its solutions lie in `out`."""
    shutil.rmtree(out, ignore_errors=True)
    command = [henderson(), "run", str(folder / "model.toml"), "--out", str(out), "--quiet"]
    m = measure(command + (["--threads", str(threads)] if threads else []))
    record = json.loads((out / "run.json").read_text())
    stages = {s["name"]: s["seconds"] for s in record["stages"]}
    job = next(j for j in record["jobs"] if j["job"] == "solve")
    return Measured(m.output, m.wall, m.cpu, m.peak, stages, job["iterations"])


def henderson() -> str:
    """Return the path of the command in this environment."""
    return str(Path(sys.executable).with_name("henderson"))


def simulate(folder: Path, options: argparse.Namespace) -> None:
    """Write the data of both sides, rows in order of birth, which is kinder to SciPy's caches than a random order."""
    sizes = {name: getattr(options, name) for name in ("animals", "records", "herds", "seed")}
    program = (
        "import json, pathlib, sys\n"
        "from henderson.simulate.config import SimulationConfig\n"
        "from henderson.simulate.run import simulate\n"
        "simulate(SimulationConfig(shuffle=False, **json.loads(sys.argv[2])), pathlib.Path(sys.argv[1]))\n"
    )
    measure([sys.executable, "-c", program, str(folder), json.dumps(sizes)])


def largest_difference(folder: Path, theirs: Path, ours: Path) -> float:
    """Return the largest difference of a breeding value, in genetic standard deviations of its trait."""
    import numpy as np
    import pandas as pd

    with np.load(theirs) as result:
        expected = pd.DataFrame(result["ebv"], index=result["ids"].astype(str))
    csv, parquet = ours / "solutions.csv", ours / "solutions.parquet"
    table = pd.read_csv(csv, dtype={"level": str}) if csv.exists() else pd.read_parquet(parquet)
    table = table[table["factor"] == "g"]
    sigma = np.diag(np.array(json.loads((folder / "truth.json").read_text())["sigma_g"]))
    worst = 0.0
    for trait in expected:
        values = table.loc[table["subfactor"] == f"u{trait + 1}"].set_index("level")["value"]
        if len(values) != len(expected) or not values.index.is_unique:
            raise SystemExit(f"u{trait + 1}: {len(values)} solutions for {len(expected)} animals")
        gap = (values.reindex(expected.index) - expected[trait]).abs().max(skipna=False)
        worst = max(worst, float(gap / np.sqrt(sigma[trait])))
    return worst


def summarise(runs: list[Measured]) -> dict[str, Any]:
    """Return medians over the runs."""
    median = statistics.median
    return {
        "wall_seconds": median(r.wall for r in runs),
        "cpu_seconds": median(r.cpu for r in runs),
        "peak_bytes": int(median(r.peak for r in runs)),
        "stages": {name: median(r.stages[name] for r in runs) for name in runs[0].stages},
        "iterations": int(median(r.iterations for r in runs)),
    }


def print_table(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Print both sides' medians, with the stages of each."""
    print(f"{'':<28}{'SciPy':>12}{'henderson':>12}{'ratio':>9}")
    rows = [
        ("solve, wall s", theirs["stages"]["solve"], ours["stages"]["solve"]),
        ("all, wall s", theirs["wall_seconds"], ours["wall_seconds"]),
        ("all, CPU s", theirs["cpu_seconds"], ours["cpu_seconds"]),
        ("peak memory, MiB", theirs["peak_bytes"] / MIB, ours["peak_bytes"] / MIB),
        ("iterations", theirs["iterations"], ours["iterations"]),
    ]
    for name, a, b in rows:
        print(f"{name:<28}{a:>12.2f}{b:>12.2f}{a / b:>9.2f}")
    for side, result in (("SciPy", theirs), ("henderson", ours)):
        print(f"{side}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in result["stages"].items()))


def shortfalls(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Return a sentence for each aim that was missed."""
    found = []
    speed_up = theirs["stages"]["solve"] / ours["stages"]["solve"]
    if speed_up < MIN_SPEED_UP:
        found.append(f"the solve is {speed_up:.2f} times faster, not {MIN_SPEED_UP:g}")
    share = ours["peak_bytes"] / theirs["peak_bytes"]
    if share > MAX_MEMORY_SHARE:
        found.append(f"peak memory is {share:.2f} of SciPy's, not {MAX_MEMORY_SHARE:.2f}")
    return found


def benchmark(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the medians of both sides and how well they agree."""
    small = argparse.Namespace(animals=2000, records=1200, herds=50, seed=1)
    simulate(work / "small", small)
    run_henderson(work / "small", work / "small.out", options.threads)
    simulate(work / "data", options)
    theirs, ours = [], []
    for _ in range(options.repeat):
        theirs.append(run_baseline(work / "data", work / "scipy.npz", options.rtol))
        ours.append(run_henderson(work / "data", work / "henderson.out", options.threads))
    return {
        "size": {name: getattr(options, name) for name in ("animals", "records", "herds", "seed", "repeat")},
        "cores": os.cpu_count(),
        "scipy": summarise(theirs),
        "henderson": summarise(ours),
        "largest_difference": largest_difference(work / "data", work / "scipy.npz", work / "henderson.out"),
    }


def main() -> None:
    """Simulate, run both sides, print, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animals", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, help="default: 60 for every 100 animals")
    parser.add_argument("--herds", type=int, help="default: one for every 40 animals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of our side; default: all cores")
    parser.add_argument("--no-assert", action="store_true", help="print only, but for the agreement of the solutions")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    options = parser.parse_args()
    options.records = options.records or options.animals * 6 // 10
    options.herds = options.herds or max(1, options.animals // 40)
    options.rtol = 1e-8  # as in the simulated model.toml
    with tempfile.TemporaryDirectory(prefix="henderson-bench-") as work:
        result = benchmark(Path(work), options)
    print(", ".join(f"{value:,} {name}" for name, value in result["size"].items()), f"on {result['cores']} cores")
    print_table(result["scipy"], result["henderson"])
    print(f"largest difference of a breeding value: {result['largest_difference']:.2e} genetic standard deviations")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    failures = [] if options.no_assert else shortfalls(result["scipy"], result["henderson"])
    if not result["largest_difference"] < MAX_DIFFERENCE:
        failures.append(f"the solutions differ by {result['largest_difference']:.2e}, more than {MAX_DIFFERENCE:g}")
    if failures:
        raise SystemExit("; ".join(failures))


if __name__ == "__main__":
    main()
