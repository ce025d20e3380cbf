"""What each idea of how things lie in memory is worth: a product, level blocks and a sweep without it, one by one.

Run ``henderson simulate testday --scale 0.05 --out DIR`` and ``henderson ingest DIR/model.toml --store DIR/store``,
then ``python tests/benchmarks/layout_bench.py DIR [--threads 1] [--repeat 7]`` with nothing else running.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree
from henderson.jobs.run import understand
from henderson.kernels.blocks import level_blocks
from henderson.language.spec import ModelSpec
from henderson.partitions.threads import Team
from henderson.pedigree.order import locality_order, permute, topological_order
from henderson.solvers.pcg import pcg
from henderson.solvers.preconditioner import BlockPreconditioner, descend_apart
from henderson.solvers.solve import Stages, set_up
from henderson.solvers.sweep import SweepPreconditioner
from henderson.store.columns import Coded, Observed
from henderson.store.model_data import ModelData, Pedigree
from henderson.store.reader import open_store

Rows = NDArray[np.int64]
NEAR = 1 << 21  # bytes between an animal and its parent in a vector: a second-level cache


def cuthill_mckee(pedigree: Pedigree) -> Rows:
    """Return the animals by reverse Cuthill-McKee, parents and progeny being neighbours."""
    n = len(pedigree)
    edges = [(np.flatnonzero(parent >= 0), parent[parent >= 0]) for parent in (pedigree.sire, pedigree.dam)]
    i, j = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    graph = coo_array((np.ones(2 * len(i), np.int8), (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(n, n))
    return reverse_cuthill_mckee(graph.tocsr(), symmetric_mode=True).astype(np.int64)


ORDERS: dict[str, Callable[[Pedigree], Rows]] = {
    "animals by maternal lines, not herds": lambda p: locality_order(p, None),
    "animals by reverse Cuthill-McKee": cuthill_mckee,
    "animals by generation": lambda p: topological_order(p.generation),
    "animals at random": lambda p: np.random.default_rng(1).permutation(len(p)),
}


def column(values, rows: Rows):  # type: ignore[no-untyped-def]
    """Return a column of records with the rows in another order, as compact as it was."""
    if isinstance(values, Coded):
        return Coded(values.table, values.codes[rows])
    if isinstance(values, Observed):
        return Observed(values.pattern[rows], values.place, [v[rows] for v in values.values])
    return np.asarray(values)[rows]


def with_records(data: ModelData, rows: Rows) -> ModelData:
    """Return the data with its records in another order."""
    old = data.records
    kinds = {name: getattr(old, name) for name in ("responses", "covariates", "classes", "related")}
    kept = {name: {key: column(v, rows) for key, v in columns.items()} for name, columns in kinds.items()}
    weights = None if old.weights is None else old.weights[rows]
    return replace(data, records=replace(old, row=old.row[rows], weights=weights, **kept))


def with_animals(data: ModelData, order: Rows) -> ModelData:
    """Return the data with the animals of its pedigree in another order, and the records by animal again."""
    ((name, pedigree),) = data.pedigrees.items()
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    related = {key: np.where(codes < 0, codes, place[codes]) for key, codes in data.records.related.items()}
    moved = replace(data, records=replace(data.records, related=related))
    moved = replace(moved, pedigrees={name: replace(permute(pedigree, order), row=None)})
    return with_records(moved, np.argsort(next(iter(related.values())), kind="stable"))


def near(pedigree: Pedigree, width: int) -> float:
    """Return the share of known parents that are not farther than `NEAR` in a vector."""
    rows = np.arange(len(pedigree))
    steps = [np.abs(rows - parent)[parent >= 0] for parent in (pedigree.sire, pedigree.dam)]
    return float(np.mean(np.concatenate(steps) * 8 * width <= NEAR))


@contextmanager
def changed(operator: Operator, change) -> Iterator[None]:  # type: ignore[no-untyped-def]
    """Put ``change(partition)`` in the place of each partition for a while."""
    kept = operator.partitions
    operator.partitions = [change(p) for p in kept]
    try:
        yield
    finally:
        operator.partitions = kept


def wide_offsets(p):  # type: ignore[no-untyped-def]
    """Return the partition with elements as numbers of 64 bits."""

    def wide(related):  # type: ignore[no-untyped-def]
        if not isinstance(related, LocalPedigree):
            return related
        return replace(related, sire=related.sire.astype(np.uint64), dam=related.dam.astype(np.uint64))

    records = p.records._replace(slots=p.records.slots.astype(np.uint64))
    return replace(p, records=records, relationship=tuple(wide(r) for r in p.relationship))


def own_coefficients(p):  # type: ignore[no-untyped-def]
    """Return the partition with covariates as columns: a row of coefficients for each record."""
    records = p.records
    if records.rows is None:
        return p
    return replace(p, records=records._replace(rows=None, coefficients=records.coefficients[records.rows]))


def in_double(M: BlockPreconditioner) -> None:
    """Store the packed blocks of `M` in double precision."""
    for blocks in M._blocks:
        blocks[:] = [
            level_blocks(b.width, b.first, b.packed.astype(np.float64), b.place, b.scale, b.sigma) for b in blocks
        ]


class Bench:
    """Times of a product, of level blocks with the residual, and of a sweep, in the median."""

    def __init__(self, operator: Operator, repeat: int) -> None:
        self.operator, self.repeat = operator, repeat
        rng = np.random.default_rng(3)
        self.x = [rng.normal(size=len(v)) for v in operator.zeros()]
        self.r, self.z = operator.right_hand_side(), operator.zeros()

    def time(self, work: Callable[[], object]) -> float:
        """Return milliseconds by the clock."""
        work()  # compiles
        found = []
        for _ in range(self.repeat):
            start = time.perf_counter()
            work()
            found.append(1e3 * (time.perf_counter() - start))
        return statistics.median(found)

    def product(self) -> float:
        return self.time(lambda: self.operator.apply(self.x, self.z))

    def blocks(self, M: BlockPreconditioner) -> float:
        return self.time(lambda: M.descend(1e-9, self.x, self.r, self.z))

    def blocks_apart(self, M: BlockPreconditioner) -> float:
        return self.time(lambda: descend_apart(self.operator, M.apply, 1e-9, self.x, self.r, self.z))

    def sweep(self, M: BlockPreconditioner) -> float:
        return self.time(lambda: M.apply(self.r, self.z))


def told(
    what: str,
    product: float | None = None,
    blocks: float | None = None,
    sweep: float | None = None,
    rounds: int | None = None,
    note: str = "",
) -> None:
    cells = ["" if t is None else f"{t:.1f}" for t in (product, blocks, sweep)]
    print(f"| {what} | " + " | ".join(cells) + f" | {rounds or ''} | {note} |", flush=True)


def everything(operator: Operator, repeat: int, what: str, note: str) -> None:
    bench = Bench(operator, repeat)
    product, blocks = bench.product(), bench.blocks(BlockPreconditioner(operator, "block"))
    M = SweepPreconditioner(operator)
    sweep = bench.sweep(M)
    rounds = pcg(operator, M, operator.right_hand_side(), rtol=1e-6, xtol=math.inf).iterations
    told(what, product, blocks, sweep, rounds, note)


def storage(operator: Operator, repeat: int) -> None:
    """Print what other storage of the same equations takes."""
    bench = Bench(operator, repeat)
    with changed(operator, wide_offsets):
        told("offsets of 64 bits", bench.product(), sweep=bench.sweep(SweepPreconditioner(operator)))
    with changed(operator, own_coefficients):
        told("covariates by record, not by a table", bench.product())
    runs, operator.runs = operator.runs, None
    told("records one by one, no runs", bench.product())
    operator.runs = runs
    M = BlockPreconditioner(operator, "block")
    told("residual and level blocks in passes apart", blocks=bench.blocks_apart(M))
    del M
    for what, compact in (("blocks in double precision", True), ("... and of every level", False)):
        found, sizes = [], []
        for make in (lambda c: BlockPreconditioner(operator, "block", compact_above=c), sweeping(operator)):
            M = make(0 if compact else 1 << 62)
            if compact:
                in_double(M)
            sizes.append(f"{M.nbytes / 2**20:.0f}")
            found.append(bench.sweep(M) if isinstance(M, SweepPreconditioner) else bench.blocks(M))
            del M
        told(what, None, found[0], found[1], note=f"{' and '.join(sizes)} MiB")


def sweeping(operator: Operator) -> Callable[[int], BlockPreconditioner]:
    return lambda compact: SweepPreconditioner(operator, compact_above=compact)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    spec: ModelSpec = understand(args.folder / "model.toml")
    data = open_store(args.store or args.folder / "store")
    ((name, pedigree),) = data.pedigrees.items()
    with Team(args.threads) as team:

        def row(what: str, data: ModelData, more: bool = False) -> None:
            operator = set_up(spec, data, team, Stages())
            width = max(g.width for g in operator.design.groups)
            if what == "as it is":
                print(
                    f"{operator.design.n_equations:,} equations, {len(data.records):,} records, {args.threads} threads"
                )
                print("\n| | product, ms | level blocks, ms | sweep, ms | rounds | |\n|---|---|---|---|---|---|")
            share = near(data.pedigrees[name], width)
            everything(operator, args.repeat, what, f"{share:.0%} of parents within 2 MiB")
            if more:
                storage(operator, args.repeat)

        row("as it is", data, more=True)
        for what, order in ORDERS.items():
            row(what, with_animals(data, order(pedigree)))
        if args.threads == 1:
            shuffled = np.random.default_rng(2).permutation(len(data.records))
            row("records at random", with_records(data, shuffled))
        row("as it is, once more", data)


if __name__ == "__main__":
    main()
