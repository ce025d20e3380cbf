"""A heap in a file that is mapped as a whole: what NumPy calls for the data of arrays, and a watch over what stays.

Blocks of `THRESHOLD` bytes or more lie in the file, or, as long as those are `ROOM` bytes at most together, in memory;
smaller ones where malloc puts them. The pages of the file can be
given back at any moment: what is in them stays in the file, and comes back when it is touched. NumPy holds the GIL when
it calls, so that there is one caller at a time; the functions are native all the same, as arrays are also freed while
an exception is on its way.

The state is an int64 array: `HEAD` numbers, then the free blocks by address (begin, size), then those in use (the last
one taken last), `MOST` of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.kernels.jit import array_at, callback, inline, jit, of_system

State = NDArray[np.int64]

BASE, FILE, PAGE, THRESHOLD, ROOM, IN_MEMORY, N_FREE, N_USED, STOP, ADVICE, STALE, GIVEN_BACK, HIGHEST, HEAD = range(14)
MOST = 1 << 16  # blocks; each is at least THRESHOLD long
SIZE = HEAD + 4 * MOST
READ_WRITE, PRIVATE_ANONYMOUS = 3, 0x22  # of mmap
KEEP_SIZE, PUNCH_HOLE = 1, 2  # modes of fallocate

_malloc = of_system("malloc", "intp", "intp")
_calloc = of_system("calloc", "intp", "intp", "intp")
_realloc = of_system("realloc", "intp", "intp", "intp")
_free = of_system("free", "void", "intp")
_usable = of_system("malloc_usable_size", "intp", "intp")
_memset = of_system("memset", "intp", "intp", "int32", "intp")
_memcpy = of_system("memcpy", "intp", "intp", "intp", "intp")
_reserve = of_system("posix_fallocate", "int32", "int32", "int64", "int64")
_fallocate = of_system("fallocate", "int32", "int32", "int32", "int64", "int64")
_mmap = of_system("mmap", "intp", "intp", "intp", "int32", "int32", "int32", "int64")
_munmap = of_system("munmap", "int32", "intp", "intp")
_madvise = of_system("madvise", "int32", "intp", "intp", "int32")
_pread = of_system("pread", "int64", "int32", "intp", "intp", "int64")
_usleep = of_system("usleep", "int32", "uint32")


@inline
def _pages(s: State, size: int) -> int:
    return int((size + s[PAGE] - 1) // s[PAGE] * s[PAGE])


@inline
def _take(s: State, size: int) -> int:
    """Return the address of `size` bytes, zeros unless `STALE`: in memory if there is room, else in the file; or 0."""
    need = _pages(s, size)
    if s[IN_MEMORY] + need <= s[ROOM]:
        at = _mmap(0, need, np.int32(READ_WRITE), np.int32(PRIVATE_ANONYMOUS), np.int32(-1), 0)
        s[IN_MEMORY] += need if at != -1 else 0
        return int(max(0, at))
    if s[N_USED] >= MOST or s[N_FREE] >= MOST:
        return 0
    begins, sizes = s[HEAD : HEAD + MOST], s[HEAD + MOST : HEAD + 2 * MOST]
    used, lengths = s[HEAD + 2 * MOST : HEAD + 3 * MOST], s[HEAD + 3 * MOST :]
    for k in range(s[N_FREE]):
        if sizes[k] >= need:
            begin = begins[k]
            if _reserve(np.int32(s[FILE]), begin, need) != 0:
                return 0
            begins[k] += need
            sizes[k] -= need
            if sizes[k] == 0:
                for j in range(k, s[N_FREE] - 1):
                    begins[j], sizes[j] = begins[j + 1], sizes[j + 1]
                s[N_FREE] -= 1
            used[s[N_USED]], lengths[s[N_USED]] = begin, need
            s[N_USED] += 1
            return int(s[BASE] + begin)
    return 0


@inline
def _find(s: State, at: int) -> int:
    """Return which block in use begins at the address `at`, -1 if none does."""
    used = s[HEAD + 2 * MOST : HEAD + 3 * MOST]
    for k in range(s[N_USED] - 1, -1, -1):
        if s[BASE] + used[k] == at:
            return k
    return -1


@inline
def _give(s: State, k: int) -> None:
    """Free the block in use `k`, and its room on the disk."""
    begins, sizes = s[HEAD : HEAD + MOST], s[HEAD + MOST : HEAD + 2 * MOST]
    used, lengths = s[HEAD + 2 * MOST : HEAD + 3 * MOST], s[HEAD + 3 * MOST :]
    begin, size = used[k], lengths[k]
    for j in range(k, s[N_USED] - 1):
        used[j], lengths[j] = used[j + 1], lengths[j + 1]
    s[N_USED] -= 1
    if _fallocate(np.int32(s[FILE]), np.int32(KEEP_SIZE | PUNCH_HOLE), begin, size) != 0:
        s[STALE] = 1  # not every file system can make holes: what comes next has to be cleared
    n = s[N_FREE]
    at = 0
    while at < n and begins[at] < begin:
        at += 1
    before = at > 0 and begins[at - 1] + sizes[at - 1] == begin
    behind = at < n and begin + size == begins[at]
    if before:
        sizes[at - 1] += size
        if behind:
            sizes[at - 1] += sizes[at]
            for j in range(at, n - 1):
                begins[j], sizes[j] = begins[j + 1], sizes[j + 1]
            s[N_FREE] -= 1
    elif behind:
        begins[at] = begin
        sizes[at] += size
    else:
        for j in range(n, at, -1):
            begins[j], sizes[j] = begins[j - 1], sizes[j - 1]
        begins[at], sizes[at] = begin, size
        s[N_FREE] += 1


def _malloc_block(state: Any, size: int) -> int:
    """Return the address of `size` bytes."""
    s = array_at(state, (SIZE,))
    if size < s[THRESHOLD]:
        return int(_malloc(size))
    return _take(s, size)


def _calloc_block(state: Any, n: int, size: int) -> int:
    """Return the address of n * size bytes of zeros."""
    s = array_at(state, (SIZE,))
    if n * size < s[THRESHOLD]:
        return int(_calloc(n, size))
    at = _take(s, n * size)
    if s[STALE] and at:
        _memset(at, np.int32(0), n * size)
    return at


def _free_block(state: Any, at: int, size: int) -> None:
    """Free what begins at `at`."""
    s = array_at(state, (SIZE,))
    if size < s[THRESHOLD]:
        _free(at)
        return
    k = _find(s, at)
    if k >= 0:
        _give(s, k)
    else:
        s[IN_MEMORY] -= _pages(s, size)
        _munmap(at, size)


def _realloc_block(state: Any, at: int, size: int) -> int:
    """Return the address of `size` bytes that begin like those at `at`, which are freed; not for blocks in memory."""
    s = array_at(state, (SIZE,))
    k = _find(s, at) if at else -1
    if k < 0 and size < s[THRESHOLD]:
        return int(_realloc(at, size))
    large = size >= s[THRESHOLD]
    new = _take(s, size) if large else _malloc(size)
    if new and at:
        old = s[HEAD + 3 * MOST + k] if k >= 0 else _usable(at)
        _memcpy(new, at, min(old, size))
        if k >= 0:
            _give(s, k)
        else:
            _free(at)
    return int(new)


def functions() -> tuple[Any, Any, Any, Any]:
    """Return malloc, calloc, realloc and free for NumPy, compiled; each has the state before its own arguments."""
    return (
        callback("intp", "intp")(_malloc_block),
        callback("intp", "intp", "intp")(_calloc_block),
        callback("intp", "intp", "intp")(_realloc_block),
        callback("void", "intp", "intp")(_free_block),
    )


@jit
def give_back(s: State, capacity: int) -> None:
    """Give all pages of the file back that are in memory."""
    _madvise(s[BASE], capacity, np.int32(s[ADVICE]))
    s[GIVEN_BACK] += 1


@jit
def look(s: State, capacity: int, statm: int, high: int) -> None:
    """Give the pages of the file back if the process has more than `high` bytes in memory.

    statm: the open file of that name in /proc. Cost: some microseconds.
    """
    text = np.empty(128, np.uint8)
    n = _pread(np.int32(statm), text.ctypes.data, 128, 0)
    k, resident = 0, 0
    while k < n and text[k] != 32:
        k += 1
    k += 1
    while k < n and text[k] != 32:
        resident = 10 * resident + int(text[k]) - 48
        k += 1
    resident *= s[PAGE]
    s[HIGHEST] = max(s[HIGHEST], resident)
    if resident > high:
        give_back(s, capacity)


@jit
def watch(s: State, capacity: int, statm: int, high: int, microseconds: int) -> None:
    """Look every so many microseconds until told to stop."""
    while s[STOP] == 0:
        look(s, capacity, statm, high)
        _usleep(np.uint32(microseconds))
