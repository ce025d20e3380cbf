"""The records of a store, chunk by chunk in the order of individuals, decoded ahead by threads.

::

    records = RecordReader(store)
    for chunk in records.stream([("class", "herd"), ("related", "id", "ped")], whole=True):
        herd = chunk["class", "herd"]  # of the records chunk.start..chunk.stop, until the next chunk

No column is ever in memory whole. Columns are named by role and what the user calls them: see `RecordArrays`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import StoreError
from henderson.store.reader import missing_files, store_attributes
from henderson.store.record_arrays import Column, RecordArrays
from henderson.store.schema import CHUNK_ROWS

_MARGIN = 1 << 12  # rows before a chunk where those of an individual that began in the chunk before find place


@dataclass(frozen=True)
class RecordChunk:
    """The records start..stop of a store; ``chunk["class", "herd"]`` is a column, (stop - start,).

    The arrays are overwritten when the next chunk is asked for: copy what must stay.
    """

    start: int
    stop: int
    arrays: Mapping[Column, NDArray[Any]]

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, column: str | Column) -> NDArray[Any]:
        return self.arrays[(column,) if isinstance(column, str) else column]


class RecordReader(RecordArrays):
    """The records of a complete store, to be streamed. Opening reads no records.

    Raises `StoreError`: see `store_attributes`; files missing.
    """

    def __init__(self, path: Path) -> None:
        attributes = store_attributes(path)
        if missing := missing_files(path, (f for f in attributes["checksums"] if f.startswith("records/"))):
            raise StoreError(missing)
        super().__init__(path, attributes)

    def stream(
        self,
        columns: Iterable[Column],
        *,
        chunk: int = CHUNK_ROWS,
        start: int = 0,
        stop: int | None = None,
        whole: bool = False,
        threads: int = 1,
        ahead: int = 2,
    ) -> Iterator[RecordChunk]:
        """Yield the records start..stop in chunks of about `chunk` rows, `columns` of them.

        Columns are those of `RecordArrays`; what the store holds (``pattern``, ``value``, ``code``, ``class``,
        ``related``) costs less than what is made of it (``response``, and ``covariate`` where it has a table).

        `chunk` is rounded up to stored chunks. With `whole` no individual's records are cut: chunks end where `home`
        changes, so their sizes vary. `threads` decode `ahead` chunks beyond the one that was yielded; they stop when
        the generator is closed. Memory: ahead + 2 chunks of the columns. Raises `StoreError` when the store is damaged.
        """
        wanted = list(dict.fromkeys(columns))
        stop = self.n_records if stop is None else stop
        if whole and self.home is not None and self.home not in wanted:
            wanted.append(self.home)
        stored = self.array(("row",)).chunk_rows
        size = -(-chunk // stored) * stored
        edges = [start, *range(start - start % size + size, stop, size), stop] if stop > start else []
        spans = deque(pairwise(edges))
        free = deque(_Buffers({c: self.dtype(c) for c in wanted}) for _ in range(ahead + 2))
        waiting: deque[tuple[_Buffers, int, int, Future[None]]] = deque()
        carry: dict[Column, NDArray[Any]] | None = None  # the records of the last individual of the chunk before
        with ThreadPoolExecutor(threads, thread_name_prefix="records") as pool:
            try:
                held: _Buffers | None = None
                while spans or waiting:
                    while spans and free:
                        lo, hi = spans.popleft()
                        buffers = free.popleft()
                        waiting.append((buffers, lo, hi, pool.submit(self._fill, buffers, lo, hi)))
                    buffers, lo, hi, filled = waiting.popleft()
                    filled.result()
                    first, arrays = lo, buffers.views(hi - lo)
                    if carry is not None:
                        first, arrays = lo - len(next(iter(carry.values()))), buffers.preceded(carry, hi - lo)
                    n = hi - first
                    if whole and self.home is not None and hi < stop:
                        n = _last_edge(arrays[self.home])
                    carry = {c: a[n:] for c, a in arrays.items()} if n < hi - first else None
                    if n:
                        yield RecordChunk(first, first + n, {c: a[:n] for c, a in arrays.items()})
                    if held is not None:
                        free.append(held)
                    held = buffers  # what is carried over lies there until it is copied
            finally:
                for *_, filled in waiting:
                    filled.cancel()

    def _fill(self, buffers: _Buffers, lo: int, hi: int) -> None:
        self.fill(buffers.views(hi - lo), lo)


class _Buffers:
    """Arrays of one chunk, with a margin before them; they grow to the largest chunk."""

    def __init__(self, dtypes: Mapping[Column, np.dtype[Any]]) -> None:
        self._arrays = {c: np.empty(0, dtype) for c, dtype in dtypes.items()}

    def views(self, n: int) -> dict[Column, NDArray[Any]]:
        """Return room for `n` rows."""
        for column, array in self._arrays.items():
            if len(array) < _MARGIN + n:
                self._arrays[column] = np.empty(_MARGIN + n, array.dtype)
        return {c: a[_MARGIN : _MARGIN + n] for c, a in self._arrays.items()}

    def preceded(self, carry: Mapping[Column, NDArray[Any]], n: int) -> dict[Column, NDArray[Any]]:
        """Return the `n` rows with those of `carry` before them."""
        out = {}
        for column, before in carry.items():
            array, k = self._arrays[column], len(before)
            if k > _MARGIN:
                out[column] = np.concatenate([before, array[_MARGIN : _MARGIN + n]])
            else:
                array[_MARGIN - k : _MARGIN] = before
                out[column] = array[_MARGIN - k : _MARGIN + n]
        return out


def _last_edge(home: NDArray[np.int32]) -> int:
    """Return where the last individual's records begin: the length if they have none."""
    last = home[-1]
    if last < 0:
        return len(home)
    return int(np.searchsorted(home[: np.count_nonzero(home >= 0)], last))
