"""A hash table of ids on disk: built once, mapped by every task that looks ids up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.ingest.parse import Words
from henderson.ingest.parts import map_part, write_part
from henderson.kernels.hashing import (
    find_integers,
    find_words,
    insert_integers,
    insert_words,
    integers_of,
    table_size,
)
from henderson.store.model_data import Labels

_MAX_TWICE = 32


@dataclass(frozen=True)
class IdTable:
    """Ids in the order of their file, int64 (n,) or words (n, k), and the slots that find them."""

    ids: NDArray[Any]
    slots: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, keys: Words) -> tuple[NDArray[np.int32], int]:
        """Return (row of each key, or EMPTY, LITERAL_ZERO, NOT_FOUND; how many were not found)."""
        out = np.empty(len(keys), np.int32)
        look_up = find_integers if self.ids.ndim == 1 else find_words
        return out, int(look_up(self.slots, self.ids, keys, out))

    @property
    def labels(self) -> Labels:
        """Return the ids as labels (a view)."""
        return labels_of(self.ids)


def labels_of(ids: NDArray[Any]) -> Labels:
    """Return ids as labels without the columns of bytes that no id uses (a view)."""
    if ids.ndim == 1:
        return Labels(ids)
    octets = ids.view(np.uint8).reshape(len(ids), 8 * ids.shape[1])
    width = octets.shape[1]
    while width > 1 and not octets[:, width - 1].any():
        width -= 1
    return Labels(octets[:, :width])


def as_integers(words: Words) -> NDArray[np.int64] | None:
    """Return words as integers, 0 where empty; None if any is neither."""
    out = np.empty(len(words), np.int64)
    return out if integers_of(words, out) < 0 else None


def build_table(ids: NDArray[Any]) -> tuple[IdTable, NDArray[np.int64], int]:
    """Return (table, (row, row of the first occurrence) of the first ids that occur twice, how many do).

    Cost: 8 bytes a slot, 1.5 to 3 slots an id; 10 M ids in about 2 s.
    """
    slots = np.zeros(table_size(len(ids)), np.uint64)
    twice = np.zeros((_MAX_TWICE, 2), np.int64)
    insert = insert_integers if ids.ndim == 1 else insert_words
    n_twice = int(insert(slots, ids, 0, len(ids), twice))
    return IdTable(ids, slots), twice[: min(n_twice, _MAX_TWICE)], n_twice


def save_table(path: Path, table: IdTable, meta: dict[str, Any] | None = None) -> None:
    """Write the table as a part."""
    write_part(path, {"ids": table.ids, "slots": table.slots}, meta)


def map_table(path: Path) -> IdTable:
    """Return the table of a part, mapped from disk."""
    return IdTable(**map_part(path, ["ids", "slots"]))


def words_of_labels(labels: Labels) -> Words:
    """Return text labels as words."""
    n, width = labels.values.shape
    octets = np.zeros((n, 8 * max(1, -(-width // 8))), np.uint8)
    octets[:, :width] = labels.values
    return octets.view(np.uint64)
