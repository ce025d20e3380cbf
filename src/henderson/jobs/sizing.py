"""How many nodes a solve needs, from what is known of its size before it starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from henderson.equations.memory import Counts, counts_of_store, estimate_per_rank
from henderson.errors import InputFileError, ResourceError, StoreError
from henderson.ingest.files import Source
from henderson.ingest.header import record_sources, source_of
from henderson.ingest.memory import INTERPRETER
from henderson.ingest.sample import sample_of
from henderson.jobs.sites import Site
from henderson.language.spec import ModelSpec

log = logging.getLogger(__name__)

SPARE = 1.2  # the estimate leaves out what MPI and the file system take
MOST_NODES = 4096


@dataclass(frozen=True)
class Size:
    """The nodes a solve takes on a site, the memory of each in GiB, and what that was reckoned from."""

    nodes: int
    memory: int
    notes: tuple[str, ...]


def size_of(spec: ModelSpec, store: Path, site: Site, ranks_per_node: int, nodes: int | None) -> Size | None:
    """Return the size of a solve on a site: the fewest nodes whose memory holds it, or the `nodes` asked for.

    Reckoned from the store if it is there, else from the data files; None if neither is. Raises `ResourceError` if no
    number of nodes has the memory.
    """
    try:
        counts, source = counts_of_store(store), "the store"
    except StoreError:
        try:
            counts, source = counts_of_files(spec), "the sizes of the files"
        except (InputFileError, OSError):
            return None
    limit = site.memory * 2**30
    # the part that every rank has to itself does not shrink: beyond some number more nodes do not help
    tried = [nodes] if nodes else [n for e in range(13) for n in (2**e, 3 * 2**e // 2) if n <= MOST_NODES]
    for n in tried:
        bytes_ = _node_bytes(spec, counts, n, ranks_per_node)
        if bytes_ <= limit:
            break
    need = f"{bytes_ / 2**30:.1f} GiB on each of {n} nodes with {ranks_per_node} ranks"
    if bytes_ > limit:
        message = f"the solve takes about {need}, of {site.memory} GiB that a node of {site.name} has"
        remedy = "ask for more --nodes" if nodes else "ask for fewer --ranks-per-node"
        raise ResourceError(f"{message}; {remedy}")
    individuals = sum(counts.n_individuals.values())
    note = f"Reckoned from {source}: {counts.n_records:,} records, {individuals:,} individuals, about {need}"
    return Size(n, min(site.memory, -(-bytes_ // 2**30) + 1), (note.replace("1 nodes", "1 node"),))


def _node_bytes(spec: ModelSpec, counts: Counts, nodes: int, ranks_per_node: int) -> int:
    items = estimate_per_rank(spec, counts, nodes * ranks_per_node)
    return int(ranks_per_node * (SPARE * sum(i.bytes for i in items) + INTERPRETER))


def counts_of_files(spec: ModelSpec) -> Counts:
    """Return the counts of a model whose data are not ingested yet: upper estimates from sizes and first lines.

    Raises `InputFileError` for files that are not there.
    """
    base = spec.source.parent if spec.source else Path()
    samples = [_sample(source) for source in record_sources(spec.data, base)]
    n_records = sum(s.n_rows for s in samples)
    first = samples[0]
    scale = max(1.0, n_records / max(1, first.n_sampled))
    levels = {name: min(n_records, round(d * scale)) for name, d in first.distinct.items()}
    individuals, entries = {}, {}
    for pedigree in spec.pedigrees:
        individuals[pedigree.name] = _sample(source_of(base / pedigree.file, str(pedigree.file))).n_rows
    for matrix in spec.matrices:
        source = source_of(base / matrix.file, str(matrix.file))
        entries[matrix.name] = source.size // 4  # numbers of a few digits
        individuals[matrix.name] = max(len(source.names), round(entries[matrix.name] ** 0.5))
    return Counts(n_records, levels, individuals, entries, spec.data.weights is not None)


@dataclass(frozen=True)
class _Sample:
    n_rows: int
    n_sampled: int
    distinct: dict[str, int]


def _sample(source: Source) -> _Sample:
    """Return the rows of a file, reckoned from its first mebibyte, and how many values each column has there."""
    sample = sample_of(source)
    if source.format == "parquet":
        return _Sample(sample.n_rows, sample.n_rows, dict.fromkeys(source.names, sample.n_rows))
    columns = zip(*(line.split(b",") for line in sample.lines), strict=False)
    distinct = {n: len(set(c)) for n, c in zip(source.names, columns, strict=False)}
    return _Sample(sample.n_rows, len(sample.lines), distinct)
