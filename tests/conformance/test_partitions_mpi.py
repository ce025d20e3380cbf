"""Processes of an MPI job as a communicator, and directories over them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("n_ranks", [1, 3, 4])
def test_what_processes_say_to_each_other(n_ranks: int, mpiexec: str) -> None:
    worker = Path(__file__).with_name("communicator_worker.py")
    command = [mpiexec, "-n", str(n_ranks), sys.executable, str(worker)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "as in one place\n"
