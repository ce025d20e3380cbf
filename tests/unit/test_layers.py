"""Imports point down, and each heavy library is imported in one place."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import henderson

PACKAGE = Path(henderson.__file__).parent

# what each part may import of the others (itself, errors and the version always)
BELOW_EQUATIONS = {"pedigree", "partitions", "kernels", "store", "language"}
MAY_IMPORT = {
    "kernels": set(),
    "language": set(),
    "store": set(),
    "pedigree": {"kernels", "store", "language"},
    "partitions": {"kernels", "store", "language"},
    "equations": BELOW_EQUATIONS,
    "solvers": BELOW_EQUATIONS | {"equations"},
    "accuracy": BELOW_EQUATIONS | {"equations", "solvers"},
    "reml": BELOW_EQUATIONS | {"equations", "solvers"},
    "results": BELOW_EQUATIONS | {"equations", "solvers", "accuracy", "reml"},
    "ingest": {"kernels", "pedigree", "store", "language"},
    "simulate": {"kernels", "pedigree", "store", "language"},
}
MAY_IMPORT["jobs"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)

ONE_PLACE = ["numba", "zarr", "dask", "petsc4py", "mpi4py"]


def modules() -> list[tuple[Path, set[str]]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
        found.append((path.relative_to(PACKAGE), names))
    return found


@pytest.mark.parametrize(("path", "imports"), [m for m in modules() if len(m[0].parts) > 1], ids=lambda v: str(v)[:60])
def test_imports_point_down(path: Path, imports: set[str]) -> None:
    part = path.parts[0]
    parts = {name.split(".")[1] for name in imports if name.startswith("henderson.")}
    known = {p for p in parts if (PACKAGE / p).is_dir()}
    assert known <= MAY_IMPORT[part] | {part}


@pytest.mark.parametrize("library", ONE_PLACE)
def test_heavy_library_is_imported_in_one_place(library: str) -> None:
    users = [str(p) for p, names in modules() if any(n == library or n.startswith(library + ".") for n in names)]
    assert len(users) <= 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import henderson, henderson.cli.main, sys; print(*(m for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "scipy", "numba", "zarr", "dask", "pyarrow", "pandas", "matplotlib", "lark", "rich"}
    assert not heavy & set(loaded)


def test_no_module_is_long() -> None:
    lengths = {str(p): len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
