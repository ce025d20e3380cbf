"""C as a distributed PETSc matrix: every process inserts what its own records and individuals add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from henderson.equations.assembly import local_matrix
from henderson.equations.distributed import Halo
from henderson.equations.operator import Operator
from henderson.errors import UsageError
from henderson.partitions.mpi import MpiCommunicator
from henderson.solvers.petsc.library import PETSc

KINDS = ("aij", "baij", "sbaij")


def assemble_matrix(
    operator: Operator, halo: Halo, communicator: MpiCommunicator, kind: str = "aij", prefix: str = ""
) -> PETSc.Mat:
    """Return C with one row per equation, 1 on the diagonal of those that are left out of X. **Collective**.

    Entries of rows that another process owns are sent there by PETSc. Memory: 24 bytes an entry while it is inserted
    besides the matrix itself.

    Parameters
    ----------
    operator
        With one partition.
    halo
        Its ghosts.
    communicator
        The processes.
    kind
        ``aij``, or ``baij`` and ``sbaij`` if all groups have one number of positions.
    prefix
        Of the matrix's options.

    """
    if kind not in KINDS:
        raise UsageError(f"henderson_mat_type {kind!r} is not one of {', '.join(KINDS)}")
    widths = {g.width for g in operator.design.groups if g.n_levels}
    if kind != "aij" and len(widths) > 1:
        raise UsageError(
            f"henderson_mat_type {kind} needs one number of positions in all groups of equations; this model has "
            f"{', '.join(map(str, sorted(widths)))}: use aij"
        )
    (partition,) = operator.partitions
    number = global_numbers(operator, halo, communicator)
    entries = coo_array(local_matrix(operator, partition))
    blank = number[: halo.n_owned] < 0
    own = halo.first_owned + np.flatnonzero(blank)
    rows = np.concatenate([number[entries.row], own])
    columns = np.concatenate([number[entries.col], own])
    values = np.concatenate([entries.data, np.ones(len(own))])
    del entries
    left_out = (rows < 0) | (columns < 0)
    rows[left_out] = columns[left_out] = -1  # PETSc skips them
    A = PETSc.Mat().create(communicator.comm)
    A.setSizes(((halo.n_owned, halo.n_global), (halo.n_owned, halo.n_global)))
    if len(widths) == 1:
        A.setBlockSize(widths.pop())
    A.setOptionsPrefix(prefix)
    A.setType(PETSc.Mat.Type.AIJ)
    A.setPreallocationCOO(rows, columns)
    del rows, columns
    A.setValuesCOO(values, PETSc.InsertMode.ADD_VALUES)
    if kind != "aij":
        A.convert(kind)
    A.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    A.setOption(PETSc.Mat.Option.SPD, True)
    return A


def global_numbers(operator: Operator, halo: Halo, communicator: MpiCommunicator) -> NDArray[np.int64]:
    """Return the row of C of every local element, -1 for left-out equations and the null block. **Collective**."""
    (partition,) = operator.partitions
    firsts = np.array(communicator.gather_all(halo.first_owned), np.int64)
    number = np.full(partition.layout.n_local, -1, PETSc.IntType)
    number[: halo.n_owned] = halo.first_owned + np.arange(halo.n_owned)
    number[halo.ghosts] = firsts[halo.owner] + halo.element
    kept = operator.zeros()
    kept[0][: halo.n_owned] = 1.0
    kept[0][partition.blank] = 0.0
    operator.exchange.forward(kept)
    number[kept[0] == 0.0] = -1
    return np.asarray(number, np.int64)
