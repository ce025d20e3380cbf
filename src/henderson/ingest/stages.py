"""The stages of an ingest between its plan and the sealed store, each a barrier; what a stage made is found again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from henderson.errors import InputFileError, Problem
from henderson.ingest.checks import checked_records
from henderson.ingest.compact import agree
from henderson.ingest.files import Block
from henderson.ingest.id_table import build_table, map_table, save_table, words_of_labels
from henderson.ingest.levels import merge_levels
from henderson.ingest.matrix_file import read_matrix
from henderson.ingest.missing_file import count_rows, read_missing
from henderson.ingest.parts import is_whole, map_part, sync_file, write_part
from henderson.ingest.pedigree_file import PedigreeFolder, load_pedigree, read_pedigree
from henderson.ingest.plan import Plan, unzipped
from henderson.ingest.records import BlockReport, RecordsTask, read_records
from henderson.ingest.shuffle import SortTask, count_records, deal_block, find_places, write_shard
from henderson.ingest.tasks import Progress, raise_problems, run_tasks, shift
from henderson.store import zarr_io
from henderson.store.record_layout import RecordLayout
from henderson.store.schema import safe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingest:
    """An ingest under way: its plan, the folder it works in, how many tasks at a time, and who is told."""

    plan: Plan
    wip: Path
    workers: int
    progress: Progress | None

    @property
    def store(self) -> Path:
        """Return the store that grows."""
        return self.wip / "store"

    def pedigree_folder(self, name: str) -> PedigreeFolder:
        """Return the parts of a pedigree."""
        return PedigreeFolder(self.wip / f"pedigree-{safe(name)}")

    def matrix_part(self, name: str) -> Path:
        """Return the part of a relationship matrix."""
        return self.wip / f"matrix-{safe(name)}"

    def table_part(self, name: str) -> Path:
        """Return the table of the ids of a pedigree or matrix."""
        if any(p.name == name for p, _ in self.plan.pedigrees):
            return self.pedigree_folder(name).table
        return self.wip / f"table-{safe(name)}"

    def order_part(self, name: str) -> Path:
        """Return the part with the order of the individuals of a pedigree or matrix."""
        return self.wip / f"order-{safe(name)}"

    def levels_part(self, k: int) -> Path:
        """Return the part of the levels of class column k."""
        return self.wip / f"levels-{k:03d}"

    @cached_property
    def blocks(self) -> list[Block]:
        """Return the blocks of the records, file after file; compressed files are unpacked first."""
        sources = [unzipped(s, self.wip / "unzipped", i) for i, s in enumerate(self.plan.records)]
        return [block for source in sources for block in self.plan.blocks(source)]

    @cached_property
    def parts(self) -> list[Path]:
        """Return the parts of the blocks of the records."""
        return [self.wip / "records" / f"part-{i:06d}" for i in range(len(self.blocks))]

    def read_relations(self) -> None:
        """Read the pedigrees and matrices; all their mistakes are raised at once."""
        problems: list[Problem] = []
        for number, (spec, source) in enumerate(self.plan.pedigrees):
            plain = unzipped(source, self.wip / "unzipped-pedigrees", number)
            try:
                folder = self.pedigree_folder(spec.name)
                read_pedigree(spec, self.plan.blocks(plain), folder, self.workers, self.progress)
            except InputFileError as error:
                problems += error.problems
        for number, (matrix, source) in enumerate(self.plan.matrices):
            part, table = self.matrix_part(matrix.name), self.table_part(matrix.name)
            if is_whole(part) and is_whole(table):
                continue
            plain = unzipped(source, self.wip / "unzipped-matrices", number)
            try:
                K = read_matrix(matrix, self.plan.blocks(plain))
            except InputFileError as error:
                problems += error.problems
                continue
            ids = K.labels.values if K.labels.is_integer else words_of_labels(K.labels)
            save_table(table, build_table(ids)[0])
            inverse = K.inverse
            arrays: dict[str, Any] = {
                "diagonal": K.diagonal,
                "indptr": inverse.indptr,
                "indices": inverse.indices,
                "data": inverse.data,
            }
            write_part(part, {**arrays, "id": K.labels.values})
        if problems:
            raise InputFileError(problems)

    def read_records(self) -> list[BlockReport]:
        """Return the reports of all blocks, whose parts are then on disk.

        Raises `InputFileError` with the mistakes of all blocks, for a trait without any observation, and for no
        records.
        """
        relations = self.plan.roles.relations
        first = self.first_records()
        task = RecordsTask(
            self.plan.roles,
            tuple(self.table_part(r.name) for r in relations),
            tuple(self.plan.file(r.name) for r in relations),
            checked_records(self, first) or self.missing_part,
        )
        work = [(task, *each) for each in zip(self.blocks, self.parts, first, strict=True)]
        reports = run_tasks("records: read", read_records, work, self.workers, self.progress)
        lines = self.first_lines([r.n_lines for r in reports])
        problems = [shift(p, before) for before, r in zip(lines, reports, strict=True) for p in r.problems]
        raise_problems(problems)
        files = ", ".join(s.shown for s in self.plan.records)
        for k, trait in enumerate(self.plan.roles.columns.responses):
            if sum(r.observed[k] for r in reports) == 0:
                remedy = "remove its equation, or look at [data] missing"
                problems.append(Problem(f"trait {trait!r} has no observation", file=files, remedy=remedy))
            if below := sum(r.below[k] for r in reports):
                log.warning(
                    "%s: %d values of %s lie below the missing value %g and are taken as missing",
                    files, below, trait, self.plan.roles.missing,
                )  # fmt: skip
        raise_problems(problems)
        return reports

    def first_lines(self, n_lines: Sequence[int]) -> list[int]:
        """Return how many lines of its file go before each block of the records, from the number of lines of each."""
        found: list[int] = []
        before, file = 0, None
        for block, n in zip(self.blocks, n_lines, strict=True):
            if block.source.path != file:
                before, file = block.source.lines, block.source.path
            found.append(before)
            before += n
        return found

    @property
    def missing_part(self) -> Path | None:
        """Return the part with the flags of missing responses, as the file of the user has them."""
        return None if self.plan.missing is None else self.wip / "missing"

    def first_records(self) -> list[int]:
        """Return the first record of each block, where flags of missing responses are told by record; else zeros.

        Then the flags of the user are on disk.
        """
        checks = self.plan.roles.checks
        if self.plan.missing is None and checks is None:
            return [0] * len(self.blocks)
        counts = run_tasks("records: count", count_rows, [(b,) for b in self.blocks], self.workers, self.progress)
        if self.plan.missing is not None and not is_whole(self.wip / "missing"):
            read_missing(self.plan.missing, self.plan.roles.columns.responses, sum(counts), self.wip / "missing")
        return list(accumulate(counts[:-1], initial=0))

    def merge_levels(self, reports: list[BlockReport]) -> list[int]:
        """Return the number of levels of each class column, which are then on disk."""
        columns = self.plan.roles.columns.classes
        work = [(k, self.parts, all(r.integer[k] for r in reports), self.levels_part(k)) for k in range(len(columns))]
        return run_tasks("records: levels", merge_levels, work, self.workers, self.progress)

    def order_individuals(self, n_levels: list[int]) -> None:
        """Find the order of the individuals of every pedigree and matrix, and count their records."""
        roles = self.plan.roles
        classes = roles.columns.classes
        best = max(roles.locality, key=lambda c: n_levels[classes.index(c)], default=None)
        key = None
        if best is not None:
            k = classes.index(best)
            key = (len(roles.relations) + k, self.levels_part(k))
        names = list(dict.fromkeys(r.name for r in roles.relations))
        names += [p.name for p, _ in self.plan.pedigrees if p.name not in names]
        for done, name in enumerate(names):
            if self.progress is not None:
                self.progress("order", done, len(names))
            if not is_whole(self.order_part(name)):
                self._order(name, key)
        if self.progress is not None:
            self.progress("order", len(names), len(names))

    def _order(self, name: str, key: tuple[int, Path] | None) -> None:
        from henderson.pedigree.order import locality_order

        n = len(map_table(self.table_part(name)))
        relation = next((i for i, r in enumerate(self.plan.roles.relations) if r.name == name), None)
        counts, first_key = np.zeros(n + 1, np.int64), None
        if relation is not None:
            counts, first_key = count_records(self.parts, relation, n, key)
        if any(p.name == name for p, _ in self.plan.pedigrees):
            pedigree = load_pedigree(name, self.pedigree_folder(name))
            order = locality_order(pedigree, first_key.astype(np.int64) if key and first_key is not None else None)
        else:
            order = np.arange(n, dtype=np.int64)
        new_row = np.empty(n, np.int32)
        new_row[order] = np.arange(n, dtype=np.int32)
        write_part(self.order_part(name), {"order": order, "new_row": new_row, "counts": counts})

    def sort_records(self, reports: list[BlockReport]) -> RecordLayout:
        """Deal the records to shards, sort these and write them into the store; return how that holds them."""
        roles = self.plan.roles
        n_records = sum(r.n_kept for r in reports)
        agreed = agree(self.parts, roles.columns, n_records, self.wip / "agreed")
        home = roles.relations[0] if roles.relations else None
        counts = np.array([n_records]) if home is None else map_part(self.order_part(home.name), ["counts"])["counts"]
        task = SortTask(
            agreed=agreed,
            parts=tuple(self.parts),
            dealt=tuple(self.wip / "dealt" / f"part-{i:06d}" for i in range(len(self.parts))),
            levels=tuple(self.levels_part(k) for k in range(len(roles.columns.classes))),
            first_row=tuple(accumulate((r.n_rows for r in reports[:-1]), initial=0)),
            order=tuple(self.order_part(r.name) for r in roles.relations),
            places=self.wip / "places",
            n_homes=len(counts) - 1,
            n_records=n_records,
            store=self.store,
        )
        find_places(task, counts, None if home is None else 0)
        created = self.wip / "records-created"
        if not is_whole(created):
            for schema in agreed.layout.schemas(n_records):
                zarr_io.create_array(self.store, schema)
            for covariate in agreed.layout.tables:
                schema = agreed.layout.table_schema(covariate)
                zarr_io.write_whole(self.store, schema, agreed.table(covariate))
                sync_file(zarr_io.shard_file(self.store, schema, 0))
            write_part(created, {})
        blocks = [(task, i) for i in range(len(self.parts))]
        run_tasks("records: deal", deal_block, blocks, self.workers, self.progress)
        shards = [(task, s, self.wip / "shards" / f"{s:06d}") for s in range(task.n_shards)]
        run_tasks("records: sort", write_shard, shards, self.workers, self.progress)
        return agreed.layout
