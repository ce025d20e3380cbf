"""Correlations of solved breeding values with the simulated truth.

    python cluster/scaling/testday_accuracy.py DATA OUT

DATA is a folder of `henderson simulate testday`, OUT the results of its solve. Effects are the knots and the heat of
each parity; a *yield* is the sum over days 5 to 305 without heat. Groups of animals: all, those with records, and sires
with at least 50 progeny. Memory: 8 bytes for each animal and effect.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds

from henderson.simulate.testday_config import KNOTS, PARITIES, effects, spline

MANY = 50  # progeny


def batches(stem: Path, columns: list[str]) -> Iterator[Any]:
    """Yield the record batches of a table, Parquet or CSV."""
    if stem.with_suffix(".parquet").exists():
        yield from ds.dataset(stem.with_suffix(".parquet")).to_batches(columns=columns)  # a file, or a folder of them
    else:
        options = pyarrow.csv.ConvertOptions(include_columns=columns)
        with pyarrow.csv.open_csv(stem.with_suffix(".csv"), convert_options=options) as reader:
            yield from reader


def array(column: Any) -> np.ndarray:
    """Return a column as a NumPy array."""
    return np.asarray(column.to_numpy(zero_copy_only=False))


def truth(data: Path, n: int) -> np.ndarray:
    """Return the true effects by animal, float32 (n, 15)."""
    found = np.full((n, len(effects())), np.nan, np.float32)
    for batch in batches(data / "truth_animals", ["id", *effects()]):
        rows = array(batch.column(0)) - 1
        for k in range(found.shape[1]):
            found[rows, k] = array(batch.column(k + 1))
    return found


def solved(out: Path, n: int) -> np.ndarray:
    """Return the solutions by animal, float32 (n, 15)."""
    found = np.full((n, len(effects())), np.nan, np.float32)
    place = {name: k for k, name in enumerate(effects())}
    for batch in batches(out / "solutions", ["factor", "subfactor", "level", "value"]):
        batch = batch.filter(pc.equal(batch.column(0), "g"))
        for name in pc.unique(batch.column(1)).to_pylist():
            part = batch.filter(pc.equal(batch.column(1), name))
            rows = array(pc.cast(part.column(2), pa.int64())) - 1
            found[rows, place[name]] = array(part.column(3))
    return found


def groups(data: Path, n: int) -> dict[str, np.ndarray]:
    """Return the animals of each group, bool (n,)."""
    recorded, progeny = np.zeros(n, np.bool_), np.zeros(n + 1, np.int64)
    for batch in batches(data / "records", ["id"]):
        recorded[array(batch.column(0)) - 1] = True
    for batch in batches(data / "pedigree", ["sire"]):
        progeny += np.bincount(array(batch.column(0)), minlength=n + 1)
    return {"all": np.ones(n, np.bool_), "recorded": recorded, "sires": progeny[1:] >= MANY}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    n = json.loads((options.data / "truth.json").read_text())["animals"]
    true, found, members = truth(options.data, n), solved(options.out, n), groups(options.data, n)
    if np.isnan(found).any():
        raise SystemExit(f"{options.out}: {int(np.isnan(found).any(axis=1).sum())} animals have no solution")
    days = spline(np.arange(KNOTS[0], KNOTS[-1] + 1)).sum(axis=0).astype(np.float32)
    print("| effect | " + " | ".join(f"{name} ({int(m.sum()):,})" for name, m in members.items()) + " |")
    print("|---" * (len(members) + 1) + "|")
    pairs = [(f"yield {p + 1}", *(x[:, 5 * p : 5 * p + 4] @ days for x in (true, found))) for p in range(PARITIES)]
    pairs += [(name, true[:, k], found[:, k]) for k, name in enumerate(effects())]
    for name, a, b in pairs:
        cells = [f"{np.corrcoef(a[m], b[m])[0, 1]:.4f}" if m.sum() > 2 else "" for m in members.values()]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
