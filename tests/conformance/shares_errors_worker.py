"""What a rank of ``test_equations_distributed`` runs on cases that must fail: every rank tells its error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from henderson.equations.distributed import take_share
from henderson.errors import HendersonError
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from henderson.partitions.mpi import MpiCommunicator


def main() -> None:
    communicator = MpiCommunicator()
    told = {}
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        spec = load_model(Path((folder / "model").read_text()), read_schema)
        text = ""
        try:
            take_share(spec, folder / "s.zarr", communicator)
        except HendersonError as error:
            text = f"{type(error).__name__}: {error}"
        told[folder.name] = communicator.gather_all(text)
    if communicator.rank == 0:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
