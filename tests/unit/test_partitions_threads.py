"""The team of threads: order of results, errors, reuse; and the cuts."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from henderson.partitions.cut import cut_with_home, is_sorted
from henderson.partitions.threads import Team, even_bounds


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n_parts", [0, 1, 2, 7])
def test_results_come_in_the_order_of_the_parts(n_threads: int, n_parts: int) -> None:
    with Team(n_threads) as team:
        for _ in range(3):
            assert team.run(lambda part: part * part, n_parts) == [part * part for part in range(n_parts)]


def test_parts_run_side_by_side() -> None:
    """Both parts wait for each other, which one thread alone could not do."""
    barrier = threading.Barrier(2, timeout=20)
    with Team(2) as team:
        assert sorted(team.run(lambda part: barrier.wait())) == [0, 1]


@pytest.mark.parametrize("culprit", [0, 1])
def test_an_error_is_raised_when_all_have_ended_and_the_team_goes_on(culprit: int) -> None:
    ended = []

    def work(part: int) -> int:
        if part == culprit:
            raise ValueError(f"part {part}")
        ended.append(part)
        return part

    with Team(2) as team:
        with pytest.raises(ValueError, match=f"part {culprit}"):
            team.run(work)
        assert ended == [1 - culprit]
        assert team.run(lambda part: part) == [0, 1]


def test_closed_teams_leave_no_thread() -> None:
    before = threading.active_count()
    team = Team(3)
    team.run(lambda part: part)
    assert threading.active_count() == before + 2
    team.close()
    assert threading.active_count() == before


def test_even_bounds() -> None:
    assert list(even_bounds(10, 4)) == [0, 2, 5, 7, 10]
    assert list(even_bounds(1, 3)) == [0, 0, 0, 1]


@pytest.mark.parametrize("n_parts", [1, 2, 3, 5])
def test_records_stay_with_their_animals_and_work_is_shared(n_parts: int) -> None:
    rng = np.random.default_rng(1)
    n = 10_000
    home = np.sort(rng.integers(0, n // 4, 20_000)).astype(np.int32)  # all records in the first quarter
    home[:50] = -1
    levels, records = cut_with_home(n, home, n_parts)
    assert levels[0] == records[0] == 0
    assert (levels[-1], records[-1]) == (n, len(home))
    for part in range(n_parts):
        mine = home[records[part] : records[part + 1]]
        known = mine[mine >= 0]
        assert len(known) == 0 or (known.min() >= levels[part] and known.max() < levels[part + 1])
        work = levels[part + 1] - levels[part] + len(mine)
        assert work == pytest.approx(30_000 / n_parts, rel=0.02)


def test_sorted_codes() -> None:
    assert is_sorted(np.array([-1, 0, 0, 3], np.int32))
    assert not is_sorted(np.array([0, -1], np.int32))
    assert is_sorted(np.empty(0, np.int32))
