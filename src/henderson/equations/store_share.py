"""The slice of a store that one process reads: where it is cut, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from henderson.errors import StoreError
from henderson.partitions.agree import agreed
from henderson.partitions.communicator import Communicator
from henderson.partitions.cut import cut_at
from henderson.partitions.threads import even_bounds
from henderson.store.model_data import ModelData
from henderson.store.reader import missing_files
from henderson.store.slices import StoreParts

Bounds = dict[str, Sequence[int]]  # of every pedigree and matrix: where its individuals are cut


def share_of_store(path: Path, communicator: Communicator) -> tuple[ModelData, Bounds]:
    """Return the records and individuals of this process, and how the individuals of all are cut. **Collective**.

    Records are sorted by their first related column and cut with its individuals, as `partitions.cut.cut_with_home`
    does; those of other pedigrees and matrices, and records that are related to nothing, are cut evenly.

    Raises
    ------
    StoreError
        On all processes alike, if one cannot read its slice.

    """
    rank, size = communicator.rank, communicator.size
    parts, cut = agreed(communicator, lambda: _first_cut(path, rank, size))
    sizes = parts.sizes()
    levels, records = zip(*communicator.gather_all(cut), strict=True)
    bounds: Bounds = {name: even_bounds(n, size) for name, n in sizes.items()}
    if parts.columns.related:
        home = parts.columns.related[0][1]
        bounds[home] = [*levels, sizes[home]]
    ends = [*records, parts.n_records]
    mine = {name: (b[rank], b[rank + 1]) for name, b in bounds.items()}

    return agreed(communicator, lambda: parts.read((ends[rank], ends[rank + 1]), mine)), bounds


def _first_cut(path: Path, rank: int, size: int) -> tuple[StoreParts, tuple[int, int]]:
    """Return the store, and where the individuals and records of this process begin.

    Of all files, which must be there, each process looks after its share.
    """
    parts = StoreParts(path)
    if missing := missing_files(path, parts.files[rank::size]):
        raise StoreError(missing)
    n_records, home = parts.n_records, parts.home()
    if home is None:
        return parts, (0, even_bounds(n_records, size)[rank])
    if rank == 0:
        return parts, (0, 0)
    n_levels = parts.sizes()[parts.columns.related[0][1]]
    return parts, cut_at(rank, size, n_levels, n_records, home.first_not_below)
