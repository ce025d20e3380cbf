"""Exact hash tables over ids: open addressing with linear probing, full comparison on every hit.

Text ids are *words*: uint64 (n, k), eight UTF-8 bytes to a word, first byte lowest, padded with zeros, so that an
empty id is all zeros and two ids are equal if their words are, whatever k. A slot of a table is 0 when free, else the
upper half of the hash and, below it, the row of the id plus one: a probe reads the ids themselves only where the half
hashes agree. Tables are plain arrays, so they can be mapped from disk and read by many threads or processes at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import jit

EMPTY = -1  # an empty id
LITERAL_ZERO = -2  # the id 0
NOT_FOUND = -3

_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(0xFFFFFFFF00000000)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(32)
_BYTE = np.uint64(0xFF)
_ZERO_WORD = np.uint64(0x30)  # the text "0"


def table_size(n: int) -> int:
    """Return the number of slots for `n` ids: a power of two, at most two thirds full."""
    return max(16, 1 << (int(1.5 * n)).bit_length())


@jit
def mix(h: np.uint64) -> np.uint64:
    """Return `h` with its bits spread (the finaliser of MurmurHash3, Appleby 2011; public domain)."""
    h ^= h >> _SHIFT
    h *= _MIX_1
    h ^= h >> _SHIFT
    h *= _MIX_2
    h ^= h >> _SHIFT
    return h


@jit
def hash_words(words: NDArray[np.uint64], row: int) -> np.uint64:
    """Return the hash of one text id; padding does not count."""
    h = _SEED
    for c in range(words.shape[1]):
        if words[row, c] == 0:
            break
        h = mix(h ^ words[row, c])
    return h


@jit
def same_words(a: NDArray[np.uint64], i: int, b: NDArray[np.uint64], j: int) -> bool:
    """Return whether row i of `a` and row j of `b` are the same id, whatever their widths."""
    n_a, n_b = a.shape[1], b.shape[1]
    for c in range(min(n_a, n_b)):
        if a[i, c] != b[j, c]:
            return False
    if n_a > n_b:
        return bool(a[i, n_b] == 0)
    if n_b > n_a:
        return bool(b[j, n_a] == 0)
    return True


@jit
def parse_integer(words: NDArray[np.uint64], row: int) -> tuple[bool, np.int64]:
    """Return (whether the id is an integer that fits int64, its value): an optional minus sign, then digits only."""
    value = np.int64(0)
    negative = False
    digits = 0
    limit = np.int64(9223372036854775807)
    for c in range(words.shape[1]):
        w = words[row, c]
        for _ in range(8):
            if w == 0:
                break
            b = np.int64(w & _BYTE)
            w >>= np.uint64(8)
            if b == 45 and digits == 0 and not negative:
                negative = True
                continue
            if b < 48 or b > 57:
                return False, np.int64(0)
            d = b - 48
            if value > (limit - d) // 10:
                return False, np.int64(0)
            value = value * 10 + d
            digits += 1
    return digits > 0, -value if negative else value


@jit
def integers_of(words: NDArray[np.uint64], out: NDArray[np.int64]) -> int:
    """Return the first row that is neither empty nor an integer, or -1; `out` (n,) gets the values, 0 where empty."""
    for i in range(words.shape[0]):
        out[i] = 0
        if words[i, 0] != 0:
            ok, value = parse_integer(words, i)
            if not ok:
                return i
            out[i] = value
    return -1


@jit
def insert_words(
    slots: NDArray[np.uint64], ids: NDArray[np.uint64], start: int, stop: int, twice: NDArray[np.int64]
) -> int:
    """Return how many of the text ids start..stop were in the table before; the others are inserted.

    twice: int64 (limit, 2), gets (row, row of the first occurrence) of the first `limit` of them. Cost: about one
    cache miss an id.
    """
    mask = np.uint64(slots.shape[0] - 1)
    n_twice = 0
    for row in range(start, stop):
        h = hash_words(ids, row)
        s = h & mask
        while True:
            slot = slots[s]
            if slot == 0:
                slots[s] = (h & _HIGH) | np.uint64(row + 1)
                break
            if (slot & _HIGH) == (h & _HIGH):
                other = int(slot & _LOW) - 1
                if same_words(ids, row, ids, other):
                    if n_twice < twice.shape[0]:
                        twice[n_twice, 0] = row
                        twice[n_twice, 1] = other
                    n_twice += 1
                    break
            s = (s + np.uint64(1)) & mask
    return n_twice


@jit
def insert_integers(
    slots: NDArray[np.uint64], ids: NDArray[np.int64], start: int, stop: int, twice: NDArray[np.int64]
) -> int:
    """Return how many of the integer ids start..stop were in the table before; as `insert_words`."""
    mask = np.uint64(slots.shape[0] - 1)
    n_twice = 0
    for row in range(start, stop):
        h = mix(_SEED ^ np.uint64(ids[row]))
        s = h & mask
        while True:
            slot = slots[s]
            if slot == 0:
                slots[s] = (h & _HIGH) | np.uint64(row + 1)
                break
            if (slot & _HIGH) == (h & _HIGH):
                other = int(slot & _LOW) - 1
                if ids[other] == ids[row]:
                    if n_twice < twice.shape[0]:
                        twice[n_twice, 0] = row
                        twice[n_twice, 1] = other
                    n_twice += 1
                    break
            s = (s + np.uint64(1)) & mask
    return n_twice


@jit
def find_words(
    slots: NDArray[np.uint64], ids: NDArray[np.uint64], keys: NDArray[np.uint64], out: NDArray[np.int32]
) -> int:
    """Return how many `keys` are not among the text `ids`.

    `out` (n,) gets rows of `ids`, EMPTY, LITERAL_ZERO or NOT_FOUND.

    Cost: two cache misses a key (slot and id) where the table is larger than the cache; none where a key follows its
    like, as the records of an animal often do.
    """
    mask = np.uint64(slots.shape[0] - 1)
    missing = 0
    for i in range(keys.shape[0]):
        if i > 0 and same_words(keys, i, keys, i - 1):
            out[i] = out[i - 1]
            missing += out[i] == NOT_FOUND
            continue
        if keys[i, 0] == 0:
            out[i] = EMPTY
            continue
        if keys[i, 0] == _ZERO_WORD:
            out[i] = LITERAL_ZERO
            continue
        h = hash_words(keys, i)
        s = h & mask
        while True:
            slot = slots[s]
            if slot == 0:
                out[i] = NOT_FOUND
                missing += 1
                break
            if (slot & _HIGH) == (h & _HIGH):
                row = int(slot & _LOW) - 1
                if same_words(keys, i, ids, row):
                    out[i] = row
                    break
            s = (s + np.uint64(1)) & mask
    return missing


@jit
def find_integers(
    slots: NDArray[np.uint64], ids: NDArray[np.int64], keys: NDArray[np.uint64], out: NDArray[np.int32]
) -> int:
    """Return how many `keys` (text) are not among the integer `ids`; `out` as in `find_words`. Text is never found."""
    mask = np.uint64(slots.shape[0] - 1)
    missing = 0
    for i in range(keys.shape[0]):
        if i > 0 and same_words(keys, i, keys, i - 1):
            out[i] = out[i - 1]
            missing += out[i] == NOT_FOUND
            continue
        if keys[i, 0] == 0:
            out[i] = EMPTY
            continue
        ok, key = parse_integer(keys, i)
        if not ok:
            out[i] = NOT_FOUND
            missing += 1
            continue
        if key == 0:
            out[i] = LITERAL_ZERO
            continue
        h = mix(_SEED ^ np.uint64(key))
        s = h & mask
        while True:
            slot = slots[s]
            if slot == 0:
                out[i] = NOT_FOUND
                missing += 1
                break
            if (slot & _HIGH) == (h & _HIGH):
                row = int(slot & _LOW) - 1
                if ids[row] == key:
                    out[i] = row
                    break
            s = (s + np.uint64(1)) & mask
    return missing


@jit
def encode_words(
    keys: NDArray[np.uint64],
    slots: NDArray[np.uint64],
    entries: NDArray[np.uint64],
    n_entries: int,
    codes: NDArray[np.int32],
) -> int:
    """Return the new number of entries of a dictionary after `keys`; `codes` (n,) gets their entries, EMPTY if empty.

    The caller provides for room: as many free rows of `entries` (as wide as `keys`), and free slots, as there are keys.
    """
    mask = np.uint64(slots.shape[0] - 1)
    for i in range(keys.shape[0]):
        if i > 0 and same_words(keys, i, keys, i - 1):
            codes[i] = codes[i - 1]
            continue
        if keys[i, 0] == 0:
            codes[i] = EMPTY
            continue
        h = hash_words(keys, i)
        s = h & mask
        while True:
            slot = slots[s]
            if slot == 0:
                for c in range(keys.shape[1]):
                    entries[n_entries, c] = keys[i, c]
                slots[s] = (h & _HIGH) | np.uint64(n_entries + 1)
                codes[i] = n_entries
                n_entries += 1
                break
            if (slot & _HIGH) == (h & _HIGH):
                row = int(slot & _LOW) - 1
                if same_words(keys, i, entries, row):
                    codes[i] = row
                    break
            s = (s + np.uint64(1)) & mask
    return n_entries


@jit
def insert_entries(slots: NDArray[np.uint64], entries: NDArray[np.uint64], n_entries: int) -> None:
    """Fill an empty table with the first `n_entries` entries of a dictionary, which are distinct."""
    mask = np.uint64(slots.shape[0] - 1)
    for row in range(n_entries):
        h = hash_words(entries, row)
        s = h & mask
        while slots[s] != 0:
            s = (s + np.uint64(1)) & mask
        slots[s] = (h & _HIGH) | np.uint64(row + 1)
