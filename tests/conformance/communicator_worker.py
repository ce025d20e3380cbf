"""What a rank of ``test_partitions_mpi`` runs: what the processes say to each other, against all of it in one place."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.errors import InputFileError, Problem
from henderson.partitions import directory, mpi
from henderson.partitions.agree import agreed
from henderson.partitions.communicator import Communicator
from henderson.partitions.mpi import MpiCommunicator


def check_reductions(c: Communicator, rng: np.random.Generator) -> None:
    values = rng.normal(size=(1001, 3))
    everyone = c.gather_all(values)
    expected = everyone[0].copy()
    for other in everyone[1:]:
        expected += other
    for small in (1 << 22, 0):  # at once, or piece by piece: the same bits
        mpi.SMALL = small
        np.testing.assert_array_equal(c.sum(values), expected)
    np.testing.assert_array_equal(c.minimum(values), np.min(everyone, axis=0))
    some = rng.random(100) < 0.3
    np.testing.assert_array_equal(c.logical_or(some), np.any(c.gather_all(some), axis=0))
    rows = rng.integers(0, 9, (c.rank, 2)).astype(np.int16)  # none on rank 0
    np.testing.assert_array_equal(c.gather_rows(rows), np.concatenate(c.gather_all(rows)))
    sent = [np.full((c.rank + k, 2), 100 * c.rank + k) for k in range(c.size)]
    for rank, part in enumerate(c.all_to_all(sent)):
        np.testing.assert_array_equal(part, np.full((rank + c.rank, 2), 100 * rank + c.rank))


def check_numbers(c: Communicator, rng: np.random.Generator) -> None:
    for n in (0, 3, 5000):
        for text in (False, True):
            keys = np.unique(rng.integers(0, 20_000, n if c.rank != 1 else 0))
            if text:
                keys = np.unique(keys.astype("S21"))
            numbering = directory.number_keys(keys, c)
            every = np.unique(np.concatenate(c.gather_all(keys)))
            assert numbering.total == len(every)
            np.testing.assert_array_equal(numbering.numbers, np.searchsorted(every, keys))
            np.testing.assert_array_equal(c.gather_rows(numbering.held), every)
            assert numbering.first == sum(c.gather_all(len(numbering.held))[: c.rank])


def check_tables(c: Communicator, rng: np.random.Generator) -> None:
    table = np.arange(100).reshape(50, 2)
    read: list[int] = []

    def rows_of(at: np.ndarray) -> np.ndarray:
        read.extend(at.tolist())
        return table[at]

    rows = np.unique(rng.integers(0, 50, 30))
    np.testing.assert_array_equal(directory.fetch_rows(rows, 50, rows_of, c), table[rows])
    every = [row for mine in c.gather_all(read) for row in mine]
    assert sorted(every) == sorted({row for mine in c.gather_all(rows.tolist()) for row in mine})  # each read once
    levels = rng.permutation(50)[:20].astype(np.int32)
    users = c.gather_all(levels)
    expected = [min(k for k in range(c.size) if level in users[k]) for level in levels]
    assert directory.lowest_users(levels, 50, c).tolist() == expected


def check_errors(c: Communicator) -> None:
    assert agreed(c, lambda: c.rank) == c.rank

    def fail() -> None:
        if c.rank:
            raise InputFileError([Problem("everywhere"), Problem(f"rank {c.rank}")])

    if c.size == 1:
        agreed(c, fail)
        return
    with pytest.raises(InputFileError) as raised:
        agreed(c, fail)
    told = [p.message for p in raised.value.problems]
    assert told == ["everywhere", *(f"rank {k}" for k in range(1, c.size))]


def main() -> None:
    communicator = MpiCommunicator()
    rng = np.random.default_rng(communicator.rank)
    check_reductions(communicator, rng)
    check_numbers(communicator, rng)
    check_tables(communicator, rng)
    check_errors(communicator)
    if communicator.rank == 0:
        print("as in one place")


if __name__ == "__main__":
    main()
