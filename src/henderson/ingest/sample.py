"""How many rows a file has, before it is read: Parquet says so, text is reckoned from its first mebibyte."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from henderson.ingest.files import Source
from henderson.ingest.header import SAMPLE_BYTES, open_plain

_UNPACKED = 5  # bytes of text in a byte of a compressed file of this kind


@dataclass(frozen=True)
class Sample:
    """The rows of a file, the most that are read at once with blocks of whatever size, and its first lines (of text).

    n_rows is exact for Parquet, whose blocks are row groups of at most `group_rows`.
    """

    n_rows: int
    group_rows: int
    lines: tuple[bytes, ...]
    line_bytes: float

    def block_rows(self, block_bytes: int) -> int:
        """Return how many rows a block has at most."""
        return self.group_rows or min(self.n_rows, int(block_bytes / self.line_bytes) + 1)


def sample_of(source: Source) -> Sample:
    """Return what the first bytes of a file tell about its size."""
    if source.format == "parquet":
        from henderson.ingest.parquet import largest_row_group, n_rows

        return Sample(n_rows(source), largest_row_group(source), (), 0.0)
    with open_plain(Path(source.path)) as handle:
        handle.read(source.start)
        lines = handle.read(SAMPLE_BYTES).split(b"\n")
    whole = [line for line in lines[:-1] if line.strip()] or lines[-1:]
    length = sum(len(line) + 1 for line in whole) / len(whole)
    unpacked = _UNPACKED if source.path.endswith(".gz") else 1
    return Sample(max(len(whole), int(unpacked * (source.size - source.start) / length)), 0, tuple(whole), length)
