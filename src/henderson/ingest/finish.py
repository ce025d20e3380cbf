"""The last stage: pedigrees, matrices and levels into the store, checksums, and the store into its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from henderson.ingest.levels import read_levels
from henderson.ingest.own_sigmas import sigma_attributes, write_sigmas
from henderson.ingest.parts import is_whole, map_part, sync_file, sync_folder, write_part
from henderson.ingest.pedigree_file import load_pedigree
from henderson.ingest.plan import Plan
from henderson.ingest.stages import Ingest
from henderson.ingest.tasks import run_tasks
from henderson.store import zarr_io
from henderson.store.checksums import store_checksums
from henderson.store.model_data import Labels, Pedigree
from henderson.store.reader import LOADINGS
from henderson.store.record_layout import RecordLayout
from henderson.store.schema import FORMAT, FORMAT_VERSION, ArraySchema, group_path, labels_schema, safe

EXAMINED_BYTES = 2 << 30  # of Q, up to which it is kept to see whether fixed groups in A can be estimated


def groups_of(plan: Plan) -> list[str]:
    """Return the groups of the store that hold arrays."""
    return [
        "records",
        *(group_path("levels", c) for c in plan.roles.columns.classes),
        *(group_path("pedigree", p.name) for p, _ in plan.pedigrees),
        *(group_path("matrix", m.name) for m, _ in plan.matrices),
        *(group_path("sigma", own.variance) for own in plan.roles.own_sigmas),
    ]


def create_groups(plan: Plan, store: Path) -> None:
    """Create the groups of an empty store."""
    groups = groups_of(plan)
    parents = dict.fromkeys(g.split("/")[0] for g in groups)
    zarr_io.create_groups(store, [*parents, *(g for g in groups if "/" in g)])


def write_groups(ingest: Ingest) -> None:
    """Write everything but the records, several groups at a time."""
    plan = ingest.plan
    work: list[tuple[Any, ...]] = [(_write_pedigree, ingest, p.name) for p, _ in plan.pedigrees]
    work += [(_write_matrix, ingest, m.name) for m, _ in plan.matrices]
    work += [(_write_levels, ingest, c, k) for k, c in enumerate(plan.roles.columns.classes)]
    todo = [(ingest.wip / "written" / f"{i:04d}", *job) for i, job in enumerate(work)]
    run_tasks("write", _once, todo, min(2, ingest.workers), ingest.progress)
    write_sigmas(ingest)


def seal(ingest: Ingest, layout: RecordLayout, n_records: int) -> None:
    """Compute the checksums, declare the store complete, and flush it to disk."""
    plan, store = ingest.plan, ingest.store
    columns = plan.roles.columns
    _remove_strays(store)
    zarr_io.seal(store, groups_of(plan), {})
    attributes = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "fingerprint": plan.fingerprint,
        "model": {
            "responses": list(columns.responses),
            "covariates": list(columns.covariates),
            "weights": columns.weights,
            "classes": list(columns.classes),
            "related": [list(pair) for pair in columns.related],
            "pedigrees": [p.name for p, _ in plan.pedigrees],
            "matrices": [m.name for m, _ in plan.matrices],
            "pedigree_extras": {p.name: _extras(ingest, p.name) for p, _ in plan.pedigrees},
            "sigmas": sigma_attributes(ingest),
        },
        "layout": layout.as_json(),
        "n_records": n_records,
        "inputs": [{"file": s.shown, "bytes": s.size} for s in plan.sources],
        "checksums": store_checksums(store),
    }
    zarr_io.seal(store, [], attributes)
    for path in sorted(store.rglob("zarr.json")):
        sync_file(path)
    for path in sorted(p for p in store.rglob("*") if p.is_dir()):
        sync_folder(path)
    sync_folder(store)
    write_part(ingest.wip / "sealed", {})


def _once(done: Path, write: Any, *arguments: Any) -> None:
    if not is_whole(done):
        write(*arguments)
        write_part(done, {})


def _write(store: Path, schema: ArraySchema, values: Any) -> None:
    zarr_io.write_whole(store, schema, values)
    for shard in range(schema.n_shards):
        sync_file(zarr_io.shard_file(store, schema, shard))


def _write_pedigree(ingest: Ingest, name: str) -> None:
    from henderson.pedigree.order import permute

    order = map_part(ingest.order_part(name), ["order"])["order"]
    pedigree = permute(load_pedigree(name, ingest.pedigree_folder(name)), order)
    group = group_path("pedigree", name)
    n = len(pedigree)
    _write(ingest.store, labels_schema(f"{group}/id", "animal", pedigree.labels), pedigree.labels.values)
    pedigree = replace(pedigree, row=np.asarray(order, dtype=np.int64))
    meanings = {
        "row": "row of the file, from 0; parents that were added stand behind",
        "sire": "row of the sire, -1 unknown",
        "dam": "row of the dam, -1 unknown",
        "generation": "0 for founders, else 1 + the larger of the parents'",
        "inbreeding": "coefficient of inbreeding F",
        "mendelian_variance": "d of A^-1 = (T^-1)' D^-1 T^-1, in units of the additive variance",
    }
    for array, meaning in meanings.items():
        values = getattr(pedigree, array)
        _write(
            ingest.store,
            ArraySchema(f"{group}/{array}", ("animal",), (n,), str(values.dtype), {"role": meaning}),
            values,
        )
    _write_extras(ingest, pedigree, group)


def _extras(ingest: Ingest, name: str) -> list[str]:
    """Return the arrays that only some pedigrees have: the last of a pedigree to be written, so that all are there."""
    group = ingest.store / group_path("pedigree", name)
    return [array for array in ("groups", "group_fraction", *LOADINGS) if (group / array).is_dir()]


def _write_extras(ingest: Ingest, pedigree: Pedigree, group: str) -> None:
    """Write the groups of a pedigree, the parents that are no half, and the matrix Q where the model needs it."""
    arrays: dict[str, tuple[str, str, Any]] = {}
    if pedigree.groups is not None:
        arrays["groups"] = (
            "group",
            "rows of the animals that stand for groups, in the order of the file",
            pedigree.groups,
        )
    if (own := pedigree.loadings) is not None:
        arrays[LOADINGS[0]] = ("animal_edge", "parents with weights of their own: where an animal's begin", own.indptr)
        arrays[LOADINGS[1]] = ("loading", "parents with weights of their own: their rows", own.parent)
        arrays[LOADINGS[2]] = ("loading", "parents with weights of their own: the weights", own.weight)
    from henderson.pedigree.groups import fractions

    spec = next(p for p, _ in ingest.plan.pedigrees if p.name == pedigree.name)
    roles = ingest.plan.roles
    shape = (len(pedigree), 0 if pedigree.groups is None else len(pedigree.groups))
    needed = spec.qfile is not None or pedigree.name in roles.grouped
    examined = pedigree.name in roles.absorbed and 8 * shape[0] * shape[1] <= EXAMINED_BYTES
    if shape[1] and (needed or examined):
        scratch = ingest.wip / f"Q-{safe(pedigree.name)}"
        Q: Any = np.memmap(scratch, np.float64, "w+", shape=shape)
        fractions(pedigree, Q)
        arrays["group_fraction"] = ("animal", "fraction of an animal's genes that each group has given", Q)
    for name, (dim, meaning, values) in arrays.items():
        dims = (dim, "group")[: values.ndim]
        schema = ArraySchema(f"{group}/{name}", dims, values.shape, str(values.dtype), {"role": meaning})
        _write(ingest.store, schema, values)


def _write_matrix(ingest: Ingest, name: str) -> None:
    part = map_part(ingest.matrix_part(name))
    group = group_path("matrix", name)
    labels = Labels(part["id"])
    _write(ingest.store, labels_schema(f"{group}/id", "individual", labels), labels.values)
    for array, dim, meaning in (
        ("diagonal", "individual", "diagonal of K"),
        ("indptr", "row_edge", "inverse of K, compressed rows: where each begins"),
        ("indices", "element", "inverse of K, compressed rows: column"),
        ("data", "element", "inverse of K, compressed rows: value"),
    ):
        values = part[array]
        _write(
            ingest.store,
            ArraySchema(f"{group}/{array}", (dim,), values.shape, str(values.dtype), {"role": meaning}),
            values,
        )


def _write_levels(ingest: Ingest, column: str, k: int) -> None:
    labels = read_levels(ingest.levels_part(k))
    schema = labels_schema(group_path("levels", column) + "/id", "level", labels)
    _write(ingest.store, schema, labels.values)


def _remove_strays(store: Path) -> None:
    """Remove what a killed writer left beside the files of the store."""
    for path in [p for p in store.rglob("*") if p.is_file()]:
        if path.name != "zarr.json" and not path.name.isdigit():
            path.unlink()
