"""Number the different labels of a column in the order of appearance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.ingest.parse import Words
from henderson.kernels.hashing import encode_words, insert_entries, table_size

_FIRST_ROOM = 1 << 13  # labels a dictionary first has room for


def number_labels(words: Words) -> tuple[NDArray[np.int32], Words]:
    """Return (code of each label or -1, the different labels in the order of appearance).

    The dictionary doubles when it fills, so that few labels stay in the cache.
    """
    codes = np.empty(len(words), np.int32)
    room = _FIRST_ROOM
    entries = np.empty((room, words.shape[1]), np.uint64)
    slots = np.zeros(table_size(room), np.uint64)
    n = at = 0
    while at < len(words):
        if room - n < _FIRST_ROOM // 2:
            room *= 2
            entries = np.concatenate([entries[:n], np.empty((room - n, words.shape[1]), np.uint64)])
            slots = np.zeros(table_size(room), np.uint64)
            insert_entries(slots, entries, n)
        stop = min(len(words), at + room - n)
        n = encode_words(words[at:stop], slots, entries, n, codes[at:stop])
        at = stop
    return codes, entries[:n].copy()
