"""The solver over MPI: PETSc's Krylov methods on the kernels of the embedded engine."""
