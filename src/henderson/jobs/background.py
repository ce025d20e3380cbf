"""What a page tells of a run beside its solutions: records, edits, pedigrees, and years of birth."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from henderson.ingest.edits import HEADER
from henderson.ingest.files import expand
from henderson.ingest.run import edits_file
from henderson.jobs.animal_columns import BORN, column_of, find_column
from henderson.language.spec import ModelSpec
from henderson.results.background import Background, EditFacts
from henderson.results.groups import Grouping
from henderson.results.solution_tables import labels_to_arrow
from henderson.results.stages import available_bytes
from henderson.results.store_facts import data_facts, pedigree_facts
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

BYTES_OF_ID = 200  # what finding one id among others takes: its text twice, hashed, and what was read of the file
FIRST = 3  # offenders of a rule that are shown
MOST_COHORTS = 200
EDIT_KEYS = ("trait", "column", "action", "reason")

log = logging.getLogger(__name__)


def background_of(spec: ModelSpec, store: Path) -> Background:
    """Return what the store and the files of a run tell. Memory: some bytes for each individual, and blocks.

    Individuals are grouped by year of birth where a file has it, and there is room to find it; else by generation.
    """
    parts = StoreParts(store)
    groupings = {name: _grouping(spec, parts, name) for name in parts.pedigrees}
    return Background(
        data_facts(parts),
        tuple(pedigree_facts(parts, name, groupings[name]) for name in parts.pedigrees),
        groupings,
        edit_facts(edits_file(store)) if spec.data.checks is not None else None,
    )


def edit_facts(path: Path) -> tuple[EditFacts, ...]:
    """Return what each rule has found, by trait, in the order of the log. Memory: a block of the log."""
    if not path.exists():
        return ()
    import pyarrow.compute as pc  # slow to import

    counts: Counter[tuple[str, ...]] = Counter()
    first: dict[tuple[str, ...], list[str]] = {}
    options = pa_csv.ConvertOptions(column_types=dict.fromkeys(HEADER, pa.string()), strings_can_be_null=False)
    with pa_csv.open_csv(path, convert_options=options) as blocks:
        for block in blocks:
            table = pa.Table.from_batches([block])
            found = table.group_by(list(EDIT_KEYS), use_threads=False).aggregate([([], "count_all")])
            for row in found.to_pylist():
                key = tuple(row[k] for k in EDIT_KEYS)
                counts[key] += row["count_all"]
                shown = first.setdefault(key, [])
                if len(shown) < FIRST:
                    mask = [pc.equal(table[k], value) for k, value in zip(EDIT_KEYS, key, strict=True)]
                    mine = table.filter(reduce(pc.and_, mask)).slice(0, FIRST - len(shown)).to_pylist()
                    shown += [_offender(entry) for entry in mine]
    return tuple(EditFacts(key[0], key[1], key[2], key[3], counts[key], tuple(first[key])) for key in counts)


def _offender(entry: Mapping[str, str]) -> str:
    of = f" of {entry['animal']}" if entry["animal"] else ""
    return f"{entry['file']} line {entry['line']}{of}: {entry['value']}"


def bytes_of_births(spec: ModelSpec, parts: StoreParts) -> int:
    """Return the bytes that finding the years of birth takes for a page, 0 where no file has them."""
    found = (p for p in parts.pedigrees if _place_of_births(spec, parts, p) is not None)
    return max((BYTES_OF_ID * parts.length(group_path("pedigree", p), "id") for p in found), default=0)


def _place_of_births(spec: ModelSpec, parts: StoreParts, pedigree: str) -> tuple[Path, str, str] | None:
    """Return the file that has dates of birth of a pedigree's individuals, and its columns of ids and of dates."""
    files: list[tuple[Path, str | int]] = [(spec.path(p.file), 0) for p in spec.pedigrees if p.name == pedigree]
    own = [column for column, name in parts.columns.related if name == pedigree][:1]
    base = spec.source.parent if spec.source else Path()
    files += [(path, column) for column in own for path in expand(spec.data.records, base, "[data] records")[:1]]
    return find_column(files, BORN)


def _grouping(spec: ModelSpec, parts: StoreParts, pedigree: str) -> Grouping:
    """Return the individuals of a pedigree by year of birth, else by generation."""
    group = group_path("pedigree", pedigree)
    n = parts.length(group, "id")
    place = _place_of_births(spec, parts, pedigree)
    if place is not None and max(n, parts.n_records) * BYTES_OF_ID > available_bytes() // 2:
        log.info("%s: there is no room to find the years of birth of %s individuals", place[0], f"{n:,}")
        place = None
    if place is not None:
        ids = labels_to_arrow(parts.labels(group).take(np.arange(n)))
        labels, codes = column_of(*place, ids, year=True)
        if not labels:
            labels, codes = _numbers(*column_of(*place, ids))  # years counted from another one, cohorts
        if labels:
            return Grouping("birth year", tuple(labels), codes.astype(np.int16))
        log.info("%s: column %r has no years; trends are by generation", place[0], place[2])
    generation = parts.array(f"{group}/generation")[:]
    return Grouping("generation", tuple(map(str, range(int(generation.max(initial=0)) + 1))), generation)


def _numbers(labels: list[str], codes: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """Return whole numbers in their order, with the codes that go with it; nothing if they are others, or too many."""
    if len(labels) > MOST_COHORTS or not all(re.fullmatch(r"-?\d+", label) for label in labels):
        return [], codes
    order = sorted(range(len(labels)), key=lambda k: int(labels[k]))
    rank = np.empty(len(labels) + 1, np.int64)
    rank[order], rank[-1] = np.arange(len(labels)), -1
    return [labels[k] for k in order], rank[codes]
