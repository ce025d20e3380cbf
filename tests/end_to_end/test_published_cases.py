"""The real cases beside the checkout, run through the command line and compared by their own checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HENDERSON = Path(sys.executable).with_name("henderson")
NOT_YET = "mrode04_4_genetic_groups"  # needs genetic groups


def check(shared_data: Path, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    checker = str(shared_data / "check_cases.py")
    command = [sys.executable, checker, "--henderson", str(HENDERSON), "-j", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def models(shared_data: Path, kind: str) -> list[str]:
    listed = subprocess.run(
        [sys.executable, str(shared_data / "check_cases.py"), "--list", "--only", kind],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.split()[0] for line in listed.stdout.splitlines()[:-1]]


def test_published_solutions(shared_data: Path) -> None:
    names = [m for m in models(shared_data, "solve") if not m.startswith(NOT_YET)]
    assert len(names) > 50
    done = check(shared_data, "--only", "solve", *names)
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().endswith(" 0 failed")


def test_bad_input_is_refused(shared_data: Path) -> None:
    assert len(models(shared_data, "fails")) >= 40
    done = check(shared_data, "--only", "fails", "bad_input")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("model", ["absorbed.toml", "regression.toml", "absorbed_lmt.xml", "regression_lmt.xml"])
def test_genetic_groups_are_refused_clearly(shared_data: Path, model: str, tmp_path: Path) -> None:
    file = shared_data / NOT_YET / model
    done = subprocess.run(
        [HENDERSON, "run", file, "--out", tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert "not supported yet" in done.stderr
    assert "group" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "solutions.csv").exists()
