"""What `henderson verify` and `henderson rerun` do: check results, compute them once more."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from henderson.cli.commands import do_once, run_settings

if TYPE_CHECKING:
    from henderson.jobs.audit import Agreement, Rerun
    from henderson.jobs.run import Outcome

log = logging.getLogger(__name__)


def verify_files(path: Path, *, as_json: bool) -> None:
    """Compare the checksums of a store or of results, and print how many files agree."""
    from henderson.jobs.audit import verify

    counts = verify(path)
    if as_json:
        print(json.dumps({"agree": counts}))
    else:
        print("; ".join(f"{name}: {count} files agree with their checksums" for name, count in counts.items()))


def run_again(
    record: Path,
    *,
    out: Path | None,
    store: Path | None,
    base: Path | None,
    tolerance: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Do a recorded run again and print how far the results agree. Raises `DifferenceError` if they do not."""
    from henderson.jobs.audit import Rerun

    again = Rerun.of(record, out=out, store=store, base=base)
    allowed = again.tolerance() if tolerance is None else tolerance
    _for_all(again, again.check_inputs, as_json=as_json)
    outcome = run_settings(again.file, again.settings, as_json=as_json, quiet=quiet)
    _for_all(again, lambda: _compare(again, outcome, allowed, as_json=as_json), as_json=as_json)


def _compare(again: Rerun, outcome: Outcome | None, tolerance: float, *, as_json: bool) -> None:
    from henderson.jobs.audit import agreement

    assert outcome is not None  # the first process has it
    found = agreement(again.out, outcome.out, tolerance, again.changes(outcome.record))
    if as_json:
        print(json.dumps(asdict(found)))
    for change in found.changes:
        log.warning("not as in the recorded run: %s", change)
    found.require()
    if not as_json:
        print(_sentence(found, outcome.out))


def _sentence(found: Agreement, out: Path) -> str:
    worst = f"largest relative difference {found.largest:.2g}" + (f" ({found.where})" if found.where else "")
    return f"{found.compared:,} numbers agree: {worst}, tolerance {found.tolerance:g}; results in {out}"


def _for_all(again: Rerun, work: Callable[[], None], *, as_json: bool) -> None:
    """Do `work` once, for all processes of the run."""
    do_once(again.settings.engine, again.settings.folders(again.file)[0], work, as_json=as_json)
