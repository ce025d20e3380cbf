"""What the ranks of an MPI job do in the tests: `mpiexec -n P python ranks.py FOLDER`; rank 0 prints JSON."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from henderson.equations.distributed import Share, take_share
from henderson.equations.partition import LocalPedigree
from henderson.errors import HendersonError, ResourceError
from henderson.jobs.run import understand
from henderson.partitions.mpi import MpiCommunicator
from henderson.solvers.checkpoint import Checkpointing
from henderson.solvers.petsc.compare import compare
from henderson.solvers.petsc.options import PetscOptions
from henderson.solvers.petsc.solve import solve_share

RTOL = 1e-12
KILLED_AT = 47
WAYS = {
    "matrix-free": PetscOptions(rtol=RTOL),
    "assembled": PetscOptions(rtol=RTOL, operator="assembled"),
    "block": PetscOptions(rtol=RTOL, preconditioner="block"),
    "diagonal": PetscOptions(rtol=RTOL, preconditioner="diagonal", operator="assembled"),
    "jacobi": PetscOptions(rtol=RTOL, operator="assembled", arguments="-henderson_pc_type jacobi"),
    "pipecg": PetscOptions(rtol=1e-9, arguments="-henderson_ksp_type pipecg"),
    "groppcg": PetscOptions(rtol=1e-9, arguments="-henderson_ksp_type groppcg"),
    "bjacobi": PetscOptions(
        rtol=1e-9, operator="assembled", arguments="-henderson_pc_type bjacobi -henderson_sub_pc_type icc"
    ),
}
MISTAKES = {
    "misspelt": PetscOptions(arguments="-henderson_ksp_tpye pipecg"),
    "no prefix": PetscOptions(arguments="-ksp_type pipecg"),
    "decided": PetscOptions(arguments="-henderson_ksp_norm_type natural"),
    "not assembled": PetscOptions(arguments="-henderson_pc_type bjacobi"),
    "unknown solver": PetscOptions(arguments="-henderson_ksp_type pipecgg"),
    "no file": PetscOptions(file=Path("nowhere.opts")),
}


def by_level(share: Share, solution: np.ndarray, comm: MpiCommunicator) -> list[list[list[float]]]:
    """The solutions of all ranks, (level, position) per group."""
    mine = []
    for group in share.partition.layout.groups:
        mine.append((group.owned_levels(), solution[group.elements].reshape(-1, group.width)))
    everyone = comm.gather_all(mine)
    out = []
    for g, group in enumerate(share.partition.layout.groups):
        values = np.full((group.n_levels, group.width), np.nan)
        for parts in everyone:
            values[parts[g][0]] = parts[g][1]
        assert np.isfinite(values).all()
        out.append(values.tolist())
    return out


def run(share: Share, comm: MpiCommunicator, options: PetscOptions, **more: Any) -> dict[str, Any]:
    try:
        report = solve_share(share, comm, options, **more)
    except HendersonError as error:
        return {"error": str(error), "kind": type(error).__name__}
    assert report.communication is not None
    return {
        "reason": report.reason.name,
        "iterations": report.iterations,
        "true": report.relative_residual,
        "history": report.residual_norms,
        "solution": by_level(share, report.solution, comm),
        "communication": report.communication.as_record(),
    }


def interrupted(share: Share, comm: MpiCommunicator, folder: Path) -> dict[str, Any]:
    """Told to stop by one rank, then started again."""
    stop = threading.Event()

    def callback(iteration: int, _: float) -> None:
        if iteration >= 30 and comm.rank == comm.size - 1:
            stop.set()

    options = WAYS["matrix-free"]
    first = run(share, comm, options, checkpointing=Checkpointing(folder, 1e9, stop, comm), callback=callback)
    stop.clear()
    files = sorted(p.name for p in folder.iterdir())
    comm.barrier()
    copy = folder.with_name("copy")
    if comm.rank == 0:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    comm.barrier()
    other = run(share, comm, options, checkpointing=Checkpointing(copy, 1e9, stop, comm, "another model"))
    again = run(share, comm, options, checkpointing=Checkpointing(folder, 1e9, stop, comm))
    return {"first": first, "files": files, "other": other, "again": again, "left": folder.exists()}


def resumed(share: Share, comm: MpiCommunicator, folder: Path) -> dict[str, Any]:
    report = run(share, comm, WAYS["matrix-free"], checkpointing=Checkpointing(folder, 1e9, threading.Event(), comm))
    return report | {"left": folder.exists()}


def killed(share: Share, comm: MpiCommunicator, folder: Path) -> dict[str, Any]:
    """A rank dies; checkpoints are written as often as the ranks talk."""

    def callback(iteration: int, _: float) -> None:
        if iteration == KILLED_AT and comm.rank == comm.size - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    kept = Checkpointing(folder, 0.0, threading.Event(), comm)
    return run(share, comm, WAYS["matrix-free"], checkpointing=kept, callback=callback)


def poisoned(share: Share, comm: MpiCommunicator) -> dict[str, Any]:
    """One rank has a number that is not finite."""
    spoilt = comm.rank == comm.size - 1
    responses = tuple(np.full_like(y, np.inf) if spoilt else y for y in share.design.responses)
    rhs = run(replace(share, design=replace(share.design, responses=responses)), comm, PetscOptions())
    relationship = tuple(
        replace(r, precision=np.full_like(r.precision, np.nan)) if spoilt and isinstance(r, LocalPedigree) else r
        for r in share.partition.relationship
    )
    broken = replace(share, partition=replace(share.partition, relationship=relationship))

    def callback(iteration: int, _: float) -> None:
        if iteration == 3:
            raise ResourceError("the disk is full")

    raised = run(share, comm, PetscOptions(arguments="-henderson_ksp_type groppcg"), callback=callback)
    after = run(share, comm, PetscOptions(max_it=2))["reason"]
    return {
        "rhs": rhs["reason"],
        "blocks": run(broken, comm, PetscOptions()),
        "raised": raised,
        "after": after,
    }


def everything(share: Share, comm: MpiCommunicator, folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {name: run(share, comm, options) for name, options in WAYS.items()}
    results["mistakes"] = {name: run(share, comm, options) for name, options in MISTAKES.items()}
    results["poisoned"] = poisoned(share, comm)
    return results


CHECKS: dict[str, Callable[[Share, MpiCommunicator, Path], dict[str, Any]]] = {
    "everything": everything,
    "interrupted": interrupted,
    "resumed": resumed,
    "killed": killed,
    "compare": lambda share, comm, _: {"rows": [vars(row) for row in compare(share, comm, PetscOptions())]},
}


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    folder, check = Path(sys.argv[1]), sys.argv[2]
    comm = MpiCommunicator()
    share = take_share(understand(folder / "model.toml"), folder / "store.zarr", comm)
    result = CHECKS[check](share, comm, folder / f"checkpoint-{comm.size}")
    if comm.rank == 0:
        (folder / f"{check}-{comm.size}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
