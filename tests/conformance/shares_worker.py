"""What a rank of ``test_equations_distributed`` runs: its share of every case against the equations of one process.

``mpiexec -n P python shares_worker.py FOLDER`` does so on 1, 2, ... P ranks, in one job to start libraries only once.
FOLDER/<case> holds the parameter file's path in ``model``, ``s.zarr``, and ``expected.npz``.
"""

from __future__ import annotations

import sys
import traceback
from functools import cache
from pathlib import Path

import numpy as np
from mpi4py import MPI

from henderson.equations.distributed import Share, take_share
from henderson.equations.operator import Operator
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from henderson.language.spec import ModelSpec
from henderson.partitions.communicator import Communicator
from henderson.partitions.message_exchange import MessageExchange
from henderson.partitions.mpi import MpiCommunicator
from henderson.partitions.threads import Team

RTOL = 1e-13


def operator_of(share: Share, communicator: Communicator, team: Team) -> Operator:
    halo = share.halo
    exchange = MessageExchange(communicator, halo.ghosts, halo.owner, halo.wanted, halo.wanted_by)
    return Operator(share.design, [share.partition], exchange, team)


@cache
def spec_of(folder: Path) -> ModelSpec:
    return load_model(Path((folder / "model").read_text()), read_schema)


def check(folder: Path, communicator: Communicator) -> None:
    spec = spec_of(folder)
    share = take_share(spec, folder / "s.zarr", communicator)
    expected = np.load(folder / "expected.npz")
    design, layout = share.design, share.partition.layout
    assert design.n_equations == int(expected["n_equations"])
    np.testing.assert_array_equal(np.array(design.dropped).reshape(-1, 3), expected["dropped"].reshape(-1, 3))
    assert list(design.residual_classes) == expected["residual_classes"].tolist()
    sizes = [g.n_levels for g in design.groups]
    assert sizes == expected["sizes"].tolist()
    owned = communicator.sum(np.array([g.n_owned for g in layout.groups]))
    assert owned.tolist() == sizes  # every level has one owner
    assert int(communicator.sum(np.array([design.n_records]))[0]) == int(expected["n_records"])

    with Team(1) as team:
        operator = operator_of(share, communicator, team)
        x, y, rhs = operator.zeros(), operator.zeros(), operator.right_hand_side()
        for k, group in enumerate(layout.groups):
            x[0][group.elements] = expected[f"x{k}"][group.owned_levels()].ravel()
        operator.blank(x)
        operator.apply(x, y)
    for k, group in enumerate(layout.groups):
        levels = group.owned_levels()
        assert design.groups[k].labels.take(levels).text() == expected[f"labels{k}"][levels].tolist()
        kept = design.kept[k]
        assert (kept is None) == (f"kept{k}" not in expected)
        if kept is not None:
            np.testing.assert_array_equal(kept, expected[f"kept{k}"])
            assert design.groups[k].labels.text() == expected[f"labels{k}"].tolist()
        for name, values in (("y", y), ("rhs", rhs)):
            wanted = expected[f"{name}{k}"]
            scale = RTOL * float(expected[f"{name}_scale"])
            np.testing.assert_allclose(values[0][group.elements], wanted[levels].ravel(), rtol=RTOL, atol=scale)


def main() -> None:
    world = MPI.COMM_WORLD
    for size in range(1, world.size + 1):
        part = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if part == MPI.COMM_NULL:
            continue
        communicator = MpiCommunicator(part)
        for folder in sorted(Path(sys.argv[1]).iterdir()):
            try:
                check(folder, communicator)
            except BaseException:
                traceback.print_exc()
                print(f"rank {communicator.rank} of {size}, case {folder.name!r}", file=sys.stderr, flush=True)
                world.Abort(1)
        if communicator.rank == 0:
            print(f"shares of {size} agree", flush=True)


if __name__ == "__main__":
    main()
