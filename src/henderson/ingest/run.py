"""Files to store: the stages in order, restartable at any moment.

Everything grows in ``<store>.wip``: ``plan.json`` (of what inputs), the parts of the stages (each written whole or
not at all, none made twice), ``store`` (the store itself). The last step moves ``store`` into its place. Running
again goes on where it stopped; if the inputs have changed meanwhile, it starts anew.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from henderson.errors import HendersonError, InputFileError, Problem, StoreError
from henderson.ingest.cluster import Cluster
from henderson.ingest.memory import workers_within
from henderson.ingest.plan import Plan, make_plan
from henderson.language.spec import ModelSpec
from henderson.store.reader import may_be_replaced, store_attributes
from henderson.store.schema import wip_of

EDITS = "edits.csv"
BLOCK_BYTES = 8 << 20  # arrays of a block stay below the size that is returned to the system at once

Progress = Callable[[str, int, int], None]


def ingest(
    spec: ModelSpec,
    store: Path,
    *,
    workers: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    memory: int | None = None,
    progress: Progress | None = None,
    cluster: Cluster | None = None,
) -> None:
    """Read, check, recode, order and write the files of a model as the store at `store`.

    Returns at once if the store is complete and of the same inputs. Its content does not depend on `workers` (default:
    the cores), `block_bytes` or `memory`. At most `workers` blocks are in memory, about ten times `block_bytes` each,
    besides the tables of the animals; fewer where they would take more than `memory` bytes together: see
    `ingest.memory`. `progress` is told (stage, done, total). With a `cluster` its workers run the tasks, and the same
    store comes of it.

    Raises `InputFileError` for what is wrong in the files, `ModelError` for columns they do not have, `StoreError` if
    another process is making the same store, or if `store` is a folder of something else, `ResourceError` if one worker
    would take more than `memory`, or if the workers of the cluster are lost.
    """
    from henderson.ingest.tasks import on_cluster

    store = Path(store)
    plan = make_plan(spec, block_bytes)
    wip = wip_of(store)
    if is_current(store, plan.fingerprint) and not wip.exists():
        return
    _refuse_other_folders(store, wip)
    workers = workers or len(os.sched_getaffinity(0))
    if memory is not None and cluster is None:
        workers = workers_within(plan, workers, memory)
    wip.mkdir(parents=True, exist_ok=True)
    with _lean_memory(), _locked(wip):
        if not is_current(store, plan.fingerprint):
            plan = _resumed(plan, wip)
            try:
                with on_cluster(cluster):
                    _make(plan, wip, workers, progress)
            except InputFileError:
                shutil.rmtree(wip)  # files that are mended are other inputs: nothing here can be used again
                raise
            _publish_edits(wip / EDITS, edits_file(store))
            _publish(wip / "store", store, wip / "replaced")
        shutil.rmtree(wip)


@contextmanager
def _lean_memory() -> Iterator[None]:
    """Let Arrow take memory from the C library, and have that return all of it at the end: what follows may need it."""
    import pyarrow as pa

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
        with suppress(OSError, AttributeError):  # the C library is not glibc
            ctypes.CDLL(None).malloc_trim(0)


def _refuse_other_folders(store: Path, wip: Path) -> None:
    """Raise `StoreError` if making the store would delete what no ingest has written."""
    others = [] if may_be_replaced(store) else [store]
    if wip.exists() and not (wip / "lock").exists() and any(wip.iterdir()):
        others.append(wip)
    if others:
        remedy = "nothing was changed; give another --store, or remove this folder if nothing in it is needed"
        raise StoreError([Problem("exists and is not a store", file=str(path), remedy=remedy) for path in others])


def is_current(store: Path, fingerprint: str) -> bool:
    """Return whether a complete store of these inputs is at `store`."""
    try:
        return bool(store_attributes(store).get("fingerprint") == fingerprint)
    except HendersonError:
        return False


def _make(plan: Plan, wip: Path, workers: int, progress: Progress | None) -> None:
    from henderson.ingest import finish
    from henderson.ingest.own_sigmas import read_sigma_files
    from henderson.ingest.parent_ages import check_parents
    from henderson.ingest.parts import is_whole
    from henderson.ingest.stages import Ingest

    if is_whole(wip / "sealed"):
        return
    run = Ingest(plan, wip, workers, progress)
    run.read_relations()
    check_parents(run)
    read_sigma_files(run)
    reports = run.read_records()
    n_levels = run.merge_levels(reports)
    run.order_individuals(n_levels)
    finish.create_groups(plan, run.store)
    layout = run.sort_records(reports)
    finish.write_groups(run)
    finish.seal(run, layout, sum(r.n_kept for r in reports))


def _resumed(plan: Plan, wip: Path) -> Plan:
    """Return the plan with the blocks of the interrupted run, if that was of the same inputs; else clear its traces."""
    file = wip / "plan.json"
    try:
        old = json.loads(file.read_text())
        if old["fingerprint"] == plan.fingerprint:
            return replace(plan, block_bytes=int(old["block_bytes"]))
    except (OSError, ValueError, KeyError):
        pass
    for path in wip.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
    temporary = wip / "plan.json.tmp"
    temporary.write_text(json.dumps({"fingerprint": plan.fingerprint, "block_bytes": plan.block_bytes}))
    os.replace(temporary, file)
    return plan


def _publish(made: Path, store: Path, aside: Path) -> None:
    """Move a sealed store into place; one that is there is moved aside first."""
    from henderson.ingest.parts import sync_folder

    if store.exists():
        if aside.exists():
            shutil.rmtree(aside)
        os.rename(store, aside)
    os.rename(made, store)
    sync_folder(store.parent)


def edits_file(store: Path) -> Path:
    """Return where the log of edits of a store is: beside it."""
    return store.with_name(f"{store.stem}.{EDITS}")


def _publish_edits(made: Path, place: Path) -> None:
    """Move the log of edits into place, or remove that of an earlier store if there are no checks."""
    if made.exists():
        os.replace(made, place)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def _locked(wip: Path) -> Iterator[None]:
    with (wip / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            remedy = "wait for it, or give another --store"
            raise StoreError(Problem("another process is making this store", file=str(wip), remedy=remedy)) from error
        yield
