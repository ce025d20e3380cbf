"""The file that says which responses are missing (lmt's missing-value indicator): a row a record, a flag a trait.

Flags are single letters T (missing) and F, or 1 and 0, or the words TRUE and FALSE, in either case, with commas between
them or nothing. Lines that begin with ``#`` are comments; if the last of them before the data names exactly the traits,
the flags stand in that order, else in that of the equations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from gzip import GzipFile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from henderson.errors import InputFileError, Problem
from henderson.ingest.files import Block, Source
from henderson.ingest.header import open_plain, shown
from henderson.ingest.parse import read_bytes
from henderson.ingest.parts import write_part
from henderson.kernels.ids_pack import data_lines

CHUNK = 8 << 20  # bytes that are read at a time
_KIND = np.zeros(256, np.uint8)  # of a byte: 0 between flags, 1 missing, 2 observed, 3 anything else
_KIND[:] = 3
_KIND[list(b", \t\r\n")] = 0
_KIND[list(b"Tt1")] = 1
_KIND[list(b"Ff0")] = 2

Flags = NDArray[np.bool_]


def missing_source(file: str, base: Path) -> Source:
    """Return the file. Raises `InputFileError` if it cannot be read."""
    path = base / file
    name = shown(path, base)
    try:
        stat = path.stat()
    except OSError as error:
        problem = Problem(f"cannot be read ({error.strerror})", file=name, remedy="correct [data] missing_file")
        raise InputFileError(problem) from error
    return Source(str(path), name, "flags", (), stat.st_size, stat.st_mtime_ns)


def count_rows(block: Block) -> int:
    """Return the number of records of a block. Cost: one pass over its bytes."""
    if block.source.format == "parquet":
        from henderson.ingest.parquet import rows_of_group

        return rows_of_group(block.source, block.start)
    return int(data_lines(np.frombuffer(read_bytes(block), np.uint8), np.empty(0, np.int64)))


def read_missing(source: Source, traits: Sequence[str], n_records: int, part: Path) -> None:
    """Write the part with the flags: uint8 (n_records, bytes), one bit a trait.

    Raises `InputFileError`: a line with another number of flags or with something else, or another number of lines than
    records. Memory: a byte a record, for up to eight traits.
    """
    with open_plain(Path(source.path)) as handle:
        rows, order = [np.zeros((0, -(-len(traits) // 8)), np.uint8)], np.arange(len(traits))
        for number, lines, names in _chunks(handle):
            if names is not None and sorted(names) == sorted(traits):
                order = np.array([names.index(t) for t in traits])
            rows.append(np.packbits(_flags(lines, number, len(traits), source.shown)[:, order], axis=1))
    flags = np.concatenate(rows)
    if len(flags) != n_records:
        what = f"has flags of {len(flags):,} records, the records are {n_records:,}"
        raise InputFileError(Problem(what, file=source.shown, remedy="one line for each record, in their order"))
    write_part(part, {"missing": flags})


def flags_of(packed: NDArray[np.uint8], n_traits: int) -> Flags:
    """Return the flags of some records, (n, n_traits)."""
    return np.unpackbits(packed, axis=1, count=n_traits).astype(np.bool_)


def _chunks(handle: GzipFile) -> Iterator[tuple[int, bytes, list[str] | None]]:
    """Yield the number of its first line, a chunk of whole lines, and the names if it begins the data."""
    number, names = 0, None
    rest = b""
    begun = False
    while data := handle.read(CHUNK):
        data = rest + data
        end = data.rfind(b"\n") + 1
        data, rest = data[:end], data[end:]
        if not begun and data:
            found, data, skipped = _head(data)
            names = names if found is None else found
            number += skipped
            begun = bool(data)
        if data:
            yield number, data, names
            number += data.count(b"\n")
            names = None
    if rest.strip():
        yield number, rest + b"\n", names


def _head(data: bytes) -> tuple[list[str] | None, bytes, int]:
    """Return the names of the last comment before the data, the data, and how many lines are before them."""
    names, number = None, 0
    while data:
        line, _, after = data.partition(b"\n")
        text = line.strip()
        if text and not text.startswith(b"#"):
            break
        if text:
            names = [w.strip() for w in text.lstrip(b"#").decode("utf-8", "replace").split(",")]
        data, number = after, number + 1
    return names, data, number


def _flags(lines: bytes, number: int, n_traits: int, file: str) -> Flags:
    """Return the flags of whole lines, the first of which is line `number` from 0."""
    if b"#" in lines:
        lines = b"\n".join(b"" if line.lstrip().startswith(b"#") else line for line in lines.split(b"\n"))
    upper = lines.upper()
    if b"TRUE" in upper or b"FALSE" in upper:
        upper = upper.replace(b"TRUE", b"T").replace(b"FALSE", b"F")
    text = np.frombuffer(upper, np.uint8)
    kind = _KIND[text]
    ends = np.flatnonzero(text == ord("\n"))
    per_line = np.diff(np.cumsum(np.concatenate([[0], kind > 0]))[np.concatenate([[0], ends + 1])])
    wrong = np.flatnonzero((per_line != n_traits) & (per_line != 0))
    strange = np.flatnonzero(kind == 3)
    if len(strange) or len(wrong):
        line = int(np.searchsorted(ends, strange[0])) if len(strange) else int(wrong[0])
        found = lines.split(b"\n")[line].decode("utf-8", "replace").strip()
        what = f"{found[:40]!r} is not a line of {n_traits} flag{'s' * (n_traits > 1)}, T (missing) or F"
        raise InputFileError(Problem(what, file=file, line=number + line + 1, remedy="write one flag a trait"))
    return np.asarray(kind[kind > 0] == 1).reshape(-1, n_traits)
