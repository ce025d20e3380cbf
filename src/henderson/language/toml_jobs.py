"""Jobs of a TOML parameter file, with the solvers that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from henderson.errors import unknown
from henderson.language.draft import Draft
from henderson.language.jobs import NAMES, WITH_SOLVER, make_job, make_solver, through_solver
from henderson.language.spec import JobSpec, Option
from henderson.language.values import Table, say

Options = Mapping[str, object]


def read_jobs(root: Table, draft: Draft) -> None:
    """Read ``[jobs]`` and ``[solvers.NAME]``; without ``[jobs]`` the only job is solve."""
    solvers = {name: make_solver(table.values, _fault_of(table)) for name, table in root.tables("solvers")}
    if (table := root.table("jobs")) is None:
        return
    draft.lmt_files = table.flag("lmt_files", False)
    run = table.texts("run") if "run" in table.values else ("solve",)
    if run is None:
        return
    options = {}
    for key in table.values:
        if key in ("run", "lmt_files"):
            continue
        if key not in NAMES:
            table.fault(unknown("key", key, ("run", "lmt_files", *NAMES)), key)
        elif key not in run:
            table.fault(f"options of job {key!r}, which is not in run = [{', '.join(map(repr, run))}]", key)
        elif (inner := table.table(key)) is not None:
            options[key] = inner.values
    jobs: list[JobSpec | None] = []
    for n, name in enumerate(run):

        def fault(option: str | None, message: str, n: int = n, name: str = name) -> None:
            keys = (name, option) if option else ("run", str(n))
            table.fault(message, *keys)

        if name in run[:n]:
            table.fault(f"job {name!r} is listed twice", "run", str(n))
        jobs += [make_job(name, o, fault) for o in _with_solvers(name, options.get(name, {}), solvers, table)]
    draft.jobs = tuple(job for job in jobs if job is not None)


def _fault_of(table: Table) -> Callable[[str | None, str], None]:
    return lambda key, message: table.fault(message, *([] if key is None else [key]))


def _with_solvers(
    name: str, options: Options, solvers: Mapping[str, Mapping[str, Option]], table: Table
) -> list[Options]:
    """Return the options of a job with those of the solver that it names: one set for each, if it names several."""
    if "solver" not in options or name not in WITH_SOLVER:
        return [options]
    given = options["solver"]
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        table.fault(f"'solver' must be the name of a solver, or a list of them, not {say(given)}", name, "solver")
        return []
    if len(names) > 1 and name != "solve":
        table.fault(f"job {name!r} takes one solver, not {len(names)}", name, "solver")
        return []
    own = {k: v for k, v in options.items() if k != "solver"}
    found: list[Options] = []
    for solver in names:
        if solver not in solvers:
            table.fault(unknown("solver", solver, list(solvers)), name, "solver")
        found.append({**through_solver(name, solvers.get(solver, {})), **own})
    return found
