"""What `henderson plan` foretells of evaluations, beside what they take: memory, rounds and seconds, as one table.

    python cluster/scaling/plan_runs.py FOLDER [--problems animals-300000,testday-0.01,testday-0.05] [--runs 3]
        [--threads 1]

Each run is a plan and then a solve, from data to files, by processes of their own; a row quotes medians of the runs
and, in brackets, the largest difference of one. Run it on an idle machine. Data that are in FOLDER already are taken.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import markdown_table
from evaluations import make_evaluation

COLUMNS = "problem,equations,foretold,rounds,foretold,MB,foretold,off,s,foretold,off"
OPTIONS = {"animals": ("--traits", "2", "--animals"), "testday": ("testday", "--scale")}
PRECONDITIONER = {"animals": "border", "testday": "sweep"}


def planned(model: list[str]) -> dict[str, Any]:
    """Return a plan."""
    command = ["henderson", "plan", *model, "--json", "--quiet"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def solved(model: list[str], out: Path) -> tuple[float, dict[str, Any], float]:
    """Return the seconds of a run, the record of its solve and the largest memory of its stages in bytes."""
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    subprocess.run(["henderson", "solve", *model, "--out", str(out), "--quiet"], check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    record = json.loads((out / "run.json").read_text())
    return seconds, record["jobs"][0], max(stage["peak_bytes"] for stage in record["stages"])


def off(foretold: list[float], found: list[float]) -> str:
    """Return how far the median of a forecast is from that of the runs, and how far the worst one is."""
    worst = max((a / b - 1.0 for a, b in zip(foretold, found, strict=True)), key=abs)
    return f"{statistics.median(foretold) / statistics.median(found) - 1.0:+.0%} ({worst:+.0%})"


def row(problem: str, plans: list[dict[str, Any]], runs: list[tuple[float, dict[str, Any], float]]) -> str:
    """Return the row of a problem."""
    found, foretold = [seconds for seconds, _, _ in runs], [plan["seconds"] for plan in plans]
    bytes_found, bytes_foretold = [peak for _, _, peak in runs], [plan["rank_bytes"] for plan in plans]
    whole, job = plans[-1]["whole"], runs[-1][1]
    cells = [
        problem,
        f"{job['equations']:,}",
        f"{plans[-1]['equations']:,}",
        str(job["iterations"]),
        f"{whole['rounds']} ({whole['rounds_low']} to {whole['rounds_high']})",
        f"{statistics.median(bytes_found) / 1e6:,.0f}",
        f"{statistics.median(bytes_foretold) / 1e6:,.0f}",
        off(bytes_foretold, bytes_found),
        f"{statistics.median(found):.1f}",
        f"{statistics.median(foretold):.1f}",
        off(foretold, found),
    ]
    return markdown_table.row(cells)


def main() -> int:
    """Return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--problems", default="animals-300000,testday-0.01,testday-0.05")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    names = COLUMNS.split(",")
    print(markdown_table.head(names), flush=True)
    for problem in arguments.problems.split(","):
        kind, _, size = problem.partition("-")
        folder = arguments.folder / problem
        make_evaluation(folder, *OPTIONS[kind], size)
        model = [str(folder / "model.toml"), "--store", str(folder / "store.zarr"), "--threads", str(arguments.threads)]
        model += ["--preconditioner", PRECONDITIONER[kind]]
        plans, runs = [], []
        for _ in range(arguments.runs):
            plans.append(planned(model))
            runs.append(solved(model, folder / "out"))
        print(row(problem, plans, runs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
