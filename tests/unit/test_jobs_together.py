"""What a launcher tells, what signals do, what a control group leaves, and whether ranks fit on a node."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from henderson.equations.memory import estimate_per_rank
from henderson.errors import InterruptedRunError, ModelError, ResourceError
from henderson.jobs import memory
from henderson.jobs.failures import exit_code_of, known
from henderson.jobs.launcher import Launch, launched
from henderson.jobs.memory import check_memory_together
from henderson.jobs.run import Settings, ingest_only, understand
from henderson.jobs.stopping import listening
from henderson.jobs.together import only_first
from henderson.partitions.communicator import Alone
from henderson.results.stages import _left_in_groups


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Launch(0, 1)),
        ({"PMI_SIZE": "4", "PMI_RANK": "3"}, Launch(3, 4)),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, Launch(1, 2)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5"}, Launch(5, 8)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Launch(0, 1)),  # the batch script itself: one copy
        ({"PMI_SIZE": "many", "PMI_RANK": "0"}, Launch(0, 1)),
    ],
)
def test_launchers(environment: dict[str, str], expected: Launch) -> None:
    assert launched(environment) == expected


def test_a_signal_ends_what_is_not_patient() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with listening(), pytest.raises(InterruptedRunError, match="SIGUSR1"):
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_signal_waits_for_what_is_patient() -> None:
    with listening() as stopping:
        stopping.patient = True
        assert not stopping.flag.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stopping.flag.wait(5)


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[Any] = []

    def work() -> None:
        with listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_control_groups_of_both_versions(tmp_path: Path) -> None:
    def group(path: str, limit: str, used: int, cached: str, files: tuple[str, str]) -> None:
        folder = tmp_path / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / files[0]).write_text(limit + "\n")
        (folder / files[1]).write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 7\n{cached}\n")

    two = ("memory.max", "memory.current")
    group("job/step", "max", 10, "inactive_file 1", two)
    group("job", "1000", 300, "active_file 20\ninactive_file 30", two)
    group("memory/old", "500", 450, "inactive_file 999\ntotal_inactive_file 5", (
        "memory.limit_in_bytes", "memory.usage_in_bytes",
    ))  # fmt: skip
    membership = tmp_path / "cgroup"
    membership.write_text("4:cpu,memory:/old\n3:cpuset:/x\n0::/job/step\n")
    assert list(_left_in_groups(membership, tmp_path)) == [55, 750]


def test_errors_and_exit_codes() -> None:
    assert exit_code_of(ModelError("m")) == 5
    assert exit_code_of(MemoryError()) == 7
    assert exit_code_of(OSError(28, "No space left on device", "file")) == 7
    assert exit_code_of(KeyboardInterrupt()) == 130
    assert exit_code_of(KeyError("bug")) == 1
    assert known(ValueError("bug")) is None


def test_only_first_returns_and_raises() -> None:
    assert only_first(Alone(), lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        only_first(Alone(), lambda: 1 // 0)


class Four(Alone):
    """Four ranks of which all say the same."""

    size = 4

    def gather_all(self, value: Any) -> list[Any]:
        return [value] * 4


def test_ranks_that_do_not_fit_on_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.csv").write_text("id,sire,dam\n" + "\n".join(f"a{k},0,0" for k in range(500)))
    (tmp_path / "r.csv").write_text("id,y\n" + "\n".join(f"a{k},{k}" for k in range(500)))
    (tmp_path / "m.toml").write_text(
        '[data]\nrecords = "r.csv"\n[pedigree.p]\nfile = "p.csv"\n[model]\nequations = "y = 1*m + id*u(v(g(1)))"\n'
        '[variance.g]\nsigma = [[1.0]]\ngamma = { A = { pedigree = "p" } }\n[variance.res]\nsigma = [[1.0]]\n'
    )
    store = ingest_only(tmp_path / "m.toml", Settings(tmp_path / "out"))
    spec = understand(tmp_path / "m.toml")
    one = sum(i.bytes for i in estimate_per_rank(spec, memory.counts_of_store(store), 4))
    assert check_memory_together(spec, store, Four(), [0, 1, 2, 3], 4 * one) == one
    with pytest.raises(ResourceError, match="use 2 such nodes with 4 ranks each, or fewer ranks on a node"):
        check_memory_together(spec, store, Four(), [0, 1, 2, 3], 4 * one - 1)
    with pytest.raises(ResourceError, match="use nodes with more memory"):
        check_memory_together(spec, store, Four(), [0], 1)
