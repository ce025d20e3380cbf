"""Run under mpiexec: solve many models, one after the other, as `henderson solve --engine petsc` does.

usage: mpi_cases.py JOBS.json, which holds {"rtol": ..., "models": [[file, store, out], ...], "settings": {...}}, and
"all_jobs": true to do the jobs of the files; rank 0 leaves errors.json beside it: the message of each that failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from henderson.errors import HendersonError
from henderson.jobs.distributed import run_together
from henderson.jobs.run import Settings
from henderson.jobs.stopping import Stopping
from henderson.jobs.together import FoundElsewhereError
from henderson.partitions.mpi import MpiCommunicator


def main(listed: Path) -> None:
    jobs = json.loads(listed.read_text())
    communicator = MpiCommunicator()
    errors = {}
    chosen = None if jobs.get("all_jobs") else ("solve",)
    for file, store, out in jobs["models"]:
        settings = Settings(Path(out), Path(store), "petsc", jobs=chosen, rtol=jobs["rtol"], **jobs["settings"])
        try:
            run_together(Path(file), settings, communicator, Stopping())
        except (HendersonError, FoundElsewhereError) as error:
            errors[out] = f"{type(error).__name__}: {error}"
    if communicator.rank == 0:
        listed.with_name("errors.json").write_text(json.dumps(errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
