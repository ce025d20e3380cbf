"""The declared layout of a store: which arrays there are, their dimensions, types, chunks and shards.

::

    /                     attributes: format, format_version, fingerprint, model, layout, inputs, checksums
    records/              row, pattern, value.<k>, covariate.<column>, code.<column> with table.<column>, weight,
                          class.<column>, related.<column>.<name>: see `record_layout`
    levels/<column>/      id
    pedigree/<name>/      id, row, sire, dam, generation, inbreeding, mendelian_variance; if there are any: groups,
                          group_fraction, loading_indptr, loading_parent, loading_weight
    matrix/<name>/        id, diagonal, indptr, indices, data
    sigma/<variance>/     table, record, level.<column>: see `ingest.own_sigmas`

Names of users are percent-encoded where they hold anything but letters, digits, ``_`` and ``-``. A text id is a row of
UTF-8 bytes padded with zeros. Chunk and shard sizes depend on the number of rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from henderson.store.model_data import Labels

FORMAT = "henderson-store"
FORMAT_VERSION = 2

CHUNK_ROWS = 1 << 17  # read and decoded at once
SHARD_ROWS = 1 << 20  # one file, one writer
MIN_ROWS = 1 << 10

REMEDY = "delete it and run `henderson ingest` again"  # for a store that cannot be read


@dataclass(frozen=True)
class ArraySchema:
    """One array: where it is, its dimension names, shape, type, and what is said about it."""

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Return the shape of a chunk: whole rows."""
        return (min(CHUNK_ROWS, rows_rounded(self.shape[0])), *self.shape[1:])

    @property
    def shards(self) -> tuple[int, ...]:
        """Return the shape of a shard: whole chunks."""
        return (shard_rows(self.shape[0]), *self.shape[1:])

    @property
    def n_shards(self) -> int:
        """Return the number of files that hold the array."""
        return -(-self.shape[0] // self.shards[0])

    @property
    def nbytes(self) -> int:
        """Return the bytes of the array in memory."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class RecordColumns:
    """The columns of the group ``records`` in the order of the model.

    `related` pairs a column with what relates its ids.
    """

    responses: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    weights: str | None = None
    classes: tuple[str, ...] = ()
    related: tuple[tuple[str, str], ...] = ()


def shard_rows(n: int) -> int:
    """Return the rows of a shard of an array of `n` rows."""
    return min(SHARD_ROWS, rows_rounded(n))


def rows_rounded(n: int) -> int:
    """Return the power of two, at least MIN_ROWS, that is not below `n`."""
    return max(MIN_ROWS, 1 << max(0, n - 1).bit_length())


def safe(name: str) -> str:
    """Return a name of the user as it stands in paths of the store."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def records_path(role: str, *names: str) -> str:
    """Return the path of an array of records, e.g. ``records/response.milk``."""
    return "records/" + ".".join([role, *(safe(n) for n in names)])


def group_path(kind: str, name: str) -> str:
    """Return the path of a group of levels, a pedigree or a matrix."""
    return f"{kind}/{safe(name)}"


def level_path(group: str, column: str) -> str:
    """Return the path of what a group ``sigma/<variance>`` holds of the levels of a column."""
    return f"{group}/level.{safe(column)}"


def labels_schema(path: str, dim: str, labels: Labels) -> ArraySchema:
    """Return the declaration of the ids of a group."""
    values: NDArray[Any] = labels.values
    if labels.is_integer:
        return ArraySchema(path, (dim,), values.shape, "int64", {"role": "id", "encoding": "integer"})
    return ArraySchema(
        path, (dim, "id_byte"), values.shape, "uint8", {"role": "id", "encoding": "utf-8, padded with zeros"}
    )


def wip_of(store: Path) -> Path:
    """Return the folder where a store grows before it is moved into place."""
    return store.with_name(store.name + ".wip")
