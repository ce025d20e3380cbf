"""Factors of user relationship matrices: samples with covariance K^-1 need B with B B' = K^-1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, diags_array, tril
from scipy.sparse.linalg import splu

from henderson.equations.operator import Operator
from henderson.equations.partition import LocalMatrix, Partition, RootRows
from henderson.errors import ModelError
from henderson.partitions.communicator import ALONE, Communicator

Floats = NDArray[np.float64]
DENSE = 0.2  # share of elements that are not zero from which the factor is dense


def with_roots(operator: Operator, communicator: Communicator = ALONE) -> Operator:
    """Return the operator with the rows of a factor of each user matrix in its partitions. **Collective**.

    The first process gets all rows of the matrix and gives those of the factor to all. Cost: one factorisation of each
    matrix; nothing where there are none.
    """
    partitions = operator.partitions
    for g, group in enumerate(operator.design.groups):
        if group.covariance is None or group.covariance.kind != "matrix":
            continue
        rows = [_rows(p, g) for p in partitions]
        every = [communicator.gather_rows(np.concatenate(parts)) for parts in zip(*rows, strict=True)]
        found = None
        if communicator.rank == 0:
            lengths, columns, values = every
            indptr = np.concatenate([[0], np.cumsum(lengths)])
            found = matrix_root(csr_array((values, columns, indptr), shape=(group.n_levels,) * 2), group.name)
        root, logs = communicator.broadcast(found)
        partitions = [_with_rows(p, g, root, logs) for p in partitions]
    if partitions is operator.partitions:
        return operator
    return Operator(operator.design, partitions, operator.exchange, operator.team)


def matrix_root(inverse: csr_array, name: str) -> tuple[csr_array, Floats]:
    """Return B (CSR) with B B' = `inverse`, and numbers for each row whose sum is the log-determinant of `inverse`.

    Raises `ModelError` if it is not positive definite; `name`: of the variance.
    """
    n = inverse.shape[0]
    message = f"the relationship matrix of variance {name!r} is not positive definite; correct its file"
    if inverse.nnz > DENSE * n * n:
        try:
            L = np.linalg.cholesky(inverse.toarray())
        except np.linalg.LinAlgError:
            raise ModelError(message) from None
        return csr_array(tril(csr_array(L), format="csr")), 2.0 * np.log(np.diag(L))
    options = {"SymmetricMode": True}
    try:
        lu = splu(csc_array(inverse), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    except RuntimeError:
        raise ModelError(message) from None
    pivots = lu.U.diagonal()
    if not np.array_equal(lu.perm_r, lu.perm_c) or not np.all(pivots > 0.0):
        raise ModelError(message)
    lower = csr_array(csr_array(lu.L) @ diags_array(np.sqrt(pivots)))
    return csr_array(lower[lu.perm_r]), np.log(pivots)[lu.perm_r]


def _rows(partition: Partition, g: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return the lengths, columns (by the numbers of all levels) and values of the rows that a partition owns."""
    matrix, local = partition.relationship[g], partition.layout.groups[g]
    assert isinstance(matrix, LocalMatrix)
    element = matrix.columns.astype(np.int64)
    owned = (element >= local.elements.start) & (element < local.elements.stop)
    ghosts = local.ghosts.astype(np.int64)
    columns = local.start + (element - local.first_owned) // local.width
    columns[~owned] = ghosts[(element[~owned] - local.first_ghost) // local.width]
    return np.diff(matrix.indptr), columns, matrix.values


def _with_rows(partition: Partition, g: int, root: csr_array, logs: Floats) -> Partition:
    local = partition.layout.groups[g]
    mine = csr_array(root[local.start : local.stop])
    rows = RootRows(
        mine.indptr.astype(np.int64),
        mine.indices.astype(np.int32),
        np.asarray(mine.data, np.float64),
        -float(logs[local.start : local.stop].sum()),
    )
    matrix = partition.relationship[g]
    assert isinstance(matrix, LocalMatrix)
    relationship = list(partition.relationship)
    relationship[g] = replace(matrix, root=rows)
    return replace(partition, relationship=tuple(relationship))
