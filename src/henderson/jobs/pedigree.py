"""The report of one pedigree file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from henderson.errors import UsageError
from henderson.ingest.files import cut
from henderson.ingest.header import source_of
from henderson.ingest.pedigree_file import PedigreeFolder, load_pedigree, read_pedigree
from henderson.ingest.pedigree_rows import read_metafile
from henderson.ingest.plan import unzipped
from henderson.ingest.run import BLOCK_BYTES
from henderson.language.pedigrees import pedigree_faults
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.report import write_report
from henderson.pedigree.summary import PedigreeSummary


def report(
    file: Path,
    *,
    out: Path | None = None,
    threads: int | None = None,
    selfing: bool = False,
    add_missing_parents: bool = False,
    no_inbreeding: bool = False,
    probabilistic: bool = False,
    mgs: bool = False,
    phantomparents: int = 0,
    metafile: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[PedigreeSummary, Path]:
    """Return the summary of a pedigree file and the folder of its reports.

    The switches are those of a parameter file. Raises `InputFileError` for what is wrong in the file, `UsageError` for
    switches that exclude each other.
    """
    out = out or Path(f"{file.stem}.pedigree")
    spec = PedigreeSpec(
        file.stem,
        str(file),
        not no_inbreeding,
        selfing=selfing,
        add_missing_parents=add_missing_parents,
        probabilistic=probabilistic,
        mgs=mgs,
        phantomparents=phantomparents,
        metamatrix=None if metafile is None else read_metafile(metafile, str(metafile)),
    )
    if faults := [f"--{key}: {message}" for key, message in pedigree_faults(spec)]:
        raise UsageError("; ".join(faults))
    source = source_of(file, str(file), headless=True)
    with tempfile.TemporaryDirectory(prefix="henderson.") as work:
        folder = PedigreeFolder(Path(work) / "parts")
        blocks = cut(unzipped(source, Path(work), 0), BLOCK_BYTES)
        read_pedigree(spec, blocks, folder, threads or os.cpu_count() or 1, progress)
        pedigree = load_pedigree(spec.name, folder)
        return write_report(replace(pedigree, name=file.name), out), out
