"""What `henderson validate` does: solve the data before a cut-off and all data, and compare the predictions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from henderson.cli.commands import do_once, plain_console, plain_table, run_settings
from henderson.errors import UsageError
from henderson.language.spec import ValidationSpec

if TYPE_CHECKING:
    from henderson.jobs.contrasts import Contrasts, Floats
    from henderson.jobs.focal import ByModel
    from henderson.jobs.run import Settings
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
    daughters: int,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Solve twice, once with the records before the cut-off, and print how well they foretold the whole."""
    from henderson.jobs.run import Settings
    from henderson.jobs.validate import Choices

    out = out or Path(f"{file.stem}.validation")
    if options["engine"] == "petsc":  # one message of what is wrong, before all of them read it
        do_once("petsc", out, lambda: _cut(file, cut_off, date_column), as_json=as_json)
    before, estimated = _cut(file, cut_off, date_column)
    whole = Settings(out=out / PARTS[1], jobs=("reml" if estimated else "solve",), **options)
    partial = replace(whole, out=out / PARTS[0], jobs=("solve",), before=before)
    if estimated:
        partial = replace(partial, variances=whole.out)
    for settings in (whole, partial):
        run_settings(file, settings, as_json=as_json, quiet=quiet)
    choices = Choices(focal, born, replicates, seed, daughters)
    known = replace(whole, jobs=("solve",), variances=whole.out if estimated else None)
    by_model = _by_model(file, partial, known) if whole.engine == "embedded" else None
    do_once(whole.engine, out, lambda: _report(out, choices, by_model, as_json=as_json, quiet=quiet), as_json=as_json)


def _by_model(file: Path, partial: Settings, whole: Settings) -> ByModel:
    """Return what gives the variances of contrasts in both runs, by solving for them."""

    def variances(contrasts: Sequence[Contrasts]) -> tuple[list[Floats], list[Floats]]:
        from henderson.jobs.contrasts import contrast_variances

        return contrast_variances(file, partial, contrasts), contrast_variances(file, whole, contrasts)

    return variances


def _cut(file: Path, cut_off: str | None, date_column: str | None) -> tuple[tuple[str, str], bool]:
    """Return the column of dates and where it is cut, and whether the variances are to be estimated."""
    from henderson.jobs.run import understand

    spec = understand(file)
    given = spec.validation or ValidationSpec()
    column, value = date_column or given.date, cut_off or given.cut_off
    if column is None or value is None:
        missing = "--cut-off" if value is None else "--date-column"
        raise UsageError(f"{missing} is missing: give it, or [validation] in {file}: date = COLUMN, cut_off = VALUE")
    return (column, value), any(job.name == "reml" for job in spec.jobs)


def _report(out: Path, choices: Choices, by_model: ByModel | None, *, as_json: bool, quiet: bool) -> None:
    from henderson.jobs.validate import validate
    from henderson.jobs.validate_files import COLUMNS, cells, counts_of, rows_of, validation_json, write_validation

    found = validate(out / PARTS[0], out / PARTS[1], choices, by_model)
    files = write_validation(found, out)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(validation_json(found)))
        return
    if quiet:
        return
    console = plain_console()
    console.print(
        f"{found.n_partial:,} of {found.n_whole:,} records have {found.column} before {found.cut_off}", markup=False
    )
    for e in found.effects:
        console.print(f"{e.factor} {e.subfactor}: {counts_of(e)}", soft_wrap=True, markup=False, style="bold")
        table = plain_table(*COLUMNS)
        table.columns[-1].justify = "left"
        for row in rows_of(e):
            table.add_row(*cells(row))
        console.print(table)
    for path in files:
        console.print(str(path), soft_wrap=True)
