"""What `henderson check` does: the model in words, and what its records hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from henderson.cli.commands import plain_console, plain_table
from henderson.cli.progress import progress_bars
from henderson.errors import UsageError

if TYPE_CHECKING:
    from henderson.jobs.check import Description
    from henderson.jobs.check_data import DataReport


def check_model(
    file: Path, *, store: Path | None = None, data: bool = False, edits: Path | None = None, as_json: bool
) -> None:
    """Print the model as it was understood and, with `data`, what its records hold; `edits`: a file for the offenders.

    Raises `InputFileError` if the records break checks whose action is error.
    """
    from henderson.jobs.check import describe_model
    from henderson.jobs.check_data import check_data, require
    from henderson.results.run_record import plain

    if edits is not None and not data:
        raise UsageError("--edits: only with --data, which reads the records")
    model = describe_model(file, store)
    report = None
    if data:
        place = store or Path(f"{file.stem}.out") / "store.zarr"
        with progress_bars(quiet=as_json) as progress:
            report = check_data(file, store=place, edits=edits, progress=progress)
    if as_json:
        rows = {k: [dataclasses.asdict(r) for r in getattr(model, k)] for k in ("factors", "positions")}
        held = {} if report is None else {"data": plain(report)}
        print(json.dumps({**model.config, **rows, "notes": list(model.notes), **held}))
    else:
        console = plain_console()
        _print_model(console, model)
        if report is not None:
            _print_data(console, report)
    if report is not None:
        require(report)


def _print_model(console: Console, model: Description) -> None:
    console.print(model.equations, soft_wrap=True, markup=False)
    for line in model.data:
        console.print(line, soft_wrap=True, markup=False)
    counted = any(f.levels is not None for f in model.factors)
    names = ("factor", "relationship", "levels of", "Sigma", *(("levels",) if counted else ()), "width")
    table = plain_table(*names, *(("equations",) if counted else ()), texts=4)
    for f in model.factors:
        sizes = [("at most " * f.at_most + f"{n:,}") if n is not None else "" for n in (f.levels, f.equations)]
        equations = [sizes[1] if f.factor != "res" else ""] if counted else []
        cells = (f.factor, f.relationship, f.levels_of, f.sigma, *sizes[:counted], str(f.width), *equations)
        table.add_row(*map(Text, cells))
    console.print(table)
    table = plain_table("factor", "sub-factor", "traits", "multiplies", "position", "variance", texts=4)
    for p in model.positions:
        cells = (p.factor, p.name, p.traits, p.term, str(p.position or ""), p.variance)
        table.add_row(*map(Text, cells))
    console.print(table)
    console.print(f"jobs: {'; '.join(model.jobs)}", soft_wrap=True, markup=False)
    for note in model.notes:
        console.print(note, soft_wrap=True, markup=False)


def _print_data(console: Console, report: DataReport) -> None:
    console.print(f"\n{report.records:,} records")
    table = plain_table("trait", "observed", "mean", "sd", "least", "largest")
    for t in report.traits:
        table.add_row(t.trait, f"{t.observed:,}", *(f"{v:.6g}" for v in (t.mean, t.sd, t.least, t.largest)))
    console.print(table)
    if report.classes:
        table = plain_table("fixed class", "levels", "records of the smallest", "levels of one record")
        for c in report.classes:
            table.add_row(c.column, f"{c.levels:,}", f"{c.smallest:,}", f"{c.alone:,}")
        console.print(table)
    if report.rules:
        table = plain_table("check of", "what", "values", "first", texts=2)
        table.columns[-1].justify = "left"
        for r in report.rules:
            table.add_row(*map(Text, (r["column"], r["reason"], f"{r['count']:,}", r["first"])))
        console.print(table)
        console.print(f"action: {report.action}")
    for remark in report.remarks:
        console.print(remark, soft_wrap=True, markup=False)
