"""The real cases beside the checkout, run through the command line and compared by their own checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)

HENDERSON = Path(sys.executable).with_name("henderson")


def check(shared_data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    checker = str(shared_data / "check_cases.py")
    command = [sys.executable, checker, "--henderson", str(HENDERSON), "-j", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=880, check=False)


def models(shared_data: Path, kind: str) -> list[str]:
    listed = subprocess.run(
        [sys.executable, str(shared_data / "check_cases.py"), "--list", "--only", kind],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [line.split()[0] for line in listed.stdout.splitlines()[:-1]]


def test_published_solutions(shared_data: Path) -> None:
    assert len(models(shared_data, "solve")) > 50
    done = check(shared_data, "--only", "solve")
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().endswith(" 0 failed")


def test_published_variance_components(shared_data: Path) -> None:
    assert len(models(shared_data, "reml")) > 100
    done = check(shared_data, "--only", "reml")
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().endswith(" 0 failed")


def test_bad_input_is_refused(shared_data: Path) -> None:
    assert len(models(shared_data, "fails")) >= 40
    done = check(shared_data, "--only", "fails", "bad_input")
    assert done.returncode == 0, done.stdout
