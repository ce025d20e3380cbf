"""What is compact is what it was made of, however the records are cut, however many patterns and values there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.ingest import compact
from henderson.ingest.compact import Agreed, agree, compact_block
from henderson.ingest.parts import read_meta, write_part
from henderson.store.schema import RecordColumns

N = 600


def blocks_of(
    responses: np.ndarray, covariates: list[np.ndarray], columns: RecordColumns, cuts: list[int], folder: Path
) -> tuple[Agreed, list[Path]]:
    parts = []
    for k, (lo, hi) in enumerate(zip([0, *cuts], [*cuts, N], strict=True)):
        parts.append(folder / f"part{k}")
        write_part(parts[-1], compact_block(responses[:, lo:hi], [c[lo:hi] for c in covariates]))
    return agree(parts, columns, N, folder / "agreed"), parts


def restored(agreed: Agreed, parts: list[Path]) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Return responses, covariates and patterns as a reader of the store would."""
    reals, small = (
        [np.concatenate(c) for c in zip(*pieces, strict=True)]
        for pieces in zip(*map(agreed.translated, parts), strict=True)
    )
    layout, columns = agreed.layout, agreed.columns
    responses = []
    for trait in columns.responses:
        place = layout.place(trait)[small[0]]
        y = np.full(N, np.nan)
        for k in range(layout.n_values):
            y[place == k] = reals[k][place == k]
        responses.append(y)
    covariates = []
    for c in columns.covariates:
        if c in layout.tables:
            covariates.append(agreed.table(c)[small[1 + list(layout.tables).index(c)]])
        else:
            covariates.append(reals[layout.n_values + layout.dense.index(c)])
    return np.array(responses), covariates, small[0]


@pytest.mark.parametrize("n_traits", [1, 3, 70])
@pytest.mark.parametrize("limit", [1 << 16, 40])
def test_compact_records_are_the_same_records(
    n_traits: int, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "MAX_CODES", limit)
    monkeypatch.setattr(compact, "MISSING_CODE", limit - 1)
    rng = np.random.default_rng(n_traits)
    y = rng.normal(size=(n_traits, N))
    y[rng.random(y.shape) < 0.5] = np.nan
    y[0, np.isnan(y).all(axis=0)] = -0.0
    few, gaps = rng.integers(-3, 9, N) / 3, np.where(rng.random(N) < 0.2, np.nan, rng.integers(0, 5, N))
    own = rng.normal(size=N)
    many = rng.integers(0, 60, N) * 1.5
    names = ("x9", "x10", "own", "many")  # not in the order of the alphabet
    columns = RecordColumns(responses=tuple(f"y{k}" for k in range(n_traits)), covariates=names)
    found = []
    for number, cuts in enumerate(([], [17], [100, 100, 350])):
        agreed, parts = blocks_of(y, [few, gaps, own, many], columns, cuts, tmp_path / str(number))
        responses, covariates, pattern = restored(agreed, parts)
        np.testing.assert_array_equal(responses, y)
        for left, right in zip(covariates, (few, gaps, own, many), strict=True):
            np.testing.assert_array_equal(left, right)
        found.append((agreed.layout, pattern.tolist(), read_meta(agreed.path)))
        assert set(agreed.layout.tables) == ({"x9", "x10"} | ({"many"} if limit > 60 else set()))
        dense = limit == 40 and n_traits == 70
        assert (agreed.layout.patterns == ("1" * n_traits,)) == (dense or n_traits == 1)
        assert agreed.layout.n_values == (n_traits if dense else int((~np.isnan(y)).sum(axis=0).max()))
    assert found[0] == found[1] == found[2]


def test_exclusive_traits_are_one_column(tmp_path: Path) -> None:
    y = np.full((4, N), np.nan)
    y[np.arange(N) % 4, np.arange(N)] = np.arange(N)
    agreed, parts = blocks_of(y, [], RecordColumns(("a", "b", "c", "d")), [300], tmp_path)
    assert agreed.layout.patterns == ("0001", "0010", "0100", "1000")
    (values,), (pattern,) = agreed.translated(parts[0])
    np.testing.assert_array_equal(values, np.arange(300))
    np.testing.assert_array_equal(pattern, 3 - np.arange(300) % 4)
    assert {s.path: s.dtype for s in agreed.layout.schemas(N)} == {
        "records/row": "int64",
        "records/value.0": "float64",
        "records/pattern": "uint8",
    }
