"""Levels of a partition in local vectors: the same whether tables are over all levels or over the few that are used."""

from __future__ import annotations

import numpy as np
import pytest

from henderson.kernels import level_table
from henderson.kernels.hashing import table_size
from henderson.partitions import layout
from henderson.partitions.layout import GroupLayout, GroupUse, first_use, lay_out


@pytest.fixture(params=[8, 0], ids=["table over all levels", "table over used levels"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(layout, "FEW", request.param)
    return int(request.param)


def expected_first_use(*codes: list[int]) -> list[int]:
    return list(dict.fromkeys(c for each in codes for c in each if c >= 0))


def test_levels_in_order_of_first_use(few: int) -> None:
    first, second = [5, -1, 2, 5, 7], [2, 0, -2, 9]
    found = first_use(10, [np.array(first, np.int32), np.array(second, np.int32)])
    assert found.tolist() == expected_first_use(first, second) == [5, 2, 7, 0, 9]
    assert first_use(10, []).tolist() == []


def test_offsets_of_owned_levels_and_ghosts(few: int) -> None:
    group = GroupLayout(40, 3, 0, 0, np.array([30, 2, 17], np.int32), np.array([1, 25], np.int32), 100, 200)
    codes = np.array([2, 25, -1, 17, 1, 30], np.int32)
    assert group.offsets(codes, 999).tolist() == [103, 203, 999, 106, 200, 100]
    assert group.offsets(np.array([5], np.int32), 999).tolist() == [999]  # not used here


def test_many_random_levels(few: int) -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(-1, 3_000, 5_000).astype(np.int32)
    used = first_use(3_000, [codes])
    assert used.tolist() == expected_first_use(codes.tolist())
    owners = rng.integers(0, 2, len(used)).astype(np.int32)
    (group,) = lay_out(0, [GroupUse(3_000, 2, used, None)], [owners]).groups
    elements = dict(zip(group.owned_levels().tolist(), range(0, 2 * group.n_owned, 2), strict=True))
    elements |= dict(zip(group.ghosts.tolist(), range(2 * group.n_owned, 2 * len(used), 2), strict=True))
    assert group.offsets(codes, 9_999).tolist() == [elements.get(c, 9_999) for c in codes.tolist()]
    assert sorted(elements) == sorted(used.tolist())
    assert set(group.owned_levels().tolist()) == set(used[owners == 0].tolist())


def test_levels_that_meet_in_one_slot_are_told_apart() -> None:
    levels = np.arange(0, 1 << 20, 1 << 10, dtype=np.int32)
    slots, order = np.zeros(table_size(len(levels)), np.int32), np.empty(len(levels), np.int32)
    assert level_table.first_use(levels, slots, order, 0) == len(levels)
    assert level_table.first_use(levels, slots, order, len(levels)) == len(levels)
    out = np.empty(len(levels) + 1, np.uint32)
    codes = np.append(levels[::-1], np.int32(7))
    level_table.offsets(codes, slots, levels, np.arange(len(levels), dtype=np.uint32), np.uint32(4_000_000), out)
    assert out.tolist() == [*range(len(levels) - 1, -1, -1), 4_000_000]
