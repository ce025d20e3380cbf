"""The table of a strong or weak scaling: what `mpi_iteration.py` has printed, run by run, medians of the repeats.

    python cluster/scaling/scaling_table.py strong|weak measured.jsonl

Strong: the efficiency of P ranks is t_1 / (P t_P), beside the fewest ranks that were run; weak: t_1 / t_P.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any


def median(runs: list[dict[str, Any]], name: str) -> float:
    """Return the median of a number over the repeats."""
    return statistics.median(run[name] for run in runs)


def table(kind: str, runs: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one table: a row for each number of ranks."""
    by_ranks: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        by_ranks[run["ranks"]].append(run)
    fewest = min(by_ranks)
    first = median(by_ranks[fewest], "median")
    lines = [
        "| ranks | equations | runs | ms a round | CPU ms a rank | exchange ms | MiB sent a rank | efficiency |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for ranks, mine in sorted(by_ranks.items()):
        seconds = median(mine, "median")
        efficiency = first / seconds * (fewest / ranks if kind == "strong" else 1.0)
        lines.append(
            f"| {ranks} | {mine[0]['equations']} | {len(mine)} | {1e3 * seconds:.2f} | "
            f"{1e3 * median(mine, 'cpu_mean'):.2f} | {1e3 * median(mine, 'exchange'):.2f} | "
            f"{median(mine, 'bytes') / 2**20:.2f} | {efficiency:.2f} |"
        )
    return lines


def main() -> None:
    """Print one table for each method and preconditioner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("strong", "weak"))
    parser.add_argument("measured", type=Path)
    arguments = parser.parse_args()
    runs = [json.loads(line) for line in arguments.measured.read_text(encoding="utf-8").splitlines() if line]
    for method, preconditioner in dict.fromkeys((run["method"], run["kind"]) for run in runs):
        mine = [run for run in runs if (run["method"], run["kind"]) == (method, preconditioner)]
        print(f"## {arguments.kind} scaling: {method}, {preconditioner}\n")
        print("\n".join(table(arguments.kind, mine)) + "\n")


if __name__ == "__main__":
    main()
