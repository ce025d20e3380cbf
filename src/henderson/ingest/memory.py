"""How much memory an ingest takes, before it begins, and how many workers fit into a limit."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from henderson.errors import ResourceError
from henderson.ingest.plan import Plan
from henderson.ingest.sample import sample_of
from henderson.store.schema import shard_rows

log = logging.getLogger(__name__)

INTERPRETER = 300 << 20  # bytes before anything is read: Python and its libraries
INDIVIDUAL = 110  # bytes an individual while a pedigree is checked or ordered, besides its id
COPIES_OF_ID = 4  # as read, as an integer or beside other blocks, in the table, as a label
TEXT = 3  # bytes for each byte of a block of text: the block, what Arrow makes of it, and its columns
WORD = 8


@dataclass(frozen=True)
class Needs:
    """Bytes of an ingest: `together`, whatever the workers, and those of `each` worker."""

    together: int
    each: int

    def with_workers(self, n: int) -> int:
        """Return the bytes with `n` workers."""
        return self.together + n * self.each


def needs(plan: Plan) -> Needs:
    """Return what an ingest takes; of files that are mapped, which the system takes back when it must, nothing.

    Pedigrees are read one after the other, the largest counts. A worker holds a block of a file, or a shard of all
    columns. Cost: reads the first mebibyte of every file.
    """
    individuals = [sample_of(source).n_rows for _, source in plan.pedigrees]
    width = 2 * WORD  # ids of up to 16 bytes
    largest = max((n * (INDIVIDUAL + COPIES_OF_ID * width) for n in individuals), default=0)
    c = plan.roles.columns
    n_reals, n_codes = len(plan.roles.reals), len(c.related) + len(c.classes)
    samples = [sample_of(source) for source in plan.records]
    n_records = sum(s.n_rows for s in samples)
    row = 2 * (width * len(plan.roles.text) + WORD * n_reals) + 2 * WORD * len(c.responses) + 12 * n_codes + 5 * WORD
    blocks = [s.block_rows(plan.block_bytes) * row + (0 if s.group_rows else TEXT * plan.block_bytes) for s in samples]
    in_shard = (2 + len(c.responses) + len(c.covariates) + (c.weights is not None)) * WORD + 4 * n_codes + 4 * WORD
    return Needs(INTERPRETER + largest, max(*blocks, min(n_records, shard_rows(n_records)) * in_shard))


def workers_within(plan: Plan, workers: int, limit: int) -> int:
    """Return how many of the `workers` may be in memory at a time without taking more than `limit` bytes.

    Raises `ResourceError` if not even one fits.
    """
    need = needs(plan)
    if need.with_workers(1) > limit:
        gib = [f"{n / 2**30:.2f} GiB" for n in (need.with_workers(1), limit, need.together, need.each)]
        remedy = "give it more memory"
        if any(s.format == "parquet" for s in plan.records):
            remedy += ", or write Parquet files with smaller row groups"
        raise ResourceError(
            f"ingest takes about {gib[0]} with one worker, of {gib[1]} that it may take: {gib[2]} for the program and "
            f"the largest pedigree, {gib[3]} for the records that are handled at a time; {remedy}"
        )
    fit = min(workers, (limit - need.together) // need.each)
    log.info("ingest takes about %.2f GiB of the %.2f GiB it may take", need.with_workers(fit) / 2**30, limit / 2**30)
    return int(fit)
