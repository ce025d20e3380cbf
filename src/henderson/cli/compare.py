"""What `henderson compare` does: two runs beside each other, as tables, a page and JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from henderson.cli.commands import plain_console, plain_table
from henderson.jobs.compare import compare
from henderson.jobs.compare_files import COLUMNS, agreement_cells, comparison_json, write_comparison

SHOWN = 5  # movers of a sub-factor on the terminal


def compare_runs(
    old: Path, new: Path, *, out: Path | None, top: int, sex: str | None, born: str | None, as_json: bool, quiet: bool
) -> None:
    """Compare the results in two folders; the page and its data go to `out`, or beside the new results."""
    found = compare(old, new, top=top, sex=sex, born=born)
    files = write_comparison(found, out or new)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(comparison_json(found)))
        return
    if quiet:
        return
    console = plain_console()
    table = plain_table("factor", "sub-factor", *COLUMNS, texts=2)
    for e in found.effects:
        table.add_row(e.factor, e.subfactor, *agreement_cells(e.all, (e.only_old, e.only_new)))
    console.print(table)
    for e in [e for e in found.effects if "reason" in e.groups][:4]:
        movers = plain_table(f"top movers by {e.subfactor}", "old", "new", "change", "what is not as it was")
        movers.columns[-1].justify = "left"
        for m in e.movers[:SHOWN]:
            movers.add_row(m.level, f"{m.old:.4g}", f"{m.new:.4g}", f"{m.change:+.4g}", "; ".join(m.reasons))
        console.print(movers)
    for path in files:
        console.print(str(path), soft_wrap=True)
