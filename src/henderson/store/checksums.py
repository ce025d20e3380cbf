"""CRC-32C (Castagnoli) of the files of a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 18
_BLOCK = 1 << 24

OWN = "own_checksum"  # attribute of the root: CRC-32C of its file with BLANK in its place
BLANK = "0" * 8
_OWN_PLACE = re.compile(rb'"%s":\s*"([0-9a-f]{8})"' % OWN.encode())


def checksum(data: NDArray[Any]) -> int:
    """Return the CRC-32C of the bytes of a contiguous array, copied piece by piece within the cache."""
    octets = data.reshape(-1).view(np.uint8)
    crc = 0
    for lo in range(0, len(octets), _PIECE):
        crc = google_crc32c.extend(crc, octets[lo : lo + _PIECE].tobytes())
    return int(crc)


def file_checksum(path: Path) -> str:
    """Return ``bytes:crc32c`` of a file, read block by block."""
    size, crc = 0, 0
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            crc = google_crc32c.extend(crc, block)
            size += len(block)
    return f"{size}:{crc:08x}"


def store_checksums(root: Path) -> dict[str, str]:
    """Return the checksums of all data files (shards) and array metadata below `root`, by relative path, sorted."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and p != root / "zarr.json")
    return {p.relative_to(root).as_posix(): file_checksum(p) for p in files}


def sign(path: Path) -> None:
    """Put the checksum of a metadata file, which has `BLANK` as attribute `OWN`, into it."""
    text = path.read_bytes()
    _, actual, place = _own_checksum(text)
    temporary = path.with_name(f".{path.name}.signed")
    temporary.write_bytes(text[: place.start] + actual.encode() + text[place.stop :])
    temporary.replace(path)


def own_problem(path: Path) -> str | None:
    """Return what is wrong with a metadata file that carries its own checksum, None if nothing is."""
    try:
        declared, actual, _ = _own_checksum(path.read_bytes())
    except ValueError:
        return "damaged, or made by an earlier version: it does not carry its own checksum"
    return None if declared == actual else f"damaged: checksum {actual}, expected {declared}"


def _own_checksum(text: bytes) -> tuple[str, str, slice]:
    """Return the checksum that `text` carries, the one that it has, and where it carries it."""
    places = list(_OWN_PLACE.finditer(text))
    if len(places) != 1:
        raise ValueError(f"{len(places)} places of {OWN}")
    place = slice(*places[0].span(1))
    blank = text[: place.start] + BLANK.encode() + text[place.stop :]
    return text[place].decode(), f"{google_crc32c.extend(0, blank):08x}", place
