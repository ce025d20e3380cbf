"""Second pass over the records: an external sort by animal, block files to shards of the store.

The home of a record is the individual of the model's first relation (last place: records without one, and all records
of a model without relations). Sorted by (home, row of the files), its place among all records is known from the
counts alone, so every block can deal its rows to the shards they belong to, and every shard can be sorted and written
by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.ingest.compact import Agreed
from henderson.ingest.levels import codes_of_block
from henderson.ingest.parts import is_whole, map_part, sync_file, write_part
from henderson.kernels.ids_shuffle import (
    count_homes,
    count_split,
    deal,
    gather_column,
    places_in,
    remap,
    scatter_column,
    stable_order,
)
from henderson.store import zarr_io
from henderson.store.schema import shard_rows

_SPARSE = 8  # homes spread over more than this many times the records of a shard are sorted by comparison


@dataclass(frozen=True)
class SortTask:
    """What dealing and sorting need.

    agreed: what the compact columns of the blocks mean; parts, dealt, levels: files of the blocks before and after, and
    of the class columns; first_row: row of the files at which each block begins; order: file with the new rows of the
    individuals of each relation; places: file with where homes go.
    """

    agreed: Agreed
    parts: tuple[Path, ...]
    dealt: tuple[Path, ...]
    levels: tuple[Path, ...]
    first_row: tuple[int, ...]
    order: tuple[Path, ...]
    places: Path
    n_homes: int
    n_records: int
    store: Path

    @property
    def shard_rows(self) -> int:
        """Return the rows of a shard."""
        return shard_rows(self.n_records)

    @property
    def n_shards(self) -> int:
        """Return the number of shards of each column."""
        return -(-self.n_records // self.shard_rows)


def home_of(part: Path, relation: int | None) -> NDArray[np.int32]:
    """Return the individuals of a relation that the records of a block belong to, in the order of their file."""
    if relation is None:
        return np.full(map_part(part, ["row"])["row"].shape, -1, np.int32)
    home: NDArray[np.int32] = map_part(part, ["codes"])["codes"][relation]
    return home


def count_records(
    parts: list[Path], relation: int, n_homes: int, key: tuple[int, Path] | None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return (records of each individual, last those of none; the first key of each, or -1) over all blocks in order.

    key: the row among the codes of a class column, and its levels. Cost: two random reads and writes a record.
    """
    counts = np.zeros(n_homes + 1, np.int64)
    first_key = np.full(n_homes, -1, np.int32)
    for k, part in enumerate(parts):
        codes = map_part(part, ["codes"])["codes"]
        keys = np.zeros(0, np.int32)
        if key is not None:
            keys = codes[key[0]].copy()
            remap(keys, codes_of_block(key[1], k))
        count_homes(codes[relation], keys, counts, first_key)
    return counts, first_key


def find_places(task: SortTask, counts: NDArray[np.int64], relation: int | None) -> None:
    """Write which shard each home goes to, and from where each block writes those that are split over shards.

    counts: int64 (n_homes + 1,), by row of the individual in its file. Homes stand in the order of the store, the
    records without one last.
    """
    if is_whole(task.places):
        return
    S = task.shard_rows
    new_row = map_part(task.order[relation], ["new_row"])["new_row"] if relation is not None else np.zeros(0, np.int32)
    in_store = np.empty_like(counts)
    in_store[-1] = counts[-1]
    in_store[new_row] = counts[:-1]
    end = np.cumsum(in_store)
    start = end - in_store
    shard = (start // S).astype(np.int32)
    split = np.flatnonzero((in_store > 0) & (shard != (end - 1) // S))
    shard[split] = -1 - np.arange(len(split), dtype=np.int32)
    shard_of = np.empty_like(shard)
    shard_of[-1] = shard[-1]
    shard_of[:-1] = shard[:-1][new_row]
    position = np.zeros((len(task.parts), len(split)), np.int64)
    if len(split):
        before = start[split].copy()
        for k, part in enumerate(task.parts):
            position[k] = before
            count_split(home_of(part, relation), shard_of, before)
    write_part(task.places, {"shard_of": shard_of, "position": position})


def deal_block(task: SortTask, block: int) -> None:
    """Write the rows of a block in the order of the shards they go to, with the codes of the store."""
    if is_whole(task.dealt[block]):
        return
    part = map_part(task.parts[block])
    places = map_part(task.places)
    relation = 0 if task.agreed.columns.related else None
    n = len(part["row"])
    shard = np.empty(n, np.int32)
    counts = np.zeros(task.n_shards, np.int64)
    position = places["position"][block].copy()
    deal(home_of(task.parts[block], relation), places["shard_of"], position, task.shard_rows, shard, counts)
    codes = part["codes"].copy()
    for k, order in enumerate(task.order):
        remap(codes[k], map_part(order, ["new_row"])["new_row"])
    for k, levels in enumerate(task.levels, len(task.order)):
        remap(codes[k], codes_of_block(levels, block))
    reals, small = task.agreed.translated(task.parts[block])
    if "weight" in part:
        reals.append(part["weight"])
    starts = np.concatenate([[0], np.cumsum(counts)])
    place = np.empty(n, np.int64)
    places_in(shard, starts[:-1].copy(), place)
    out: dict[str, Any] = {"row": np.empty((n, 1), np.int32), "reals": np.empty((n, len(reals)))}
    out |= {"small": np.empty((n, len(small)), np.uint16), "codes": np.empty((n, len(codes)), np.int32)}
    for name, columns in (("row", [part["row"]]), ("reals", reals), ("small", small), ("codes", codes)):
        for k, column in enumerate(columns):
            scatter_column(place, column, out[name], k)
    write_part(task.dealt[block], {"starts": starts, **out})


def write_shard(task: SortTask, shard: int, done: Path) -> None:
    """Gather, sort and write one shard of every column; `done` is written when all are on disk."""
    if is_whole(done):
        return
    first = shard * task.shard_rows
    n = min(task.shard_rows, task.n_records - first)
    layout = task.agreed.layout
    schemas = layout.schemas(task.n_records)
    blocks: dict[str, Any] = {
        "row": np.empty((n, 1), np.int64),
        "reals": np.empty((n, len(layout.reals(n)))),
        "small": np.empty((n, len(layout.small(n))), np.uint16),
        "codes": np.empty((n, len(layout.codes(n))), np.int32),
    }
    at = 0
    for dealt, before in zip(task.dealt, task.first_row, strict=True):
        arrays = map_part(dealt)
        lo, hi = arrays["starts"][shard : shard + 2].tolist()
        if hi > lo:
            for name, rows in blocks.items():
                rows[at : at + hi - lo] = arrays[name][lo:hi]
            blocks["row"][at : at + hi - lo] += before
            at += hi - lo
    if at != n:
        raise RuntimeError(f"shard {shard} has {at} records, expected {n}")
    related = task.agreed.columns.related
    order = _order_of(blocks["codes"][:, 0], task.n_homes) if related else np.arange(n)
    waiting = iter(schemas)
    for name in list(blocks):
        rows = blocks.pop(name)
        for k in range(rows.shape[1]):
            schema = next(waiting)
            column = np.empty(n, schema.dtype)
            gather_column(order, rows, k, column)
            zarr_io.write_rows(task.store, schema.path, first, column)
    for schema in schemas:
        sync_file(zarr_io.shard_file(task.store, schema, shard))
    write_part(done, {})


def _order_of(home: NDArray[np.int32], n_homes: int) -> NDArray[np.int64]:
    """Return the stable order of the homes; negative ones (none) are last."""
    key = np.where(home < 0, np.int32(n_homes), home)
    low, high = int(key.min()), int(key.max())
    if high - low > _SPARSE * len(key):
        return np.argsort(key, kind="stable")
    order = np.empty(len(key), np.int64)
    stable_order(key, low, np.zeros(high - low + 2, np.int64), order)
    return order
