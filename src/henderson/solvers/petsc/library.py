"""The one place that imports petsc4py; importing this module starts PETSc."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from pathlib import Path

from henderson.errors import HendersonError
from henderson.partitions import mpi

MPI = mpi.MPI  # type: ignore[attr-defined]  # loaded before PETSc, which has to run on the same MPI


def _preload() -> None:
    """Load the libpetsc of the Python package `petsc`: petsc4py looks for it where it was built."""
    spec = importlib.util.find_spec("petsc")
    if "PETSC_DIR" in os.environ or spec is None or spec.origin is None:
        return
    for library in sorted(Path(spec.origin).parent.glob("lib/libpetsc.so.3.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


_preload()

import petsc4py  # noqa: E402

petsc4py.init(["henderson", "-no_signal_handler"])  # signals mean checkpoints here

from petsc4py import PETSc  # noqa: E402

__all__ = ["MPI", "PETSc", "plain_error"]


def plain_error(error: PETSc.Error) -> BaseException:
    """Return what went wrong: the exception of a function PETSc called back, else PETSc's message as one sentence."""
    if error.__cause__ is not None:
        return plain_error(error.__cause__) if isinstance(error.__cause__, PETSc.Error) else error.__cause__
    lines = [re.sub(r"^\[\d+\] ", "", line) for line in str(error).splitlines()]
    told = [line for line in lines[1:] if line and not re.match(r"\w+\(\) (at|line) ", line)]
    return HendersonError(f"PETSc: {'; '.join(told) or lines[0]}")
