"""Files that all ranks write at once, and that a reader never sees half of."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from henderson.partitions.communicator import Communicator
from henderson.results.files import remove


class SharedFile:
    """A file to which all ranks append at once, each its part, in the order of the ranks."""

    def __init__(self, path: Path, communicator: Communicator) -> None:
        self._communicator = communicator
        self._descriptor = os.open(path, os.O_WRONLY)
        self._end = 0

    def append(self, text: memoryview) -> None:
        """Write the parts of all ranks behind what is there. **Collective**."""
        lengths = self._communicator.gather_all(len(text))
        at = self._end + sum(lengths[: self._communicator.rank])
        while len(text):
            written = os.pwrite(self._descriptor, text, at)
            text, at = text[written:], at + written
        self._end += sum(lengths)

    def close(self) -> None:
        """Bring what was written to the disk."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


@contextlib.contextmanager
def replacing_together(path: Path, communicator: Communicator, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path that all ranks see: an empty file or folder; it replaces `path` at the end of the block.

    **Collective**. A rank that fails in the block leaves the temporary path behind, as the others may be writing.
    """
    name = communicator.broadcast(f".{path.name}.{os.getpid()}.part" if communicator.rank == 0 else None)
    temporary = path.with_name(name)
    if communicator.rank == 0:
        remove(temporary)
        temporary.mkdir() if folder else temporary.touch()
    communicator.barrier()
    yield temporary
    communicator.barrier()
    if communicator.rank == 0:
        aside = path.with_name(f"{name}.old")
        if path.is_dir():
            path.rename(aside)
        elif folder:
            path.unlink(missing_ok=True)
        temporary.replace(path)
        shutil.rmtree(aside, ignore_errors=True)
    communicator.barrier()
