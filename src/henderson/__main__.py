"""`python -m henderson`: the command where only the interpreter is on the path, as under some launchers of MPI."""

from henderson.cli.main import main

if __name__ == "__main__":
    main()
