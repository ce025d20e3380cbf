"""Tables and digests of several ranks are those of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from henderson.results.groups import Grouping
from henderson.results.parallel_summary import digest_together
from henderson.results.parallel_tables import OwnedRows, write_tables_together
from henderson.results.record_tables import RecordValues, write_records
from henderson.results.solution_tables import write_lmt_results, write_solutions
from henderson.results.summary import digest_effects
from henderson.solvers.solutions import SubfactorSolutions
from henderson.store.model_data import Labels


class Ranks:
    """Several ranks as threads of this process: everything goes through one table that all see."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._barrier = threading.Barrier(size)
        self._table: list[Any] = [None] * size

    def all(self, rank: int, value: Any) -> list[Any]:
        self._table[rank] = value
        self._barrier.wait(20)
        everyone = list(self._table)
        self._barrier.wait(20)
        return everyone

    def run(self, work: Callable[[Rank], Any]) -> list[Any]:
        found: list[Any] = [None] * self.size

        def one(rank: int) -> None:
            try:
                found[rank] = work(Rank(self, rank))
            except BaseException as error:
                found[rank] = error
                self._barrier.abort()

        threads = [threading.Thread(target=one, args=(r,)) for r in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for result in found:
            if isinstance(result, BaseException):
                raise result
        return found


class Rank:
    """One of them, as a `Communicator`."""

    def __init__(self, ranks: Ranks, rank: int) -> None:
        self._ranks, self.rank, self.size = ranks, rank, ranks.size

    def sum(self, values: Any) -> Any:
        return sum(self._ranks.all(self.rank, values)[1:], start=self._ranks.all(self.rank, values)[0].copy())

    def minimum(self, values: Any) -> Any:
        return np.min(self._ranks.all(self.rank, values), axis=0)

    def gather_all(self, value: Any) -> list[Any]:
        return self._ranks.all(self.rank, value)

    def broadcast(self, value: Any, root: int = 0) -> Any:
        return self._ranks.all(self.rank, value)[root]

    def all_to_all(self, send: Sequence[Any]) -> list[Any]:
        return [sent[self.rank] for sent in self._ranks.all(self.rank, list(send))]

    def barrier(self) -> None:
        self._ranks.all(self.rank, None)


def parts(generator: np.random.Generator, n: int, quoted: bool) -> list[SubfactorSolutions]:
    herds = [f"H{k}" for k in range(11)] + (["a,b"] if quoted else ["ab"])
    ids = Labels(generator.permutation(10 * n)[:n].astype(np.int64))
    return [
        SubfactorSolutions("fxcl", "h", Labels.from_text(herds), generator.normal(size=12), generator.random(12) < 0.7),
        SubfactorSolutions("fxco", "c_1", Labels.from_text([""]), np.array([0.5]), np.array([True])),
        SubfactorSolutions("g", "u", ids, generator.normal(size=n)),
        SubfactorSolutions("g", "m", ids, generator.normal(size=n) * 1e-9),
    ]


def owned(whole: Sequence[SubfactorSolutions], row: Any, owner: dict[str, Any], rank: int) -> list[OwnedRows]:
    rows = []
    for part in whole:
        mine = np.flatnonzero(owner[part.factor] == rank)
        own = SubfactorSolutions(
            part.factor,
            part.subfactor,
            part.labels.take(mine),
            part.values[mine],
            None if part.kept is None else part.kept[mine],
        )
        keys = row[mine] if part.factor == "g" else mine
        rows.append(OwnedRows(own, keys, len(part.labels), part.n_rows))
    return rows


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("quoted", [False, True])
def test_files_of_many_ranks_are_those_of_one(size: int, quoted: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(size)
    n = 500
    whole = parts(generator, n, quoted)
    row = generator.permutation(n)
    owner = {
        "fxcl": generator.integers(0, size, 12),
        "fxco": np.array([size - 1]),
        "g": np.sort(generator.integers(0, size, n)),
    }
    alone, many = tmp_path / "alone", tmp_path / "many"
    alone.mkdir()
    many.mkdir()
    orders = {"g": np.argsort(row, kind="stable")}
    write_solutions(whole, alone, orders=orders)
    write_lmt_results(whole, alone, orders=orders)
    (many / "solutions.parquet").mkdir()  # left by an earlier run
    Ranks(size).run(lambda c: write_tables_together(owned(whole, row, owner, c.rank), many, c, lmt=True))
    assert sorted(p.name for p in many.iterdir()) == ["results.csv", "solutions.csv"]
    for name in ("solutions.csv", "results.csv"):
        assert (many / name).read_bytes() == (alone / name).read_bytes()

    def parquet(c: Rank) -> Any:
        return write_tables_together(owned(whole, row, owner, c.rank), many, c, lmt=False, parquet_above=100)

    for _ in range(2):  # the second replaces the folder of the first
        (path,) = Ranks(size).run(parquet)[0]
        assert path.is_dir()
        assert len(list(path.iterdir())) == size
    assert not (many / "solutions.csv").exists()
    single = write_solutions(whole, alone, orders=orders, parquet_above=100)
    assert pq.read_table(path).to_pylist() == pq.read_table(single).to_pylist()
    sizes = [pq.read_metadata(file).num_rows for file in sorted(path.iterdir())]
    assert max(sizes) <= 1.1 * sum(sizes) / size + 12
    write_solutions(whole, many, orders=orders, parquet_above=100)  # one process after several
    assert path.is_file()
    Ranks(size).run(parquet)
    assert path.is_dir()


@pytest.mark.parametrize("size", [1, 4])
def test_digests_of_many_ranks_are_those_of_one(size: int) -> None:
    generator = np.random.default_rng(7)
    whole = parts(generator, 300, False)
    owner = {f: generator.integers(0, size - 1 or 1, n) for f, n in (("fxcl", 12), ("fxco", 1), ("g", 300))}

    def work(c: Rank) -> Any:
        mine = np.flatnonzero(owner["g"] == c.rank)
        groupings = [years.take(mine) if p.factor == "g" else None for p in whole]
        return digest_together([r.part for r in owned(whole, np.arange(300), owner, c.rank)], c, groupings)

    years = Grouping("birth year", ("2001", "2002", "2003"), generator.integers(-1, 2, 300).astype(np.int16))
    expected_digests = digest_effects(whole, [years if p.factor == "g" else None for p in whole])
    assert any(d.trend is not None and d.trend.labels == ("2001", "2002") for d in expected_digests)
    for found in Ranks(size).run(work):
        for one, expected in zip(found, expected_digests, strict=True):
            a, b = one.summary, expected.summary
            assert (a.factor, a.subfactor, a.levels, a.left_out) == (b.factor, b.subfactor, b.levels, b.left_out)
            assert (a.minimum, a.maximum) == (b.minimum, b.maximum)
            assert (a.mean, a.sd) == pytest.approx((b.mean, b.sd), rel=1e-12)
            assert one.best == expected.best
            if expected.histogram is not None:
                assert one.histogram.edges.tolist() == expected.histogram.edges.tolist()
                assert one.histogram.counts.tolist() == expected.histogram.counts.tolist()
            assert (one.trend is None) == (expected.trend is None)
            if expected.trend is not None:
                assert (one.trend.labels, one.trend.unknown) == (expected.trend.labels, expected.trend.unknown)
                assert one.trend.n.tolist() == expected.trend.n.tolist()
                assert one.trend.mean == pytest.approx(expected.trend.mean, rel=1e-12)
                assert one.trend.sd == pytest.approx(expected.trend.sd, rel=1e-12)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("observed_only", [False, True])
@pytest.mark.parametrize("above", [0, 10_000])
def test_tables_of_records(size: int, observed_only: bool, above: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    row = rng.permutation(40)[:31].astype(np.int64)  # some records were skipped
    observed, fitted = rng.normal(size=(31, 2)), rng.normal(size=(31, 2))
    observed[rng.random((31, 2)) < 0.3] = np.nan
    fitted[0, 1] = observed[0, 1] = np.nan
    (tmp_path / ("yhat.csv" if above == 0 else "yhat.parquet")).write_text("of an earlier run")
    cuts = np.array_split(np.arange(31), size)

    def work(communicator: Rank) -> Path:
        mine = cuts[communicator.rank]
        values = RecordValues(row[mine], observed[mine], fitted[mine])
        options = {"observed_only": observed_only, "parquet_above": above}
        return write_records("yhat", values, ["milk", 'f"t'], tmp_path, communicator, **options)

    (path,) = set(Ranks(size).run(work))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    frame = pq.read_table(path).to_pandas() if above == 0 else pd.read_csv(path)
    order = np.argsort(row)
    expected = pd.DataFrame(
        {
            "record": np.repeat(row[order] + 1, 2),
            "trait": ["milk", 'f"t'] * 31,
            "observed": observed[order].ravel(),
            "fitted": fitted[order].ravel(),
            "residual": (observed - fitted)[order].ravel(),
        }
    )
    if observed_only:
        expected = expected[expected["observed"].notna()].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False, rtol=1e-14)
