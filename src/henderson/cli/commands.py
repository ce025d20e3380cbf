"""What the commands do: one call of the library, then its answer as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from henderson.cli.progress import progress_bars, watching
from henderson.errors import UsageError

if TYPE_CHECKING:
    from henderson.jobs.run import Outcome, Settings


def run_jobs(
    file: Path,
    *,
    jobs: tuple[str, ...] | None,
    as_json: bool,
    quiet: bool,
    requeue: bool = False,
    memory: int | None = None,
    json_log: Path | None = None,
    **options: Any,
) -> None:
    """Run the jobs of a parameter file and print a table of the effects."""
    from henderson.jobs.run import Settings

    settings = Settings(jobs=jobs, memory=memory, **options)
    outcome = run_settings(file, settings, as_json=as_json, quiet=quiet, requeue=requeue, log=json_log)
    if outcome is None:
        return
    if as_json:
        print(json.dumps(outcome.record))
    elif not quiet:
        _print_outcome(outcome)


def run_settings(
    file: Path,
    settings: Settings,
    *,
    as_json: bool,
    quiet: bool,
    requeue: bool = False,
    log: Path | None = None,
) -> Outcome | None:
    """Return what the jobs of a parameter file left; of several processes the first has it, the others None."""
    from henderson.cli.together import requeueing, run_jobs_together
    from henderson.jobs.run import run
    from henderson.jobs.stopping import listening

    if settings.engine == "petsc":
        if settings.scratch is not None:
            raise UsageError("--scratch: only with --engine embedded; the petsc engine takes more nodes, leave it out")
        return run_jobs_together(file, settings, as_json=as_json, quiet=quiet, requeue=requeue, log=log)
    _only_petsc(settings)
    _one_copy()
    watched = watching(file, settings.folders(file)[0], engine="embedded", ranks=1, quiet=quiet, log=log)
    with listening() as stopping, requeueing(requeue), watched as progress:
        return run(file, settings, progress, stopping)


def do_once(engine: str, out: Path, work: Callable[[], object], *, as_json: bool) -> None:
    """Do `work` once: on the first of the processes of the petsc engine, which tells the others how it ended."""
    if engine != "petsc":
        work()
        return
    from henderson.cli.together import with_one_voice

    with_one_voice(out, work, as_json=as_json)


def run_ingest(
    file: Path,
    *,
    as_json: bool,
    quiet: bool,
    cluster: str | None,
    site: str | None,
    workers: int | None,
    memory: int | None = None,
    **options: Any,
) -> None:
    """Ingest the data of a parameter file into its store, by threads or by the workers of a cluster."""
    from henderson.cli.slurm import workers_of
    from henderson.jobs.run import Settings, ingest_only

    settings = Settings(memory=memory, **options)
    there = workers_of(cluster, site, workers, settings.folders(file)[1].parent / "workers")
    _only_embedded(options["engine"])
    with progress_bars(quiet=quiet) as progress:
        store = ingest_only(file, settings, progress, there)
    if as_json:
        print(json.dumps({"store": str(store)}))
    elif not quiet:
        print(store)


def convert_model(file: Path, *, as_json: bool, **options: Any) -> None:
    """Write the model in another language; print the files, and on stderr what to know of them."""
    from henderson.jobs.convert import convert

    converted = convert(file, **options)
    if as_json:
        print(json.dumps({"files": [str(f) for f in converted.files], "notes": list(converted.notes)}))
        return
    for path in converted.files:
        print(path)
    for note in converted.notes:
        print(f"note: {note}", file=sys.stderr)


def report_pedigree(file: Path, *, as_json: bool, **options: Any) -> None:
    """Check a pedigree file and write its reports."""
    from henderson.jobs.pedigree import report
    from henderson.pedigree.report import print_summary

    with progress_bars(quiet=as_json) as progress:
        summary, out = report(file, progress=progress, **options)
    if as_json:
        print(json.dumps(dataclasses.asdict(summary)))
        return
    print_summary(summary, Console(highlight=False))
    print(f"reports in {out}")


def run_simulation(out: Path, *, kind: str, **options: Any) -> None:
    """Write simulated data with a model beside them."""
    from henderson.jobs.simulate import simulate_from_options, simulate_testday_from_options

    write = simulate_testday_from_options if kind == "testday" else simulate_from_options

    with progress_bars(quiet=False) as progress:
        write(out, progress=progress, **options)
    print(f"{out}: next, henderson run {out / 'model.toml'}")


def _only_embedded(engine: str) -> None:
    if engine != "embedded":
        raise UsageError("only jobs run on the petsc engine: leave --engine out here")
    _one_copy()


def _only_petsc(settings: Settings) -> None:
    """Refuse options that the embedded engine would not heed."""
    given = {
        "--operator": settings.operator != "matrix-free",
        "--petsc": settings.petsc,
        "--petsc-file": settings.petsc_file,
        "--compare-preconditioners": settings.compare,
    }
    if names := [name for name, value in given.items() if value]:
        raise UsageError(f"{', '.join(names)}: only with --engine petsc")


def _one_copy() -> None:
    """Refuse to be one of several copies that would all do the same work and write the same files."""
    from henderson.jobs.launcher import launched

    if (copies := launched().size) > 1:
        raise UsageError(
            f"{copies} copies were started, each of which would do all the work: use --engine petsc, or start one (it "
            "uses all cores)"
        )


def _print_outcome(outcome: Outcome) -> None:
    from henderson.results.summary import digest_effects
    from henderson.results.variances import COLUMNS, loglik_text, variance_rows

    console = Console(highlight=False, file=sys.stdout)
    for fit in outcome.fits:
        components = plain_table(*COLUMNS[: 5 + (fit.mc_covariance is not None)])
        for row in variance_rows(fit):
            components.add_row(*row[: len(components.columns)])
        console.print(components)
        if not math.isnan(fit.loglik):
            full = f"with its constant {fit.loglik_full:.4f}"
            console.print(f"log-likelihood {loglik_text(fit)} ({fit.method}); {full}\n")
    digests = outcome.effects or digest_effects(outcome.parts)
    effects = [d.summary for d in digests]
    with_accuracy = any(e.mean_reliability is not None for e in effects)
    names = ("factor", "sub-factor", "levels", "mean", "sd", "min", "max", "reliability")
    table = plain_table(*names[: 7 + with_accuracy], texts=2)
    for e in effects:
        numbers = (f"{v:.4g}" if e.levels else "" for v in (e.mean, e.sd, e.minimum, e.maximum))
        cells = (e.factor, e.subfactor, f"{e.levels:,}", *numbers, _number(e.mean_reliability, 3))
        table.add_row(*cells[: 7 + with_accuracy])
    console.print(table)
    for digest in [d for d in digests if d.is_random][:4]:
        accuracy = ("se", "reliability") if digest.summary.mean_reliability is not None else ()
        best = plain_table(f"best by {digest.summary.subfactor}", "solution", *accuracy)
        for t in digest.best[:5]:
            cells = (t.level, f"{t.value:.4f}", _number(t.se, 4), _number(t.reliability, 3))
            best.add_row(*cells[: 2 + len(accuracy)])
        console.print(best)
    for job in outcome.record["jobs"]:
        console.print(_sentence(job), soft_wrap=True)
    seconds = sum(s["seconds"] for s in outcome.record["stages"])
    peak = max(s["peak_bytes"] for s in outcome.record["stages"])
    console.print(f"{seconds:.1f} s, at most {peak / 2**20:,.0f} MiB; results in {outcome.out}")
    for path in outcome.files:
        console.print(f"  {path.name}")


def _sentence(job: dict[str, Any]) -> str:
    if "rounds" in job:
        end = f"; {job['stop_reason']}" if "stop_reason" in job else ""
        return f"{job['job']}: {job['equations']:,} equations, {job['rounds']} rounds{end}"
    if "file" in job:
        return f"{job['job']}: {job['file']}"
    steps = f"{job['iterations']} iterations, " if job.get("iterations") else ""
    if "samples" in job:
        return f"{job['job']}: {job['equations']:,} equations, {job['samples']:,} samples, {job['products']:,} products"
    if "right_hand_sides" in job:
        steps = f"{job['right_hand_sides']:,} right-hand sides, {job['products']:,} products, "
    residual = f"relative residual {job['relative_residual']:.1e}"
    end = f"; {job['stop_reason']}" if "stop_reason" in job else ""
    return f"{job['job']}: {job['equations']:,} equations, {steps}{residual}{end}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def plain_console(width: int = 160) -> Console:
    """Return the console of standard output; where that is no terminal, its lines have `width` characters."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def plain_table(*names: str, texts: int = 1) -> Table:
    """Return a table without lines, its first `texts` columns flush left."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for k, name in enumerate(names):
        table.add_column(name, justify="left" if k < texts else "right")
    return table
