"""Check that mpi4py, PETSc and petsc4py load, have 64-bit indices and share one MPI: check_mpi.py SERIES."""

import ctypes
import glob
import importlib.util
import os
import sys

from mpi4py import MPI

if (package := importlib.util.find_spec("petsc")) and not os.environ.get("PETSC_DIR"):
    # the wheel of petsc4py knows where PETSc was when it was built; here it is wherever pip put it
    for library in glob.glob(os.path.join(package.submodule_search_locations[0], "lib", "libpetsc.so.*")):
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)

import petsc4py

petsc4py.init(sys.argv[:1], comm=MPI.COMM_WORLD)

from petsc4py import PETSc  # noqa: E402

series, comm = sys.argv[1], MPI.COMM_WORLD
version = ".".join(map(str, PETSc.Sys.getVersion()))
if not version.startswith(series + "."):
    sys.exit(f"PETSc {version} was loaded; {series} is needed")
if PETSc.IntType().itemsize != 8:
    sys.exit("PETSc has 32-bit indices; configure it with --with-64-bit-indices=1")
vector = PETSc.Vec().createMPI((1, PETSc.DECIDE), comm=comm)
vector.set(1.0)
if vector.sum() != comm.size or MPI.COMM_WORLD.allreduce(1) != comm.size:
    sys.exit("PETSc and mpi4py do not share one MPI")
if comm.rank == 0:
    library = MPI.Get_library_version().split("\0")[0].splitlines()[0]
    print(f"PETSc {version}, 64-bit indices, {comm.size} ranks of {' '.join(library.split())}")
