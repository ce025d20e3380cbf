"""What `henderson validate` does: solve the data before a cut-off and all data, and compare the predictions."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from henderson.cli.commands import plain_table, run_settings
from henderson.errors import UsageError

if TYPE_CHECKING:
    from henderson.jobs.validate import Choices

PARTS = ("partial", "whole")


def validate_model(
    file: Path,
    *,
    cut_off: str | None,
    date_column: str | None,
    out: Path | None,
    focal: Path | None,
    born: str | None,
    replicates: int,
    seed: int,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Solve twice, once with the records before the cut-off, and print how well they foretold the whole."""
    from henderson.jobs.run import Settings, understand
    from henderson.jobs.validate import Choices

    given = understand(file, ("solve",)).validation
    cut_off = cut_off or (given.cut_off if given is not None else None)
    date_column = date_column or (given.date if given is not None else None)
    if cut_off is None or date_column is None:
        missing = "--cut-off" if cut_off is None else "--date-column"
        raise UsageError(f"{missing} is missing: give it, or [validation] in {file}: date = COLUMN, cut_off = VALUE")
    out = out or Path(f"{file.stem}.validation")
    whole = Settings(out=out / PARTS[1], jobs=("solve",), **options)
    partial = replace(whole, out=out / PARTS[0], before=(date_column, cut_off))
    for settings in (partial, whole):
        run_settings(file, settings, as_json=as_json, quiet=quiet)
    choices = Choices(focal, born, replicates, seed)
    if whole.engine == "petsc":
        from henderson.cli.together import with_one_voice

        with_one_voice(out / PARTS[1], lambda: _report(out, choices, as_json=as_json, quiet=quiet), as_json=as_json)
    else:
        _report(out, choices, as_json=as_json, quiet=quiet)


def _report(out: Path, choices: Choices, *, as_json: bool, quiet: bool) -> None:
    from henderson.jobs.validate import validate
    from henderson.jobs.validate_files import COLUMNS, cells, rows_of, validation_json, write_validation

    found = validate(out / PARTS[0], out / PARTS[1], choices)
    files = write_validation(found, out)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(validation_json(found)))
        return
    if quiet:
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(
        f"{found.n_partial:,} of {found.n_whole:,} records have {found.column} before {found.cut_off}", markup=False
    )
    for e in found.effects:
        title = f"{e.factor} {e.subfactor}: {e.lr.n:,} focal individuals of {e.lr.families:,} families"
        console.print(title, soft_wrap=True, markup=False, style="bold")
        table = plain_table(*COLUMNS)
        table.columns[-1].justify = "left"
        for row in rows_of(e):
            table.add_row(*cells(row))
        console.print(table)
    for path in files:
        console.print(str(path), soft_wrap=True)
