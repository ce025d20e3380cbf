"""From a store to `ModelData`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from henderson.errors import Problem, StoreError
from henderson.store.checksums import file_checksum, own_problem
from henderson.store.model_data import Labels, Loadings, ModelData, Pedigree, Records, RelationshipMatrix, StoredSigmas
from henderson.store.record_arrays import RecordArrays
from henderson.store.schema import FORMAT, FORMAT_VERSION, REMEDY, group_path, level_path, wip_of
from henderson.store.shards import ShardedArray
from henderson.store.stored_array import StoredArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

Read = Callable[[str], "NDArray[Any]"]

LOADINGS = ("loading_indptr", "loading_parent", "loading_weight")


def may_be_replaced(path: Path) -> bool:
    """Return whether nothing but a store, whole or damaged, is at `path`, or nothing at all."""
    if not path.exists():
        return True
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return True
    if "zarr.json" not in names or not names <= {"zarr.json", "records", "levels", "pedigree", "matrix", "sigma"}:
        return False
    try:
        return bool(json.loads((path / "zarr.json").read_bytes())["attributes"]["format"] == FORMAT)
    except ValueError:
        return True  # damaged
    except (KeyError, TypeError):
        return False


def store_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a complete store of this format version.

    Raises `StoreError`: no store, one that is not finished, of another format, or unreadable.
    """
    if not path.exists():
        unfinished = wip_of(path).exists()
        raise StoreError(
            Problem(
                "the store is not finished" if unfinished else "there is no store",
                file=str(path),
                remedy="run `henderson ingest` " + ("again: it goes on where it stopped" if unfinished else "first"),
            )
        )
    try:
        attributes = _root_attributes(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(Problem(f"not a readable store ({error})", file=str(path), remedy=REMEDY)) from error
    if attributes.get("format") != FORMAT:
        raise StoreError(
            Problem(f"not a store: its format is {attributes.get('format')!r}, not {FORMAT!r}", file=str(path))
        )
    if attributes.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            Problem(
                f"the store has format version {attributes.get('format_version')}, this program reads {FORMAT_VERSION}",
                file=str(path),
                remedy=REMEDY,
            )
        )
    return attributes


def _root_attributes(path: Path) -> dict[str, Any]:
    group = json.loads((path / "zarr.json").read_bytes())
    if group["node_type"] != "group":
        raise ValueError(f"its root is no group, but {group['node_type']!r}")
    return dict(group["attributes"])


def verify_store(path: Path) -> int:
    """Return the number of files of the store after comparing the checksum of each.

    Raises `StoreError` that names the files that are damaged, missing or not declared. Cost: reads every byte once.
    """
    root = path / "zarr.json"
    if root.is_file() and (wrong := own_problem(root)) is not None:  # what it says of the others cannot be trusted then
        raise StoreError(Problem(wrong, file=str(root), remedy=REMEDY))
    declared: dict[str, str] = store_attributes(path)["checksums"]
    problems = []
    for name, expected in declared.items():
        file = path / name
        if not file.is_file():
            problems.append(Problem("a file of the store is missing", file=str(file), remedy=REMEDY))
        elif (found := file_checksum(file)) != expected:
            problems.append(Problem(f"damaged: checksum {found}, expected {expected}", file=str(file), remedy=REMEDY))
    found_files = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {"zarr.json"}
    for name in sorted(found_files - declared.keys()):
        problems.append(Problem("not a file of the store", file=str(path / name), remedy="remove it"))
    if problems:
        raise StoreError(problems)
    return len(declared) + 1


def missing_files(path: Path, names: Iterable[str]) -> list[Problem]:
    """Return a problem for each of the files `names` that is not in the store: zarr would read zeros in its place."""
    missing = [path / name for name in names if not (path / name).is_file()]
    return [Problem("a file of the store is missing", file=str(f), remedy=REMEDY) for f in missing]


def open_store(path: Path, *, verify: bool = False, threads: int | None = None) -> ModelData:
    """Return everything the equations need of the store at `path`, in memory.

    All files must be there: zarr would read zeros in the place of one that is not. With `verify`, their checksums are
    compared first; without, the decoder compares those of the chunks. Shards are decoded by `threads` threads (default:
    the cores) into arrays of their final size.

    Raises `StoreError`: see `store_attributes` and `verify_store`; also if an array cannot be decoded.
    """
    attributes = store_attributes(path)
    if verify:
        verify_store(path)
    elif missing := missing_files(path, attributes["checksums"]):
        raise StoreError(missing)
    try:
        with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
            arrays = RecordArrays(path, attributes)
            return _read(
                arrays.records(0, arrays.n_records, pool),
                attributes["model"],
                lambda name: ShardedArray(path, name).read(pool),
                lambda name: StoredArray(path, name),
            )
    except StoreError:
        raise
    except Exception as error:  # codecs, metadata and files each raise their own kinds
        raise StoreError(Problem(f"the store cannot be read ({error})", file=str(path), remedy=REMEDY)) from error


def pedigree_extras(model: dict[str, Any], name: str) -> tuple[str, ...]:
    """Return the arrays that only some pedigrees have, from the attribute ``model``."""
    return tuple(model.get("pedigree_extras", {}).get(name, ()))


def _read(records: Records, model: dict[str, Any], read: Read, lazily: Callable[[str], Any]) -> ModelData:
    return ModelData(
        records=records,
        levels={c: Labels(read(group_path("levels", c) + "/id")) for c in model["classes"]},
        pedigrees={name: _pedigree(name, pedigree_extras(model, name), read, lazily) for name in model["pedigrees"]},
        matrices={name: _matrix(name, read) for name in model["matrices"]},
        sigmas=read_sigmas(model, read, read),
    )


def read_sigmas(model: dict[str, Any], array: Callable[[str], Any], of_records: Read) -> dict[str, StoredSigmas]:
    """Return the Sigmas of levels and records; `array` gives whole arrays, or what is indexed like them."""
    found = {}
    for name, about in model.get("sigmas", {}).items():
        group = group_path("sigma", name)
        found[name] = StoredSigmas(
            array(f"{group}/table") if about["table"] else None,
            {column: array(level_path(group, column)) for column in about["columns"]},
            None if about["columns"] else of_records(f"{group}/record"),
        )
    return found


def _pedigree(name: str, extras: tuple[str, ...], read: Read, lazily: Callable[[str], Any]) -> Pedigree:
    group = group_path("pedigree", name)
    loadings = [f"{group}/{array}" for array in LOADINGS]
    return Pedigree(
        name=name,
        labels=Labels(read(f"{group}/id")),
        row=read(f"{group}/row"),
        sire=read(f"{group}/sire"),
        dam=read(f"{group}/dam"),
        generation=read(f"{group}/generation"),
        inbreeding=read(f"{group}/inbreeding"),
        mendelian_variance=read(f"{group}/mendelian_variance"),
        groups=read(f"{group}/groups") if "groups" in extras else None,
        group_fraction=lazily(f"{group}/group_fraction") if "group_fraction" in extras else None,
        loadings=Loadings(*(read(path) for path in loadings)) if LOADINGS[0] in extras else None,
    )


def _matrix(name: str, read: Read) -> RelationshipMatrix:
    from scipy.sparse import csr_array

    group = group_path("matrix", name)
    diagonal = read(f"{group}/diagonal")
    parts = (read(f"{group}/data"), read(f"{group}/indices"), read(f"{group}/indptr"))
    return RelationshipMatrix(
        name=name,
        labels=Labels(read(f"{group}/id")),
        inverse=csr_array(parts, shape=(len(diagonal), len(diagonal))),
        diagonal=diagonal,
    )
