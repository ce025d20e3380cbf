"""What the equations need of a store, as plain arrays: the contract between ingest and everything below it.

Animals are in *store order*: relatives and herd mates near each other, so parents need not precede progeny;
`generation` gives the topological order (a parent's is smaller than its progeny's). Records are sorted by animal, then
by row of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

UNKNOWN = -1  # an empty or NA value of a class or id column, an unknown parent
ZERO = -2  # the value 0 in a related column: unknown to the pedigree, an ordinary level to an identity factor


@dataclass(frozen=True)
class Labels:
    """The user's own names of levels.

    `values` is int64 (n,) for integer columns, or uint8 (n, width): UTF-8, padded with zeros. Where no process has
    all labels it is an object that is indexed like that array: `stored_array.StoredArray`, or `KnownRows`.
    """

    values: NDArray[np.int64] | NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_integer(self) -> bool:
        """Return whether the ids are integers."""
        return self.values.ndim == 1

    def text(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Return the labels start..stop as text. Cost: one Python string each, so ask for blocks."""
        block = self.values[start:stop]
        if block.ndim == 1:
            return [str(v) for v in block.tolist()]
        width = block.shape[1]
        if width == 0:
            return [""] * len(block)
        return [v.decode("utf-8") for v in np.ascontiguousarray(block).view(f"S{width}").ravel().tolist()]

    def take(self, indices: NDArray[np.integer]) -> Labels:
        """Return the labels at `indices`."""
        return Labels(self.values[indices])

    @classmethod
    def from_text(cls, labels: list[str]) -> Labels:
        """Return text labels packed as padded UTF-8."""
        raw = np.array([s.encode("utf-8") for s in labels], dtype=np.bytes_)
        width = raw.dtype.itemsize if labels else 1
        return cls(raw.view(np.uint8).reshape(len(labels), width))


class KnownRows:
    """Some rows of an array of `n` rows that is nowhere whole: it is indexed like that array, where rows are known.

    at: int64, the known rows, ascending; rows: their values. Any other row raises IndexError.
    """

    def __init__(self, n: int, at: NDArray[np.int64], rows: NDArray[Any]) -> None:
        self.shape: tuple[int, ...] = (n, *rows.shape[1:])
        self.dtype = rows.dtype
        self.ndim = rows.ndim
        self._at = at
        self._rows = rows

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.integer[Any]]) -> NDArray[Any]:
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows, np.int64)
        place = np.searchsorted(self._at, wanted)
        known = place < len(self._at)
        known[known] = self._at[place[known]] == wanted[known]
        if not known.all():
            raise IndexError(f"row {int(wanted[~known][0])} of {len(self)} is not known to this process")
        found: NDArray[Any] = self._rows[place]
        return found


@dataclass(frozen=True)
class Loadings:
    """Parents with weights of their own, as compressed rows over the animals of a pedigree or of a slice of it.

    indptr: int64 (n + 1,); parent: int32 store index; weight: float64, what T^-1 has at the parent, without its sign.
    """

    indptr: NDArray[np.int64]
    parent: NDArray[np.int32]
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Pedigree:
    """A checked pedigree in store order; all arrays have shape (n_animals,).

    Of a slice `start` is its first animal, and the arrays have the rows of the slice, but the labels are those of all.

    groups: the animals that stand for groups (phantom parents, metafounders), in the order of the file, int64
    (n_groups,), of a slice too; group_fraction: Q of all animals, float64 (n_animals, n_groups), where the model needs
    it; loadings: animals that have entries there have sire and dam -1, and all their parents in it.

    sire, dam: int32 store index or -1; generation: int32, 0 for founders, else 1 + the larger of the parents';
    inbreeding: float64 F; mendelian_variance: float64 d_i of A^-1 = (T^-1)' D^-1 T^-1, in units of the additive
    variance.
    """

    name: str
    labels: Labels
    sire: NDArray[np.int32]
    dam: NDArray[np.int32]
    generation: NDArray[np.int32]
    inbreeding: NDArray[np.float64]
    mendelian_variance: NDArray[np.float64]
    row: NDArray[np.int64] | None = None  # row of the pedigree file, counted from 0; results are written in this order
    start: int = 0
    groups: NDArray[np.int64] | None = None
    group_fraction: NDArray[np.float64] | None = None  # or an object that is indexed like it
    loadings: Loadings | None = None

    def __len__(self) -> int:
        return len(self.sire)


@dataclass(frozen=True)
class RelationshipMatrix:
    """A user relationship matrix K: its inverse (CSR, n by n, symmetric, both triangles) and its diagonal.

    Of a slice `start` is the first individual, inverse and diagonal have its rows (and n columns), labels are of all.
    """

    name: str
    labels: Labels
    inverse: csr_array
    diagonal: NDArray[np.float64]
    start: int = 0

    def __len__(self) -> int:
        return len(self.diagonal)


@dataclass(frozen=True)
class Records:
    """The columns that the model uses, in store order; every array has shape (n_records,).

    responses: float64 by trait, NaN where missing; covariates: float64 by column, NaN where missing; both may be
    `store.columns`, which are indexed like arrays;
    classes: int32 codes by column into `ModelData.levels`, -1 where empty or NA;
    related: int32 index by (column, pedigree or matrix name), `UNKNOWN` or `ZERO` where there is none;
    row: int64 row of the file(s), counted from 0 over all files; weights: float64 or None.
    """

    row: NDArray[np.int64]
    responses: Mapping[str, NDArray[np.float64]]
    covariates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    classes: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    related: Mapping[tuple[str, str], NDArray[np.int32]] = field(default_factory=dict)
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class StoredSigmas:
    """Which Sigma the levels of a variance, or the records at hand, have: numbers, -1 for the one all others have.

    table: Sigma of each number, float64 (n, width**2), row by row, NaN for traits not observed; None: numbers
    are levels of a class column. of_level: by column int32 (n_levels + 1,), the last that of the further level ``0``;
    of_record: int32 (n_records,). table and of_level may be objects that are indexed like arrays.
    """

    table: NDArray[np.float64] | None
    of_level: Mapping[str, NDArray[np.int32]]
    of_record: NDArray[np.int32] | None = None


@dataclass(frozen=True)
class ModelData:
    """Everything the equations read.

    A class column that is also related has no entry in `classes` and `levels`: its codes are those in `related` (labels
    of the pedigree or matrix; `ZERO` is the further level ``0``).
    """

    records: Records
    levels: Mapping[str, Labels] = field(default_factory=dict)
    pedigrees: Mapping[str, Pedigree] = field(default_factory=dict)
    matrices: Mapping[str, RelationshipMatrix] = field(default_factory=dict)
    sigmas: Mapping[str, StoredSigmas] = field(default_factory=dict)

    def without_records(self) -> ModelData:
        """Return the data without any record."""
        return replace(self, records=Records(np.empty(0, np.int64), {}))
