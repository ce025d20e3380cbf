"""What each rank reads and holds while the equations are set up: seconds and peak memory of `take_share`.

Run ``mpiexec -n P python tests/benchmarks/shares_bench.py MODEL STORE`` for P = 1, 2, 4 (MODEL a parameter file, STORE
what ``henderson ingest`` made of it); with ``--make ANIMALS`` both are simulated first, by one process. A line of JSON
tells the peak of each rank beyond what its libraries take, the bytes it read from the store, and its sizes.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

from mpi4py import MPI

from henderson.equations.distributed import Share, take_share
from henderson.equations.memory import counts_of_store, estimate_per_rank
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.partitions.mpi import MpiCommunicator
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate

MIB = 1 << 20


def make(folder: Path, animals: int) -> tuple[Path, Path]:
    """Simulate three traits with maternal and permanent effects, two records of each recorded animal."""
    if not (folder / "model.toml").exists():
        simulate(SimulationConfig(animals=animals, repeats=2, maternal=True, seed=3), folder)
    store = folder / "s.zarr"
    ingest(load_model(folder / "model.toml", read_schema), store)
    return folder / "model.toml", store


def peak_bytes() -> int:
    """Return the largest resident memory since `forget_peak`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def forget_peak() -> int:
    """Let the peak be what is resident now, and return it."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def bytes_read() -> int:
    """Return the bytes that this process has asked files for."""
    found = re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())
    assert found is not None
    return int(found[1])


def measure(model: Path, store: Path, warm: tuple[Path, Path]) -> dict[str, object]:
    """Return what this rank took; `warm` is a small model that loads libraries and compiled kernels first."""
    communicator = MpiCommunicator(MPI.COMM_WORLD)
    take_share(load_model(warm[0], read_schema), warm[1], communicator)
    spec = load_model(model, read_schema)
    communicator.barrier()
    base, read, start = forget_peak(), bytes_read(), time.perf_counter()
    share: Share = take_share(spec, store, communicator)
    seconds = time.perf_counter() - start
    halo = share.halo
    return {
        "rank": communicator.rank,
        "seconds": round(seconds, 2),
        "peak_mib": round((peak_bytes() - base) / MIB, 1),
        "read_mib": round((bytes_read() - read) / MIB, 1),
        "estimate_mib": round(
            sum(i.bytes for i in estimate_per_rank(spec, counts_of_store(store), communicator.size)) / MIB, 1
        ),
        "records": share.design.n_records,
        "elements": halo.n_owned,
        "ghosts": len(halo.ghosts),
        "wanted": len(halo.wanted),
        "neighbours": halo.n_neighbours,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="parameter file; a folder with --make")
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("--make", type=int, metavar="ANIMALS")
    options = parser.parse_args()
    model, store = options.model, options.store
    comm = MPI.COMM_WORLD
    warm = model if options.make else model.parent
    small = comm.bcast(make(warm / "warm", 200) if comm.rank == 0 else None)
    if options.make:
        model, store = comm.bcast(make(options.model / "large", options.make) if comm.rank == 0 else None)
    rows = comm.gather(measure(model, store, small))
    for row in rows or []:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
