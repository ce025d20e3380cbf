"""What a run knows of the individuals of a pedigree, from its store: parents, progeny, records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from henderson.results.solution_tables import labels_to_arrow
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

Indices = NDArray[np.int64]
BLOCK = 1 << 20  # records looked at together
ROUNDING = 1e-9  # relative: sums in another order differ by less

REASONS = (
    "new records",
    "fewer records",
    "other records",
    "other parents",
    "new progeny",
    "fewer progeny",
    "records of progeny",
    "nothing of its own",
)


@dataclass(frozen=True)
class Individuals:
    """The individuals of one pedigree in the order of a store.

    sire, dam: rows, negative where unknown; records, progeny, progeny_records: numbers of each individual; total,
    progeny_total: sums of its observations, and of its progeny's. All (n,).
    """

    ids: pa.Array
    sire: Indices
    dam: Indices
    generation: Indices
    records: Indices
    progeny: Indices
    progeny_records: Indices
    total: NDArray[np.float64]
    progeny_total: NDArray[np.float64]

    def name(self, row: int) -> str:
        """Return the id of a row, ``0`` for an unknown one."""
        return str(self.ids[row].as_py()) if row >= 0 else "0"


def record_counts(parts: StoreParts, column: str, pedigree: str, traits: Sequence[str], n: int) -> Indices:
    """Return of the `n` individuals of a pedigree how many records name them in `column` and have one of the traits."""
    counts = np.zeros(n, np.int64)
    for lo in range(0, parts.n_records, BLOCK):
        hi = min(lo + BLOCK, parts.n_records)
        whose = parts.records.read(("related", column, pedigree), lo, hi)
        observed = np.any([~np.isnan(parts.records.read(("response", t), lo, hi)) for t in traits], axis=0)
        counts += np.bincount(whose[(whose >= 0) & observed], minlength=n)
    return counts


def individuals_of(store: Path, pedigree: str) -> Individuals:
    """Return the individuals of a pedigree. Memory: their arrays and a block of records."""
    parts = StoreParts(store)
    group = group_path("pedigree", pedigree)
    whole = slice(None)
    sire, dam, generation = (
        np.asarray(parts.array(f"{group}/{name}")[whole], np.int64) for name in ("sire", "dam", "generation")
    )
    n = len(sire)
    records, total = np.zeros(n, np.int64), np.zeros(n)
    for pair in [p for p in parts.columns.related if p[1] == pedigree][:1]:
        for lo in range(0, parts.n_records, BLOCK):
            hi = min(lo + BLOCK, parts.n_records)
            whose = parts.records.read(("related", *pair), lo, hi)
            known = whose >= 0
            records += np.bincount(whose[known], minlength=n)
            for trait in parts.columns.responses:
                y = parts.records.read(("response", trait), lo, hi)
                total += np.bincount(whose[known], np.nan_to_num(y[known]), minlength=n)
    progeny, theirs, values = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
    for parent in (sire, dam):
        known = parent >= 0
        progeny += np.bincount(parent[known], minlength=n)
        theirs += np.bincount(parent[known], records[known], minlength=n)
        values += np.bincount(parent[known], total[known], minlength=n)
    ids = labels_to_arrow(parts.labels(group).take(np.arange(n)))
    return Individuals(ids, sire, dam, generation, records, progeny, theirs.astype(np.int64), total, values)


@dataclass(frozen=True)
class Differences:
    """What is not as it was of individuals that two runs share: rows in each, and by reason whether it holds."""

    old: Individuals
    new: Individuals
    old_rows: Indices
    new_rows: Indices
    holds: dict[str, NDArray[np.bool_]]

    def reasons(self, k: int) -> list[str]:
        """Return what is not as it was of the `k`-th, in words."""
        i, j = int(self.old_rows[k]), int(self.new_rows[k])
        if i < 0 or j < 0:
            return ["not in the pedigree of both"]
        found = []
        for more, fewer, counts in (
            ("new records", "fewer records", (self.old.records, self.new.records)),
            ("new progeny", "fewer progeny", (self.old.progeny, self.new.progeny)),
        ):
            difference = int(counts[1][j] - counts[0][i])
            if difference:
                what = more if difference > 0 else fewer
                found.append(f"{abs(difference)} {what.removesuffix('s') if abs(difference) == 1 else what}")
        if self.holds["other records"][k]:
            found.append("other values in its records")
        if self.holds["records of progeny"][k]:
            added = int(self.new.progeny_records[j] - self.old.progeny_records[i])
            found.append(f"{added:+d} records of progeny" if added else "other values in records of its progeny")
        for parent, was, now in (("sire", self.old.sire, self.new.sire), ("dam", self.old.dam, self.new.dam)):
            before, after = self.old.name(int(was[i])), self.new.name(int(now[j]))
            if before != after:
                found.append(f"{parent} was {before}, is {after}")
        return found


def differences(old: Individuals, new: Individuals, old_rows: Indices, new_rows: Indices) -> Differences:
    """Return what is not as it was of the individuals in these rows, -1: not there; reasons as in `REASONS`."""
    from henderson.results.solution_files import places

    there = (old_rows >= 0) & (new_rows >= 0)
    i, j = np.maximum(old_rows, 0), np.maximum(new_rows, 0)
    in_new = places(new.ids, old.ids)  # the row in the new pedigree of each individual of the old

    def parents_differ(was: Indices, now: Indices) -> NDArray[np.bool_]:
        before, after = was[i], now[j]
        there_now = np.where(before >= 0, in_new[np.maximum(before, 0)], -1)
        unknown = (before < 0) & (after < 0)
        gone = (before >= 0) & (there_now < 0)
        differ = there_now != np.where(after >= 0, after, -1)
        return np.asarray(~unknown & (gone | differ), np.bool_)

    more = {
        "records": new.records[j] - old.records[i],
        "progeny": new.progeny[j] - old.progeny[i],
        "theirs": new.progeny_records[j] - old.progeny_records[i],
    }

    def moved(was: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.bool_]:
        a, b = was[i], now[j]
        return np.asarray(np.abs(b - a) > ROUNDING * np.maximum(np.abs(a), np.abs(b)))

    holds = {
        "new records": more["records"] > 0,
        "fewer records": more["records"] < 0,
        "other records": (more["records"] == 0) & moved(old.total, new.total),
        "other parents": parents_differ(old.sire, new.sire) | parents_differ(old.dam, new.dam),
        "new progeny": more["progeny"] > 0,
        "fewer progeny": more["progeny"] < 0,
        "records of progeny": (more["theirs"] != 0) | moved(old.progeny_total, new.progeny_total),
    }
    holds = {name: there & mask for name, mask in holds.items()}
    holds["nothing of its own"] = there & ~np.any(list(holds.values()), axis=0)
    return Differences(old, new, old_rows, new_rows, holds)
