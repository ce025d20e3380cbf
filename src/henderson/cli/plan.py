"""What `henderson plan` does: what a solve will take, as tables or as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from henderson.cli.commands import plain_console, plain_table
from henderson.cli.progress import progress_bars
from henderson.errors import ResourceError

if TYPE_CHECKING:
    from henderson.jobs.plan import Limit, Plan


def print_plan(file: Path, *, as_json: bool, quiet: bool, **options: Any) -> None:
    """Print what a solve of a parameter file takes. Raises `ResourceError` if that is more than there is."""
    from henderson.jobs.plan import plan_solve
    from henderson.results.run_record import plain

    with progress_bars(quiet=quiet or as_json) as progress:
        plan = plan_solve(file, progress=progress, **options)
    if as_json:
        found = dataclasses.asdict(plan)
        counts = found.pop("counts")
        more = {
            "records": counts["n_records"],
            "individuals": dict(counts["n_individuals"]),
            "rank_bytes": plan.rank_bytes,
            "seconds": plan.seconds,
            "binding": None if plan.binding is None else plan.binding.what,
        }
        print(json.dumps({**plain(found), **more}))
    else:
        _print(plain_console(), plan)
    over = [x for x in plan.limits if x.share > 1.0]
    if over:
        said = "; ".join(f"{x.what}: {_amount(x, x.need)} of {_amount(x, x.limit)}" for x in over)
        remedy = f"; {'; '.join(plan.suggestions)}" if plan.suggestions else ""
        raise ResourceError(f"the solve takes more than there is: {said}{remedy}")


def _print(console: Console, plan: Plan) -> None:
    ranks = plan.nodes * plan.ranks_per_node
    where = f"{_many(plan.nodes, 'node')} with {_many(plan.ranks_per_node, 'rank')} each"
    with_what = f"petsc engine, {where}" if ranks > 1 else f"embedded engine, {_many(plan.threads, 'thread')}"
    counts = plan.counts
    console.print(f"{with_what}; preconditioner {plan.preconditioner}")
    table = plain_table("what", "how much", "how it is known")
    table.columns[-1].justify = "left"

    def row(what: str, how_much: str, known: str) -> None:
        table.add_row(*map(Text, (what, how_much, known)))

    counted = "counted in the store" if plan.pilots else "guessed from the files"
    row("records", f"{counts.n_records:,}", counted)
    row("individuals", f"{sum(counts.n_individuals.values()):,}", counted)
    row("equations", f"{plan.equations:,}", _equations_known(plan))
    row("memory of a rank" if ranks > 1 else "memory", _gib(plan.rank_bytes), _memory_known(plan))
    if ranks > 1:
        row("memory of a node", _gib(plan.node_bytes), f"{plan.ranks_per_node} ranks")
    whole = plan.whole
    if whole is not None and plan.round_seconds is not None and plan.seconds is not None:
        row("rounds", f"{whole.rounds}", _rounds_known(plan))
        row("seconds of a round", f"{plan.round_seconds:.3g}", _round_known(plan))
        for stage in plan.stages:
            row(f"  {stage.name}", _time(stage.seconds), stage.known)
        row("wall time", _time(plan.seconds), _wall_known(plan))
    for item in plan.disk:
        row(f"disk: {item.what}", _gib(item.bytes), "as it is" if item.what == "store" and plan.pilots else "reckoned")
    console.print(table)
    if plan.pilots:
        table = plain_table("pilot: equations", "rounds", "ms a round", "ns an equation", "MiB of the program", texts=0)
        for p in plan.pilots:
            each = (f"{1e3 * p.round_seconds:.1f}", f"{1e9 * p.round_seconds / max(1, p.equations):.1f}")
            table.add_row(f"{p.equations:,}", f"{p.rounds}", *each, f"{p.beside / 2**20:.0f}")
        console.print(table)
    table = plain_table("limit", "needed", "there is", "share")
    for x in plan.limits:
        there = "" if x.limit is None else f"{x.share:.0%}"
        table.add_row(x.what, _amount(x, x.need), _amount(x, x.limit), there)
    console.print(table)
    if (binding := plan.binding) is not None:
        verb = "binds" if binding.share > 1.0 else "would bind first"
        console.print(f"{binding.what} {verb}")
    console.print("sbatch request:")
    for line in plan.request:
        console.print(f"  #SBATCH {line}", soft_wrap=True, markup=False)
    for note in plan.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    for suggestion in plan.suggestions:
        console.print(f"suggestion: {suggestion}", soft_wrap=True, markup=False)


def _equations_known(plan: Plan) -> str:
    if not plan.pilots:
        return "an upper bound, from guesses"
    return "exact" if plan.whole is not None and plan.whole.exact else "sure to some per cent: levels are counted"


def _memory_known(plan: Plan) -> str:
    if not plan.pilots:
        return "an upper bound, from guesses"
    if plan.engine == "petsc":
        return "reckoned from counts, even shares; ghosts guessed: within a fifth or so"
    return "reckoned from counts, the program as in the pilot: within a tenth"


def _rounds_known(plan: Plan) -> str:
    whole = plan.whole
    assert whole is not None
    if whole.exact:
        return "counted: the pilot was the whole"
    sizes = ", ".join(str(p.rounds) for p in plan.pilots)
    return f"likely {whole.rounds_low} to {whole.rounds_high}: the pilots took {sizes}, carried on in log(equations)"


def _round_known(plan: Plan) -> str:
    if plan.traffic is None:
        return "measured in the pilots on this machine; vectors beyond its caches cost up to a third more"
    return f"own work as in the pilots; {plan.traffic.messages:.0f} messages, {plan.traffic.bytes / 1e6:.2f} MB assumed"


def _wall_known(plan: Plan) -> str:
    if plan.whole is not None and plan.whole.exact:
        return "on this machine, measured"
    return "on cores like this machine's: within a third or so"


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n > 1)}"


def _amount(limit: Limit, value: float | None) -> str:
    if value is None:
        return "not known"
    if limit.unit == "bytes":
        return _gib(value)
    return _time(value) if limit.unit == "seconds" else f"{value:,.0f}"


def _gib(n: float) -> str:
    return f"{n / 2**30:.2f} GiB" if n >= 2**29 else f"{n / 2**20:.0f} MiB"


def _time(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.{1 if seconds >= 10 else 2}f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
