"""CRC-32C (Castagnoli) of the files of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 18
_BLOCK = 1 << 24


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
