"""The levels of one column of the records, for formulas with a term per level."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from henderson.ingest.files import Block, cut
from henderson.ingest.header import record_sources
from henderson.ingest.id_table import as_integers, labels_of
from henderson.ingest.levels import sorted_ids
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import Words, parse_block, stack_words
from henderson.ingest.plan import unzipped
from henderson.ingest.tasks import raise_problems, run_tasks
from henderson.language.spec import DataSpec

_BLOCK_BYTES = 8 << 20


def read_levels(data: DataSpec, base: Path, column: str) -> list[str]:
    """Return the different values of a column, missing ones aside: sorted as integers if all are, else by code points.

    Raises `InputFileError` for lines that cannot be read. Cost: one pass over the files.
    """
    with tempfile.TemporaryDirectory(prefix="henderson-") as folder:
        sources = [unzipped(s, Path(folder), i) for i, s in enumerate(record_sources(data, base))]
        work = [(block, column) for source in sources for block in cut(source, _BLOCK_BYTES)]
        found = run_tasks(f"levels of {column}", _labels, work, len(os.sched_getaffinity(0)), None)
    words = number_labels(stack_words([np.zeros((0, 1), np.uint64), *found]))[1]
    return labels_of(sorted_ids(words, as_integers(words) is not None)).text()


def _labels(block: Block, column: str) -> Words:
    parsed = parse_block(block, [column], [])
    raise_problems(parsed.problems)
    return number_labels(parsed.text[column])[1]
