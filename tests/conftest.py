"""Fixtures for all tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# ranks that wait leave the core to others: there may be more ranks than cores
os.environ |= {"MPIR_CVAR_POLLS_BEFORE_YIELD": "1", "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1"}

# the same examples in every run of CI; elsewhere each run looks at new ones
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real cases beside the checkout; without it these tests fail in CI and are skipped elsewhere."""
    if not SHARED_DATA.is_dir():
        lacking(f"the real cases are not there: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def mpiexec() -> str:
    """The command that starts ranks; without it or petsc4py these tests fail in CI and are skipped elsewhere."""
    command = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    modules = [name for name in ("mpi4py", "petsc4py") if importlib.util.find_spec(name) is None]
    if modules or command is None:
        lacking(f"these tests need {', '.join(modules) or 'mpiexec'}: pip install .[mpi]")
    return str(command)


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser without a window; without one these tests fail in CI and are skipped elsewhere."""
    found = [c for name in ("chromium", "chromium-browser", "google-chrome") if (c := shutil.which(name))]
    if not found:
        lacking("these tests need Chromium: install the package chromium")
    return found[0]


@pytest.fixture(scope="session")
def bash() -> str:
    """The shell; without it these tests fail in CI and are skipped elsewhere."""
    command = shutil.which("bash")
    if command is None:
        lacking("these tests need bash")
    return str(command)


def lacking(reason: str) -> None:
    """Fail in CI, skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
