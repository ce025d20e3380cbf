"""Breeding values as a Python user would compute them: pandas reads, SciPy assembles and iterates.

The system C = W'R^-1 W + A^-1 (x) G^-1 is assembled as one sparse matrix and solved by `scipy.sparse.linalg.cg` with a
Jacobi preconditioner. Every effect is one of all traits, so equations are level-major throughout. Indices are 32-bit
and what is not needed any more is let go, so that the comparison is with a careful user. Inbreeding is given (read from
the file of true values).

    python scipy_baseline.py FOLDER OUT.npz [--rtol 1e-8]

reads a folder written by ``henderson simulate`` and prints one JSON object: seconds (wall, CPU) by stage, iterations,
equations, non-zeros.
"""

from __future__ import annotations

import argparse
import json
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, cg


@dataclass(frozen=True)
class Problem:
    """The recoded data: `y` (n_records, n_traits) with NaN, integer codes of animals, parents, herds, sexes."""

    ids: pd.Index
    sire: np.ndarray
    dam: np.ndarray
    inbreeding: np.ndarray
    animal: np.ndarray
    classes: tuple[np.ndarray, ...]  # codes of herd (and sex) by record
    age: np.ndarray
    y: np.ndarray
    sigma_g: np.ndarray
    sigma_e: np.ndarray


class Stages:
    """Wall and CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = (time.perf_counter() - wall, time.process_time() - cpu)


def read(folder: Path) -> Problem:
    """Return the data of a simulated folder, ids recoded to 0, 1, ... in the order of the pedigree file."""
    pedigree = pd.read_csv(folder / "pedigree.csv")
    records = pd.read_csv(folder / "records.csv")
    truth = pd.read_csv(folder / "truth_animals.csv", usecols=["id", "inbreeding"])
    model = tomllib.loads((folder / "model.toml").read_text())
    ids = pd.Index(pedigree["id"])
    inbreeding = np.empty(len(ids))
    inbreeding[ids.get_indexer(truth["id"])] = truth["inbreeding"]
    known = {"id", "herd", "sex", "age", "born"}
    return Problem(
        ids=ids,
        sire=ids.get_indexer(pedigree["sire"]).astype(np.int32),  # -1 where unknown
        dam=ids.get_indexer(pedigree["dam"]).astype(np.int32),
        inbreeding=inbreeding,
        animal=ids.get_indexer(records["id"]).astype(np.int32),
        classes=tuple(pd.factorize(records[name])[0].astype(np.int32) for name in ("herd", "sex") if name in records),
        age=records["age"].to_numpy(float),
        y=records[[name for name in records if name not in known]].to_numpy(float),
        sigma_g=np.array(model["variance"]["g"]["sigma"]),
        sigma_e=np.array(model["variance"]["res"]["sigma"]),
    )


def inverse_relationship(sire: np.ndarray, dam: np.ndarray, inbreeding: np.ndarray) -> sp.csr_array:
    """Return A^-1 by Henderson's (1976) rules with inbreeding; parents -1 are unknown, rows in any order."""
    n = len(sire)
    F = np.append(inbreeding, -1.0)  # an unknown parent takes nothing off the variance
    d = 1.0 - 0.25 * ((1.0 + F[sire]) + (1.0 + F[dam]))
    animal = np.arange(n, dtype=np.int32)
    weighted = [(animal, np.ones(n)), (sire, np.full(n, -0.5)), (dam, np.full(n, -0.5))]
    rows, columns, values = [], [], []
    for row, a in weighted:
        for column, b in weighted:
            known = (row >= 0) & (column >= 0)
            rows.append(row[known])
            columns.append(column[known])
            values.append((a * b / d)[known])
    triplets = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sp.coo_array(triplets, shape=(n, n)).tocsr()


def residual_inverses(observed: np.ndarray, sigma_e: np.ndarray) -> sp.bsr_array:
    """Return R^-1, block-diagonal by record: the inverse of the observed traits' block, zero elsewhere."""
    n, t = observed.shape
    code = observed @ (1 << np.arange(t))
    inverse = np.zeros((1 << t, t, t))
    for pattern in np.unique(code):
        traits = np.flatnonzero(pattern >> np.arange(t) & 1)
        block = np.ix_(traits, traits)
        inverse[pattern][block] = np.linalg.inv(sigma_e[block])
    return sp.bsr_array((inverse[code], np.arange(n, dtype=np.int32), np.arange(n + 1, dtype=np.int32)))


def design(problem: Problem) -> tuple[sp.csr_array, int]:
    """Return W and the number of fixed equations; row = record * n_traits + trait, fixed effects first."""
    n, t = problem.y.shape
    observed = ~np.isnan(problem.y)
    record, trait = np.arange(n, dtype=np.int32)[:, None], np.arange(t, dtype=np.int32)[None, :]
    row = np.broadcast_to(record * t + trait, (n, t))[observed]
    columns, values = [], []
    start = 0
    for codes in problem.classes:
        columns.append((start + codes[:, None] * t + trait)[observed])
        values.append(np.ones(len(row)))
        start += (int(codes.max()) + 1) * t
    mean_age = np.where(observed, problem.age[:, None], np.nan)
    centred = problem.age[:, None] - np.nanmean(mean_age, axis=0)
    columns.append(np.broadcast_to(start + trait, (n, t))[observed])
    values.append(centred[observed])
    start += t
    columns.append((start + problem.animal[:, None] * t + trait)[observed])
    values.append(np.ones(len(row)))
    rows = np.tile(row, len(columns))
    shape = (n * t, start + len(problem.ids) * t)
    return sp.coo_array((np.concatenate(values), (rows, np.concatenate(columns))), shape=shape).tocsr(), start


def assemble(problem: Problem) -> tuple[sp.csr_array, np.ndarray, int]:
    """Return the coefficient matrix, the right-hand side and the number of fixed equations."""
    W, n_fixed = design(problem)
    t = problem.y.shape[1]
    weighted = (residual_inverses(~np.isnan(problem.y), problem.sigma_e) @ W).tocsr()
    rhs = weighted.T @ np.nan_to_num(problem.y).ravel()
    C = (W.T @ weighted).tocsr()
    del W, weighted
    A_inverse = inverse_relationship(problem.sire, problem.dam, problem.inbreeding)
    fixed_levels = sp.csr_array((n_fixed // t, n_fixed // t))  # the levels of fixed effects come first
    padded = sp.block_diag((fixed_levels, A_inverse), format="csr")
    padded.indices, padded.indptr = padded.indices.astype(np.int32), padded.indptr.astype(np.int32)
    return C + sp.kron(padded, np.linalg.inv(problem.sigma_g), format="csr"), rhs, n_fixed


def solve(C: sp.csr_array, rhs: np.ndarray, rtol: float) -> tuple[np.ndarray, int]:
    """Return the solution by conjugate gradients with a Jacobi preconditioner, and the iterations."""
    diagonal = C.diagonal()
    inverse = np.where(diagonal > 0, 1.0 / np.where(diagonal > 0, diagonal, 1.0), 1.0)  # a herd may lack a trait
    preconditioner = LinearOperator(C.shape, matvec=lambda r: inverse * r.ravel(), dtype=float)
    iterations = 0

    def count(_: np.ndarray) -> None:
        nonlocal iterations
        iterations += 1

    x, info = cg(C, rhs, rtol=rtol, atol=0.0, maxiter=10_000, M=preconditioner, callback=count)
    if info != 0:
        raise RuntimeError(f"conjugate gradients stopped after {iterations} iterations without converging")
    return x, iterations


def main() -> None:
    """Read, set up, solve, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rtol", type=float, default=1e-8)
    options = parser.parse_args()
    stage = Stages()
    with stage("read"):
        problem = read(options.folder)
    with stage("set up"):
        C, rhs, n_fixed = assemble(problem)
    with stage("solve"):
        x, iterations = solve(C, rhs, options.rtol)
    with stage("write"):
        ebv = x[n_fixed:].reshape(-1, len(problem.sigma_g))
        np.savez(options.out, ids=problem.ids.to_numpy(dtype=np.bytes_), ebv=ebv)
    print(json.dumps({"stages": stage.seconds, "iterations": iterations, "equations": len(x), "nonzeros": C.nnz}))


if __name__ == "__main__":
    main()
