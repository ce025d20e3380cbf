"""`checksums.sha256`: the checksum of every file of a run, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from henderson.errors import Problem, StoreError
from henderson.results.files import replacing

NAME = "checksums.sha256"
REMEDY = "restore it, or run again (`henderson rerun run.json`)"
OWN = "# sha256 of the lines above: "  # sha256sum passes over it
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Cost: one read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(out: Path, files: Iterable[Path]) -> Path:
    """Return the path of the written checksums of `files`, and of the files of folders among them, all within `out`."""
    every = sorted({f for path in files for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.is_file()})
    inside = [f for f in every if f.is_relative_to(out)]
    text = "".join(f"{file_sha256(f)}  {f.relative_to(out).as_posix()}\n" for f in inside)
    with replacing(out / NAME) as part:
        part.write_text(f"{text}{OWN}{_digest(text)}\n", encoding="utf-8")
    return out / NAME


def verify_results(out: Path) -> int:
    """Return the number of files of a run after comparing the checksum of each.

    Raises `StoreError` that names the files that are damaged or missing. Cost: reads every byte once.
    """
    path = out / NAME
    problems: list[Problem] = []
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        remedy = "name the --out folder of a finished run, or a store"
        raise StoreError(Problem(f"there is no {NAME}", file=str(out), remedy=remedy)) from None
    lines, found, own = text.rpartition(OWN)
    if not found or own != f"{_digest(lines)}\n":
        problems.append(Problem("damaged: it does not have its own checksum", file=str(path), remedy=REMEDY))
    count = 1
    for line in lines.splitlines():
        entry = _LINE.fullmatch(line)
        if entry is None:
            continue  # the file of checksums is damaged, which is said
        file = out / entry[2]
        count += 1
        if not file.is_file():
            problems.append(Problem("a result is missing", file=str(file), remedy=REMEDY))
        elif (actual := file_sha256(file)) != entry[1]:
            problems.append(Problem(f"damaged: sha256 {actual}, expected {entry[1]}", file=str(file), remedy=REMEDY))
    if problems:
        raise StoreError(problems)
    return count


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
