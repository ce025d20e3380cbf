"""Slices of a store: what one of several processes reads of it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from henderson.store.model_data import Labels, Loadings, ModelData, Pedigree, RelationshipMatrix
from henderson.store.reader import LOADINGS, pedigree_extras, read_sigmas, store_attributes
from henderson.store.record_arrays import RecordArrays
from henderson.store.schema import group_path, records_path
from henderson.store.stored_array import StoredArray

if TYPE_CHECKING:
    from numpy.typing import NDArray


Range = tuple[int, int]


class StoreParts:
    """The arrays of a complete store, none of them read yet. Raises `StoreError`: see `store_attributes`."""

    def __init__(self, path: Path) -> None:
        attributes = store_attributes(path)
        self.path = path
        self.files: tuple[str, ...] = tuple(attributes["checksums"])
        self.records = RecordArrays(path, attributes)
        self.columns = self.records.columns
        self.pedigrees: tuple[str, ...] = tuple(attributes["model"]["pedigrees"])
        self.matrices: tuple[str, ...] = tuple(attributes["model"]["matrices"])
        self.model = attributes["model"]
        self._extras = {name: pedigree_extras(attributes["model"], name) for name in self.pedigrees}

    @property
    def sigma_tables(self) -> tuple[str, ...]:
        """Return the variances with a file of Sigmas."""
        return tuple(name for name, about in self.model.get("sigmas", {}).items() if about["table"])

    @property
    def n_records(self) -> int:
        """Return the number of records."""
        return self.records.n_records

    def array(self, path: str) -> StoredArray:
        """Return an array that is read where it is indexed."""
        return StoredArray(self.path, path)

    def length(self, group: str, name: str) -> int:
        """Return the number of rows of array `name` of `group`."""
        return len(self.array(f"{group}/{name}"))

    def has_groups(self, pedigree: str) -> bool:
        """Return whether animals of a pedigree stand for groups."""
        return "groups" in self._extras[pedigree]

    def has_loadings(self, pedigree: str) -> bool:
        """Return whether animals of a pedigree have parents with weights of their own."""
        return LOADINGS[0] in self._extras[pedigree]

    def sizes(self) -> dict[str, int]:
        """Return the number of individuals by pedigree and matrix."""
        found = {name: self.length(group_path("pedigree", name), "id") for name in self.pedigrees}
        return found | {name: self.length(group_path("matrix", name), "id") for name in self.matrices}

    def home(self) -> StoredArray | None:
        """Return the column along which the records are sorted, None if they are not: the first related one."""
        return self.array(records_path("related", *self.columns.related[0])) if self.columns.related else None

    def labels(self, group: str) -> Labels:
        """Return the labels of a group, read where they are asked for."""
        return Labels(cast("NDArray[Any]", self.array(f"{group}/id")))

    def read(self, records: Range, individuals: Mapping[str, Range]) -> ModelData:
        """Return the `records`, and of every pedigree and matrix its `individuals`; labels are read when asked for.

        Indices of individuals are those of the whole store. Memory: what is returned and one shard.
        """
        with ThreadPoolExecutor(1) as pool:
            own = self.records.records(*records, pool)
        return ModelData(
            own,
            levels={c: self.labels(group_path("levels", c)) for c in self.columns.classes},
            pedigrees={name: self._pedigree(name, *individuals[name]) for name in self.pedigrees},
            matrices={name: self._matrix(name, *individuals[name]) for name in self.matrices},
            sigmas=read_sigmas(self.model, self.array, lambda path: self.array(path)[slice(*records)]),
        )

    def _pedigree(self, name: str, lo: int, hi: int) -> Pedigree:
        group = group_path("pedigree", name)
        columns = ("sire", "dam", "generation", "inbreeding", "mendelian_variance", "row")
        arrays = {c: self.array(f"{group}/{c}")[lo:hi] for c in columns}
        extras = self._extras[name]
        return Pedigree(
            name=name,
            labels=self.labels(group),
            start=lo,
            groups=self.array(f"{group}/groups")[:] if "groups" in extras else None,
            group_fraction=cast("NDArray[Any]", self.array(f"{group}/group_fraction"))
            if "group_fraction" in extras
            else None,
            loadings=self._loadings(group, lo, hi) if LOADINGS[0] in extras else None,
            **arrays,
        )

    def _loadings(self, group: str, lo: int, hi: int) -> Loadings:
        indptr, parent, weight = (self.array(f"{group}/{name}") for name in LOADINGS)
        start = indptr[lo : hi + 1]
        entries = slice(int(start[0]), int(start[-1]))
        return Loadings(start - start[0], parent[entries], weight[entries])

    def _matrix(self, name: str, lo: int, hi: int) -> RelationshipMatrix:
        from scipy.sparse import csr_array

        group = group_path("matrix", name)
        indptr = self.array(f"{group}/indptr")[lo : hi + 1]
        first, last = int(indptr[0]), int(indptr[-1])
        parts = (self.array(f"{group}/data")[first:last], self.array(f"{group}/indices")[first:last], indptr - first)
        return RelationshipMatrix(
            name=name,
            labels=self.labels(group),
            inverse=csr_array(parts, shape=(hi - lo, self.length(group, "id"))),
            diagonal=self.array(f"{group}/diagonal")[lo:hi],
            start=lo,
        )
