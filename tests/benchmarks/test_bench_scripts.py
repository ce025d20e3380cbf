"""Every benchmark script still runs, on a small size, and prints its table; times are not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("inbreeding_bench.py", "--animals 20000 --repeat 1", ["dairy", "random", "shallow"]),
        ("ingest_bench.py", "--rows 2e4 --animals 1e4", ["record stages", "M rows/s", "peak"]),
        ("product_bench.py", "--animals 20000 --records 12000 --herds 500", ["product", "triad", "CONVERGED"]),
        ("reml_bench.py", "--animals 1000", ["few-sires", "random", "CONVERGED"]),
        ("shares_bench.py", "{tmp} --make 2000", ["peak_mib", "estimate_mib", "neighbours"]),
    ],
)
def test_script_runs(script: str, arguments: str, words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / script), *arguments.format(tmp=tmp_path).split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert [w for w in words if w not in done.stdout] == []
