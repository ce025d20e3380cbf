"""Start-up stays quick."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

HENDERSON = Path(sys.executable).with_name("henderson")


@pytest.mark.parametrize("command", [[sys.executable, "-c", "import henderson"], [str(HENDERSON), "--help"]])
def test_under_half_a_second(command: list[str]) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.5
