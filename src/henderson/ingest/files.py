"""Which files there are, and how they are cut into blocks that can be read on their own."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from henderson.errors import InputFileError, Problem

_PROBE = 1 << 16


@dataclass(frozen=True)
class Source:
    """One input file: `path` is opened, `shown` is what messages call it.

    Data begin at byte `start`, after `lines` lines.
    """

    path: str
    shown: str
    format: str  # csv | parquet
    names: tuple[str, ...]
    size: int
    modified: int  # nanoseconds
    start: int = 0
    lines: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the source as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Source:
        """Return the source from `as_json`."""
        return cls(**{**value, "names": tuple(value["names"])})


@dataclass(frozen=True)
class Block:
    """The lines of `source` that begin in bytes start..stop; of a Parquet file the row groups start..stop."""

    source: Source
    start: int
    stop: int


def expand(patterns: Iterable[str], base: Path, key: str) -> list[Path]:
    """Return the files that `patterns` name, relative to `base`; those of a glob sorted by name, none twice.

    Raises `InputFileError` for each file that is not there, and each glob that matches none.
    """
    found: dict[Path, None] = {}
    problems = []
    for pattern in patterns:
        path = base / pattern
        if path.is_dir():
            problems.append(
                Problem("is a folder, not a file", file=str(path), remedy=f"name its files in {key}, globs allowed")
            )
        elif path.exists():
            found[path] = None
        elif glob.has_magic(pattern):
            matches = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
            if not matches:
                problems.append(Problem("no file matches", file=str(path), remedy=f"correct {key}"))
            found.update(dict.fromkeys(matches))
        else:
            problems.append(Problem("there is no such file", file=str(path), remedy=f"correct {key}"))
    if problems:
        raise InputFileError(problems)
    return list(found)


def is_parquet(path: Path) -> bool:
    """Return whether the file begins as Parquet files do."""
    with path.open("rb") as handle:
        return handle.read(4) == b"PAR1"


def is_gzip(path: Path) -> bool:
    """Return whether the file begins as gzip files do."""
    with path.open("rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def damaged_gzip(name: str, error: Exception) -> InputFileError:
    """Return what to tell of a compressed file that cannot be decompressed."""
    return InputFileError(
        Problem(f"cannot be decompressed ({error})", file=name, remedy="copy or compress it again; gzip -t checks it")
    )


def cut(source: Source, block_bytes: int) -> list[Block]:
    """Return the blocks of `source`: whole lines of about `block_bytes`, or row groups.

    Cost: one short read a block.
    """
    if source.format == "parquet":
        from henderson.ingest.parquet import n_row_groups

        return [Block(source, i, i + 1) for i in range(n_row_groups(source))]
    edges = [source.start]
    with open(source.path, "rb") as handle:
        at = source.start + block_bytes
        while at < source.size:
            edge = _next_line(handle, at - 1)
            if edge >= source.size:
                break
            if edge > edges[-1]:
                edges.append(edge)
            at = max(at, edge) + block_bytes
    edges.append(source.size)
    return [Block(source, a, b) for a, b in pairwise(edges) if b > a]


def _next_line(handle: Any, at: int) -> int:
    """Return where the first line after byte `at` begins: behind the first newline at or after it."""
    handle.seek(at)
    while probe := handle.read(_PROBE):
        hit = probe.find(b"\n")
        if hit >= 0:
            return int(at + hit + 1)
        at += len(probe)
    return int(at)
