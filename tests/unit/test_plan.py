"""How pilots are carried on to the whole, what ranks send each other, time limits, the clock without others."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import pytest

from henderson.equations.memory import Counts
from henderson.jobs.communication import seconds_of_a_round, stream_rate, traffic
from henderson.jobs.pilot import grown, rounds_of_whole
from henderson.jobs.plan import seconds_of
from henderson.language.spec import JobSpec
from henderson.partitions.clock import Clock, waited

COUNTS = Counts(1_000_000, {}, {"ped": 1_000_000}, {})


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("10", 600), ("10:30", 630), ("1:00:00", 3600), ("2-0", 172800), ("1-06:30", 109800), ("1-0:0:5", 86405)],
)
def test_time_limits_as_sbatch_takes_them(limit: str, seconds: float) -> None:
    assert seconds_of(limit) == seconds


def test_no_time_limit_is_none() -> None:
    assert seconds_of("UNLIMITED") is None


def test_seconds_grow_as_between_the_pilots_within_bounds() -> None:
    assert grown([(100, 1.0), (200, 2.0)], 1000) == pytest.approx(10.0)
    assert grown([(100, 1.5), (200, 2.5)], 1000) == pytest.approx(10.5)  # 0.5 whatever the size
    assert grown([(100, 1.0), (200, 9.0)], 1000) == pytest.approx(9.0 + 1.25 * 0.045 * 800)  # the machine was busy
    assert grown([(100, 9.0), (200, 2.0)], 1000, (0.0, 1.0)) == pytest.approx(2.0)
    assert grown([(200, 2.0)], 100) == pytest.approx(1.0)


def test_rounds_go_on_with_the_logarithm_and_level_off() -> None:
    same, low, high = rounds_of_whole([(10**5, 40), (10**6, 40)], 10**8)
    assert (same, low, high) == (40, 36, 44)
    more, low, high = rounds_of_whole([(10**5, 40), (10**6, 50)], 10**8)
    assert 50 < more < 70  # 70 on a straight line
    assert low < more < high
    fewer, _, _ = rounds_of_whole([(10**5, 400), (10**6, 50)], 10**8)
    assert fewer == 20  # not below a part of the last pilot's
    alone, low, high = rounds_of_whole([(10**5, 40)], 10**8)
    assert (alone, low, high) == (40, 20, 60)


def test_a_rank_sends_to_all_others_but_no_more_than_its_ghosts() -> None:
    job, sweep = JobSpec("solve"), JobSpec("solve", (("preconditioner", "sweep"),))
    few, many = traffic(COUNTS, 2_000_000, 4, job), traffic(COUNTS, 2_000_000, 1024, job)
    assert few.messages == 2 * 3
    assert many.messages == pytest.approx(2 * 17 * math.sqrt(1_000_000 / 1024))
    assert few.bytes == pytest.approx(2 * 17 * math.sqrt(250_000) * 2 * 8)
    assert traffic(COUNTS, 2_000_000, 4, sweep).messages > few.messages
    alone = seconds_of_a_round(1.0, 2_000_000, 1, None, 1e10)
    assert alone == 1.0
    shared = seconds_of_a_round(1.0, 2_000_000, 4, few, 1e10)
    assert shared == pytest.approx(0.25 + 9 * 8 * 500_000 / 1e10 + few.seconds)


def test_memory_streams_at_a_rate_that_machines_have() -> None:
    assert 1e8 < stream_rate() < 1e13


def test_the_clock_leaves_out_waiting_for_processors() -> None:
    if waited() == 0.0:
        pytest.skip("the system does not tell how long threads wait")
    # two processes on one processor: each waits for half of the time
    busy = "import time, os; os.sched_setaffinity(0, {0}); end = time.time() + 4\nwhile time.time() < end: pass"
    code = (
        "import os, time\nfrom henderson.partitions.clock import Clock\nos.sched_setaffinity(0, {0})\n"
        "clock, used = Clock(), time.process_time()\n"
        "while time.process_time() - used < 0.5: pass\nprint(clock.seconds, clock.alone)"
    )
    with subprocess.Popen([sys.executable, "-c", busy]) as other:
        time.sleep(0.3)
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        other.kill()
    seconds, alone = map(float, said.split())
    assert alone == pytest.approx(0.5, abs=0.15)
    assert seconds > 0.7


def test_the_clock_goes_on_while_nothing_is_done() -> None:
    clock = Clock()
    time.sleep(0.05)
    assert clock.alone > 0.025
    assert clock.alone <= clock.seconds
