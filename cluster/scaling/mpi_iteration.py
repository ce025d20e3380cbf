"""What one iteration of the PETSc engine takes on P ranks, and what a model of bytes and messages says it should take.

    mpiexec -n P python cluster/scaling/mpi_iteration.py FOLDER [--iterations 60] [--methods cg,groppcg,pipecg]

FOLDER holds `model.toml` and `store.zarr` (`henderson simulate`, then `henderson ingest --store FOLDER/store.zarr`).
Rank 0 prints one JSON object per method. The constants of the machine (bandwidth, gathers, latency) are measured in the
same run, on all ranks at once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import numpy as np
from iteration_model import Counts, Machine, count, predict
from numba import njit

from henderson.equations.distributed import Share, take_share
from henderson.equations.operator import Operator
from henderson.equations.partition import LocalPedigree
from henderson.jobs.run import understand
from henderson.partitions.exchange import SharedMemoryExchange
from henderson.partitions.mpi import MpiCommunicator
from henderson.partitions.threads import Team
from henderson.solvers.petsc.options import PetscOptions
from henderson.solvers.petsc.solve import Engine
from henderson.solvers.preconditioner import Kind

REPEATS = 7
TRIAD = 6_000_000  # elements of each of three arrays: far beyond the caches
MESSAGE = 1 << 20
FEW = 4000  # records, individuals: their part of the vectors stays in the cache


@njit(cache=True)
def triad(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """Set a = b + 3 c."""
    for i in range(a.size):
        a[i] = b[i] + 3.0 * c[i]


@njit(cache=True)
def gather(blocks: np.ndarray, x: np.ndarray) -> float:
    """Return the sum of the blocks of three that begin at `blocks`."""
    total = 0.0
    for k in range(blocks.size):
        total += x[blocks[k]] + x[blocks[k] + 1] + x[blocks[k] + 2]
    return total


def shortest(work: Callable[[], object], comm: MpiCommunicator) -> float:
    """The shortest of some repeats, all ranks starting together; the slowest rank counts.

    Processor time: the same as wall time on a machine that does nothing else, and still right on one that does.
    """
    times = []
    for _ in range(REPEATS):
        comm.comm.Barrier()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return max(comm.gather_all(min(times)))


def machine_of(comm: MpiCommunicator, share: Share) -> Machine:
    """The constants, measured with all ranks busy."""
    a, b, c = np.zeros(TRIAD), np.ones(TRIAD), np.ones(TRIAD)
    triad(a, b, c)
    stream = 4 * 8 * TRIAD / shortest(lambda: triad(a, b, c), comm)  # the write reads its line first
    x = np.ones(max(share.halo.n_owned, 3))
    blocks = np.random.default_rng(comm.rank).integers(0, len(x) - 2, 1_000_000)
    gather(blocks, x)
    per_gather = shortest(lambda: gather(blocks, x), comm) / len(blocks)
    one, out = np.ones(1), np.ones(1)

    def reduce() -> None:
        for _ in range(200):
            comm.comm.Allreduce(one, out)

    reduction = shortest(reduce, comm) / 200 if comm.size > 1 else 0.0
    to, source = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size

    def send(n: int, times: int) -> float:
        mine, theirs = np.ones(n), np.empty(n)

        def ring() -> None:
            for _ in range(times):
                comm.comm.Sendrecv(mine, to, 0, theirs, source, 0)

        return shortest(ring, comm) / times if comm.size > 1 else 0.0

    latency = send(1, 200)
    network = 8 * MESSAGE / max(send(MESSAGE, 3) - latency, 1e-9) if comm.size > 1 else 1e12
    return Machine(*in_cache(share, comm), stream, per_gather, reduction, latency, network)


def in_cache(share: Share, comm: MpiCommunicator) -> tuple[float, float]:
    """Seconds per record and per individual when everything is in the cache: the kernels on some thousands of each."""
    partition = share.partition
    with Team(1) as team:
        layout = partition.layout
        n = min(FEW, len(partition.records.pattern))
        x, y = layout.zeros(), layout.zeros()
        few = replace(partition, records=partition.records.part(0, n))
        operator = Operator(share.design, [few], SharedMemoryExchange([], 1, team), team)

        def records() -> None:
            for _ in range(20):
                operator._records(0, operator._all, operator._all, x, y, operator.residual)

        def individuals() -> None:
            for _ in range(20):
                operator._gamma(only, g, x, y)

        records()
        per_record = shortest(records, comm) / (20 * n)
        related = [k for k, group in enumerate(layout.groups) if group.owned is None]
        per_individual = 0.0
        for g in related:
            local = replace(layout.groups[g], start=0, stop=min(FEW, layout.groups[g].n_owned))
            groups = tuple(local if k == g else group for k, group in enumerate(layout.groups))
            pedigree = partition.relationship[g]
            short = LocalPedigree(pedigree.sire[:FEW], pedigree.dam[:FEW], pedigree.precision[:FEW])
            kinds = tuple(short if k == g else None for k in range(len(layout.groups)))
            only = replace(partition, layout=replace(layout, groups=groups), relationship=kinds)
            individuals()
            per_individual += shortest(individuals, comm) / (20 * local.n_owned)
    return per_record, per_individual / max(1, len(related))


def measure(share: Share, comm: MpiCommunicator, method: str, iterations: int, kind: Kind) -> dict[str, float]:
    """Seconds per iteration: the quartiles of its wall time, processor time, and the parts."""
    marks: list[float] = []
    arguments = f"-henderson_ksp_type {method}"
    options = PetscOptions(rtol=1e-30, max_it=iterations, preconditioner=kind, arguments=arguments)
    with Engine(share, comm, options) as engine:
        engine.solve(callback=lambda *_: marks.append(time.perf_counter()))  # once to compile
        marks.clear()
        cpu = time.process_time()
        report = engine.solve(callback=lambda *_: marks.append(time.perf_counter()))
        cpu = (time.process_time() - cpu) / report.iterations
    told = report.communication
    assert told is not None
    each = np.sort(np.diff(marks))
    return {
        "fastest": float(each[0]),
        "quartile": float(each[len(each) // 4]),
        "median": float(np.median(each)),
        "cpu_mean": float(np.mean(comm.gather_all(cpu))),
        "product": told.product_seconds / report.iterations,
        "exchange": told.exchange_seconds / report.iterations,
        "preconditioner": told.preconditioner_seconds / report.iterations,
        "messages": told.messages_max,
        "bytes": told.bytes_max,
        "ghosts": told.ghosts_max,
        "reductions": told.reductions,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--methods", default="cg")
    parser.add_argument("--preconditioner", choices=get_args(Kind), default="border")
    arguments = parser.parse_args()
    comm = MpiCommunicator()
    share = take_share(understand(arguments.folder / "model.toml"), arguments.folder / "store.zarr", comm)
    machine = machine_of(comm, share)
    for method in arguments.methods.split(","):
        found = measure(share, comm, method, arguments.iterations, arguments.preconditioner)
        counts = count(share, int(found["messages"]), int(found["bytes"]), found["reductions"], method)
        slowest = max(comm.gather_all(predict(counts, machine).total))
        if comm.rank == 0:
            parts: Counts = counts
            told = {"ranks": comm.size, "folder": arguments.folder.name, "equations": share.halo.n_global}
            told |= {"method": method, "kind": arguments.preconditioner, "predicted": slowest, **found}
            told |= {"parts": asdict(predict(parts, machine)), "counts": asdict(parts), "machine": asdict(machine)}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
