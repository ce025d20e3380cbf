"""Levels of the class columns: the labels of all blocks, sorted, and what the codes of each block become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.ingest.id_table import as_integers, labels_of
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import Words, stack_words
from henderson.ingest.parts import is_whole, map_part, write_part
from henderson.store.model_data import Labels

_MERGE_ROWS = 1 << 20  # labels of blocks are merged when there are so many


def merge_levels(column: int, parts: list[Path], integer: bool, path: Path) -> int:
    """Write the sorted levels of class `column` (``ids``), and ``codes``.

    Those of all blocks' entries, block after block.

    Integers sort as numbers, 007 and 7 are one; text sorts by code points. Entries that no kept record has become -1.
    ``starts`` (n_blocks + 1,) tells where the entries of a block begin. Return the number of levels. Cost: a sort of
    the different labels; memory a few times theirs.
    """
    if not is_whole(path):
        starts = [0]
        seen: Words = np.zeros((0, 1), np.uint64)
        waiting: list[Words] = []
        for part in parts:
            arrays = map_part(part, [f"entries{column}", f"used{column}"])
            starts.append(starts[-1] + len(arrays[f"used{column}"]))
            waiting.append(arrays[f"entries{column}"][arrays[f"used{column}"]])
            if sum(len(w) for w in waiting) > _MERGE_ROWS:
                seen, waiting = number_labels(stack_words([seen, *waiting]))[1], []
        seen = number_labels(stack_words([seen, *waiting]))[1]
        ids = sorted_ids(seen, integer)
        codes = np.full(starts[-1], -1, np.int32)
        for k, part in enumerate(parts):
            arrays = map_part(part, [f"entries{column}", f"used{column}"])
            used = arrays[f"used{column}"]
            codes[starts[k] : starts[k + 1]][used] = _find(ids, arrays[f"entries{column}"][used])
        write_part(path, {"ids": ids, "codes": codes, "starts": np.array(starts, np.int64)})
    return len(map_part(path, ["ids"])["ids"])


def read_levels(path: Path) -> Labels:
    """Return the levels that `merge_levels` wrote."""
    return labels_of(map_part(path, ["ids"])["ids"])


def codes_of_block(path: Path, block: int) -> NDArray[np.int32]:
    """Return the level of each entry of a block."""
    arrays = map_part(path, ["codes", "starts"])
    codes: NDArray[np.int32] = arrays["codes"][arrays["starts"][block] : arrays["starts"][block + 1]]
    return codes


def _text_view(words: Words) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(words).view(f"S{8 * words.shape[1]}").ravel()


def sorted_ids(words: Words, integer: bool) -> NDArray[Any]:
    """Return different labels sorted: as integers, 007 and 7 being one, or as text by code points."""
    if integer:
        values = as_integers(words)
        assert values is not None
        return np.unique(values)
    return np.ascontiguousarray(words[np.argsort(_text_view(words), kind="stable")])


def _find(ids: NDArray[Any], words: Words) -> NDArray[np.int32]:
    if ids.ndim == 1:
        values = as_integers(words)
        assert values is not None
        return np.searchsorted(ids, values).astype(np.int32)
    return np.searchsorted(_text_view(ids), _text_view(words)).astype(np.int32)
