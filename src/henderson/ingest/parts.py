"""Files of arrays between the stages: written whole or not at all, checked when they are met again.

A file is a line of JSON (length, meta data, and name, type, shape, offset and CRC-32C of each array), padded to 64
bytes, and the arrays behind it. It is written beside its place and renamed, so that what bears the name is complete;
a power cut that loses pages of it shows in the checksums.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.store.checksums import checksum

_ALIGN = 64
_HEAD = 16  # digits of the length of the JSON


def write_part(path: Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any] | None = None) -> None:
    """Write the arrays and `meta` (JSON) as one file, atomically."""
    entries = {}
    at = 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array)
        entries[name] = [data.dtype.str, list(data.shape), at, checksum(data)]
        at += -(-data.nbytes // _ALIGN) * _ALIGN
    head = json.dumps({"meta": dict(meta or {}), "arrays": entries, "bytes": at}, sort_keys=True).encode()
    head += b" " * (-(_HEAD + len(head)) % _ALIGN)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as handle:
        handle.write(f"{len(head):{_HEAD}d}".encode())
        handle.write(head)
        for array in arrays.values():
            data = np.ascontiguousarray(array)
            handle.write(data.reshape(-1).view(np.uint8).data)
            handle.write(bytes(-data.nbytes % _ALIGN))
    os.replace(temporary, path)


def _head(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as handle:
        length = int(handle.read(_HEAD))
        return json.loads(handle.read(length)), _HEAD + length


def read_meta(path: Path) -> dict[str, Any]:
    """Return the meta data of a part."""
    meta: dict[str, Any] = _head(path)[0]["meta"]
    return meta


def map_part(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of a part, or those called `names`, mapped from disk read-only."""
    head, start = _head(path)
    out: dict[str, NDArray[Any]] = {}
    for name in head["arrays"] if names is None else names:
        dtype, shape, at, _ = head["arrays"][name]
        if 0 in shape:
            out[name] = np.zeros(shape, dtype)
        else:
            out[name] = np.memmap(path, dtype, "r", start + at, tuple(shape)).view(np.ndarray)
    return out


def is_whole(path: Path) -> bool:
    """Return whether the part is there and every array agrees with its checksum. Cost: reads it once."""
    try:
        head, start = _head(path)
        if path.stat().st_size != start + head["bytes"]:
            return False
        for name, (_, _, _, crc) in head["arrays"].items():
            array = map_part(path, [name])[name]
            if checksum(array) != crc:
                return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Flush a file to disk, if there is one: a shard of nothing but the fill value has none."""
    if path.exists():
        sync_folder(path)
