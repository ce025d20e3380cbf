"""Rounds of a solve that starts from the solutions without the last records, beside one that starts at zero.

    python cluster/scaling/warm_start.py FOLDER [--share 0.02] [--preconditioners sweep,border] [--rtol 1e-6]
        [--earlier 1e-8]

FOLDER is what `henderson simulate` or `henderson simulate testday` has written. The earlier run lacks the last records
by date, and the cows that have no others and no progeny, and is solved to --earlier, if given, else to --rtol; the
later one has everything. Every solve is a process of its own. Prints JSON objects, one per preconditioner and
tolerance, and a table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from henderson.simulate.testday import HERD_TESTS

Bools = np.ndarray
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7)


def read(folder: Path, name: str) -> tuple[Path, pa.Table]:
    """Return the file of a table, and the table."""
    path = next(p for p in (folder / f"{name}.parquet", folder / f"{name}.csv") if p.exists())
    return path, pq.read_table(path) if path.suffix == ".parquet" else pa_csv.read_csv(path)


def write(table: pa.Table, path: Path) -> None:
    """Write a table in the format of the name."""
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        pa_csv.write_csv(table, path)


def last(records: pa.Table, share: float) -> Bools:
    """Return which records are the last by date: number of the herd's test day, or year of birth and age."""
    column = {name: np.asarray(records[name]) for name in ("htd", "born", "age") if name in records.column_names}
    if "htd" in column:
        date = (column["htd"] - column["htd"].min() // HERD_TESTS * HERD_TESTS) % HERD_TESTS
    else:
        date = column["born"] * 10_000 + column["age"]
    found = np.zeros(len(records), np.bool_)
    found[np.argsort(date, kind="stable")[round((1.0 - share) * len(records)) :]] = True
    return found


def without_last(folder: Path, earlier: Path, share: float) -> dict[str, int]:
    """Write the data of the earlier run; return what it lacks."""
    shutil.copytree(folder, earlier, ignore=shutil.ignore_patterns("truth*", "*.out", "store*", "earlier", "warm-*"))
    (path, records), (pedigree_path, pedigree) = read(folder, "records"), read(folder, "pedigree")
    new = last(records, share)
    ids, names = np.asarray(records["id"]), np.asarray(pedigree["id"])
    parents = np.unique(np.concatenate([np.asarray(pedigree[k]) for k in ("sire", "dam")]))
    known = np.isin(names, ids[~new]) | ~np.isin(names, ids) | np.isin(names, parents)
    write(records.filter(pa.array(~new)), earlier / path.name)
    write(pedigree.filter(pa.array(known)), earlier / pedigree_path.name)
    lacks = {"records": int(new.sum()), "of": len(new), "animals": int((~known).sum())}
    if "htd" in records.column_names:
        classes = np.asarray(records["htd"])
        lacks["classes"] = len(np.setdiff1d(classes, classes[~new]))
    return lacks


def solve(folder: Path, out: Path, preconditioner: str, rtol: float, start: Path | None = None) -> dict[str, Any]:
    """Return what the record of a solve says."""
    command = ["henderson", "solve", str(folder / "model.toml"), "--out", str(out), "--quiet"]
    command += ["--store", str(folder / "store.zarr"), "--preconditioner", preconditioner, "--rtol", str(rtol)]
    begin = time.perf_counter()
    subprocess.run([*command, *(("--start", str(start)) if start else ())], check=True)
    seconds = time.perf_counter() - begin
    record: dict[str, Any] = json.loads((out / "run.json").read_text())["jobs"][0]
    return record | {"seconds": seconds}


def rounds_to(tolerance: float, history: list[float]) -> int:
    """Return after how many rounds the relative residual was at most `tolerance` for the first time."""
    return next(k for k, residual in enumerate(history) if residual <= tolerance)


def main() -> int:
    """Return 1 if a warm start takes more than a third of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--preconditioners", default="sweep,border")
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--earlier", type=float, help="tolerance of the earlier run")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    earlier = folder / "earlier"
    shutil.rmtree(earlier, ignore_errors=True)
    with ProcessPoolExecutor(1) as own:  # its tables are to leave the memory before a solve asks for it
        lacks = own.submit(without_last, folder, earlier, arguments.share).result()
    rows = []
    for kind in arguments.preconditioners.split(","):
        outs = {name: folder / f"warm-{kind}-{name}" for name in ("old", "cold", "warm")}
        old = solve(earlier, outs["old"], kind, arguments.earlier or arguments.rtol)
        cold = solve(folder, outs["cold"], kind, arguments.rtol)
        warm = solve(folder, outs["warm"], kind, arguments.rtol, outs["old"])
        rounds = {name: r["iterations"] for name, r in (("old", old), ("cold", cold), ("warm", warm))}
        first = warm["history"][0]
        print(json.dumps({"preconditioner": kind, **lacks, "rounds": rounds, "starts at": first}), flush=True)
        rows.append((kind, rounds, first, warm["iterations"] / cold["iterations"]))
        for tolerance in TOLERANCES:
            if tolerance >= arguments.rtol:
                pair = {name: rounds_to(tolerance, r["history"]) for name, r in (("cold", cold), ("warm", warm))}
                print(json.dumps({"preconditioner": kind, "residual": tolerance, "rounds": pair}), flush=True)
    print("\n| preconditioner | earlier | from zero | from the earlier | starts at | share |")
    print("|---|---|---|---|---|---|")
    for kind, rounds, first, part in rows:
        print(f"| {kind} | {rounds['old']} | {rounds['cold']} | {rounds['warm']} | {first:.1e} | {part:.2f} |")
    return int(any(part > 1 / 3 for *_, part in rows))


if __name__ == "__main__":
    sys.exit(main())
