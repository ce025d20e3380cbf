"""By what, and on what, a run was computed: the program, the libraries that decide its numbers, the machine."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import henderson

LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "pyarrow", "zarr", "numcodecs", "dask")
PARALLEL = ("mpi4py", "petsc4py", "petsc", "mpich", "openmpi")


def versions(*, parallel: bool) -> dict[str, str]:
    """Return versions of the program and of what it computes with, and `source`: a checksum of the program itself.

    parallel: whether MPI and PETSc had a part in it. Libraries that are not installed as packages are left out.
    """
    found = {"henderson": henderson.__version__, "source": source_checksum(), "python": platform.python_version()}
    for name in LIBRARIES + (PARALLEL if parallel else ()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def source_checksum() -> str:
    """Return the first 16 digits of the SHA-256 of all modules of the program."""
    root = Path(henderson.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def machine(nodes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the computer: names of the nodes (default: this one), system, processor, cores and memory of this one."""
    return {
        "nodes": sorted(set(nodes)) or [platform.node()],
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
