"""The command line: every command is its options and one call of the library, so start-up stays quick."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

import henderson
from henderson.cli.help import Commands
from henderson.cli.messages import end
from henderson.cli.solver_options import POSITIVE, SIZE, run_options, solver_options

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
REML_METHODS = click.Choice(["ai", "em", "mc-ai", "mc-em", "auto"])
THREADS = click.IntRange(min=1, max=1024)


def shared_options(command: F) -> F:
    """Return `command` with the options that all commands on a parameter file have."""
    options = [
        click.option("--out", type=FOLDER, help="Folder of the results [default: <FILE stem>.out]."),
        click.option("--store", type=FOLDER, help="Folder of the store [default: store.zarr in --out]."),
        click.option("--engine", type=click.Choice(["embedded", "petsc"]), default="embedded", show_default=True),
        click.option("--threads", type=THREADS, help="Threads [default: all cores]."),
        click.option("--json", "as_json", is_flag=True, help="Print the run record as JSON on stdout."),
        click.option("--quiet", is_flag=True, help="No progress, no tables; warnings and errors only."),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


JSON_LOG = click.option(
    "--json-log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the log of the run goes, one JSON object a line [default: log.jsonl in --out].",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(henderson.__version__, prog_name="henderson")
def cli() -> None:
    """Breeding values from pedigrees of any size.

    FILE is a parameter file: henderson's TOML, or an lmt XML. Results go to --out, logs to stderr. Each command tells
    more, with examples: henderson COMMAND --help.

    Exit codes: 0 done, 2 command line, 3 input files, 4 store, 5 parameter file and model, 6 not converged,
    7 resources, 8 results differ.
    """


@cli.command()
@click.argument("file", type=FILE)
@shared_options
@JSON_LOG
@solver_options
def run(file: Path, **options: Any) -> None:
    """Do everything FILE asks for: ingest, then its jobs, then the results."""
    from henderson.cli.commands import run_jobs

    run_jobs(file, jobs=None, **options)


@cli.command()
@click.argument("file", type=FILE)
@shared_options
@JSON_LOG
@solver_options
def solve(file: Path, **options: Any) -> None:
    """Solve the mixed model equations of FILE, whatever jobs it lists."""
    from henderson.cli.commands import run_jobs

    run_jobs(file, jobs=("solve",), **options)


@cli.command()
@click.argument("file", type=FILE)
@shared_options
@run_options
@JSON_LOG
@click.option(
    "--method",
    type=REML_METHODS,
    help="Instead of FILE's: exact (ai, em), Monte Carlo (mc-ai; mc-em for many parameters), or what is affordable.",
)
def reml(file: Path, **options: Any) -> None:
    """Estimate the variances of FILE by REML, whatever jobs it lists."""
    from henderson.cli.commands import run_jobs

    run_jobs(file, jobs=("reml",), **options)


@cli.command()
@click.argument("file", type=FILE)
@shared_options
@click.option("--cluster", type=click.Choice(["local", "slurm"]), help="Worker processes here, or jobs of SLURM.")
@click.option("--site", help="With --cluster slurm: name of a site profile, or its file.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes [all cores] or jobs [1].")
@click.option("--memory", type=SIZE, metavar="SIZE", help="Take at most (8GiB), by fewer threads at a time.")
def ingest(file: Path, **options: Any) -> None:
    """Read, check, recode and order pedigree and records into the store."""
    from henderson.cli.commands import run_ingest

    run_ingest(file, **options)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--store", type=FOLDER, help="Count levels in this store [default: <FILE stem>.out/store.zarr].")
@click.option("--data", is_flag=True, help="Read the records, too: [checks], small groups, what is confounded.")
@click.option("--edits", type=click.Path(dir_okay=False, path_type=Path), help="With --data: file of their offenders.")
@click.option("--json", "as_json", is_flag=True, help="Print the model as JSON.")
def check(file: Path, **options: Any) -> None:
    """Print the model of FILE as it was understood; nothing is computed."""
    from henderson.cli.check import check_model

    check_model(file, **options)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The new file [default: beside FILE].")
@click.option("--to", type=click.Choice(["toml", "xml"]), help="Language [default: that of --out, or the other one].")
@click.option("--force", is_flag=True, help="Overwrite files that are there already.")
@click.option("--json", "as_json", is_flag=True, help="Print the files and notes as JSON on stdout.")
def convert(file: Path, **options: Any) -> None:
    """Write the model of FILE in another language: lmt's XML or renumf90's parameter file as TOML, TOML as XML."""
    from henderson.cli.commands import convert_model

    convert_model(file, **options)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--out", type=FOLDER, help="Folder of the reports [default: <FILE stem>.pedigree].")
@click.option("--threads", type=THREADS, help="Threads [default: all cores].")
@click.option("--selfing", is_flag=True, help="An animal may be both sire and dam, also of one offspring.")
@click.option("--add-missing-parents", is_flag=True, help="Parents without a row of their own become founders.")
@click.option("--no-inbreeding", is_flag=True, help="Mendelian variances without inbreeding.")
@click.option("--phantomparents", type=click.IntRange(min=0), default=0, help="The first rows that stand for groups.")
@click.option("--metafile", type=FILE, help="Relationships of the first rows, which are metafounders (CSV).")
@click.option("--probabilistic", is_flag=True, help="Several rows for an animal; a fourth column has probabilities.")
@click.option("--mgs", is_flag=True, help="The third column is the maternal grandsire, a fourth the granddam.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def pedigree(file: Path, **options: Any) -> None:
    """Check a pedigree FILE (CSV or Parquet: id, sire, dam); report founders, generations, inbreeding, groups."""
    from henderson.cli.commands import report_pedigree

    report_pedigree(file, **options)


@cli.command()
@click.argument("kind", type=click.Choice(["animal", "testday"]), default="animal")
@click.option("--out", type=FOLDER, required=True, help="Folder of the data and the model.")
@click.option("--animals", type=click.IntRange(min=2), default=10_000, show_default=True)
@click.option("--pedigree", type=click.Choice(["dairy", "random"]), default="dairy", show_default=True)
@click.option("--traits", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--records", type=click.IntRange(min=1), help="Records [default: 60 for every 100 animals].")
@click.option("--herds", type=click.IntRange(min=1), help="Herds [default: one for every 40 animals].")
@click.option("--missing", type=click.FloatRange(0, 0.99), default=0.1, show_default=True, help="Share of missing.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--format", "file_format", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option("--scale", type=click.FloatRange(min=0, min_open=True), help="Of testday: 1 is 90 M test days.")
@click.option("--integer-ids", is_flag=True, help="Number the animals instead of naming them.")
def simulate(**options: Any) -> None:
    """Write pedigree and records with known truth, and a model.toml to solve them.

    KIND is animal (default): an animal model as the options say; or testday: random regressions on test days of three
    parities, of which only --scale, --seed and --format are chosen (1 is a national evaluation of 220 M equations).
    """
    from henderson.cli.commands import run_simulation

    run_simulation(**options)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--site", required=True, help="Site profile: a name of cluster/sites, or a file of your own.")
@click.option("--job", type=click.Choice(["ingest", "solve", "reml"]), help="This one only [default: those of FILE].")
@click.option("--nodes", type=click.IntRange(min=1), help="Nodes [default: as many as the memory needs].")
@click.option("--ranks-per-node", type=click.IntRange(min=1), help="MPI ranks on each [default: its cores].")
@click.option("--time", help="Time limit, as sbatch takes it [default: the site's].")
@click.option("--partition", help="Partition [default: the site's].")
@click.option("--account", help="Account [default: the site's].")
@click.option("--out", type=FOLDER, help="Write the scripts into this folder [default: print them].")
def slurm(file: Path, **options: Any) -> None:
    """Print the submit scripts of FILE for a cluster with SLURM: ingest, then its jobs over MPI."""
    from henderson.cli.slurm import print_scripts

    print_scripts(file, **options)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Nodes of the cluster.")
@click.option("--ranks-per-node", type=click.IntRange(min=1), default=1, show_default=True, help="MPI ranks on each.")
@click.option("--threads", type=THREADS, help="Of one rank, the embedded engine [default: all cores of the node].")
@click.option("--site", help="Site profile: a name of cluster/sites, or a file of your own [default: this machine].")
@click.option("--store", type=FOLDER, help="The store [default: <FILE stem>.out/store.zarr].")
@click.option("--out", type=FOLDER, help="Where the results would go [default: <FILE stem>.out].")
@click.option("--rtol", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Instead of FILE's.")
@click.option(
    "--preconditioner", type=click.Choice(["sweep", "border", "block", "diagonal"]), help="Instead of FILE's."
)
@click.option(
    "--pilot",
    type=click.IntRange(min=1000),
    default=2_000_000,
    show_default=True,
    metavar="EQUATIONS",
    help="Of the largest pilot solve.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No progress.")
def plan(file: Path, **options: Any) -> None:
    """Tell what a solve of FILE will take: memory, rounds, seconds, disk, the SLURM request, and which limit binds."""
    from henderson.cli.plan import print_plan

    print_plan(file, **options)


@cli.command()
@click.argument("old", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, help="Folder of compare.html and compare.json [default: NEW].")
@click.option("--top", type=click.IntRange(min=0), default=20, show_default=True, help="Top movers of a sub-factor.")
@click.option("--sex", metavar="COLUMN", help="Column of the pedigree or record file [default: sex, if there].")
@click.option("--born", metavar="COLUMN", help="Its column of birth years or dates [default: birth_year and the like].")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No tables; warnings and errors only.")
def compare(old: Path, new: Path, **options: Any) -> None:
    """Compare the results in the --out folders OLD and NEW: agreement, groups, top movers and what changed for them."""
    from henderson.cli.compare import compare_runs

    compare_runs(old, new, **options)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--cut-off", metavar="DATE", help="Records of this date (or number) on are left out [default: FILE's].")
@click.option("--date-column", metavar="COLUMN", help="Column of the records with their dates [default: FILE's].")
@click.option("--focal", type=FILE, help="A file of ids of focal individuals [default: those with later records only].")
@click.option("--born", metavar="COLUMN", help="Column of birth years or dates [default: birth_year and the like].")
@click.option("--out", type=FOLDER, help="Folder of the results [default: <FILE stem>.validation].")
@click.option("--engine", type=click.Choice(["embedded", "petsc"]), default="embedded", show_default=True)
@click.option("--threads", type=THREADS, help="Threads [default: all cores].")
@click.option("--rtol", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Instead of FILE's.")
@click.option("--method", type=REML_METHODS, help="If FILE lists the job reml: instead of its method.")
@click.option("--replicates", type=click.IntRange(min=100), default=1000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the bootstrap.")
@click.option(
    "--daughters",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Earlier ones of bulls in method III.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the validation as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No progress, no tables; warnings and errors only.")
def validate(file: Path, **options: Any) -> None:
    """Validate FILE by method LR: predictions from the records before a cut-off against those from all."""
    from henderson.cli.validate import validate_model

    validate_model(file, **options)


@cli.command()
@click.argument("path", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Show where it is now, and end.")
@click.option("--every", type=POSITIVE, default=1.0, show_default=True, metavar="SECONDS", help="How often to look.")
def watch(path: Path, **options: Any) -> None:
    """Show a run from the log in its --out folder DIR (or from a --json-log), also on another node, until it ends."""
    from henderson.cli.watch import watch_run

    sys.exit(watch_run(path, **options))


@cli.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the number of files as JSON on stdout.")
def verify(path: Path, as_json: bool) -> None:
    """Compare the checksums of every file of PATH: a store, or the --out folder of a run with the store in it."""
    from henderson.cli.audit import verify_files

    verify_files(path, as_json=as_json)


@cli.command()
@click.argument("record", metavar="RUN.JSON", type=FILE)
@click.option("--out", type=FOLDER, help="Folder of the new results [default: beside the old, with .rerun].")
@click.option("--store", type=FOLDER, help="Use this store [default: a new one in --out].")
@click.option("--base", type=FOLDER, help="Where relative paths begin [default: where the run was started].")
@click.option("--tolerance", type=POSITIVE, help="Relative difference allowed [default: 100 rtol, at least 1e-6].")
@click.option("--json", "as_json", is_flag=True, help="Print the agreement as JSON on stdout.")
@click.option("--quiet", is_flag=True, help="No progress; warnings and errors only.")
def rerun(record: Path, **options: Any) -> None:
    """Run again what RUN.JSON records, on the same inputs, and compare the results with the old ones."""
    from henderson.cli.audit import run_again

    run_again(record, **options)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes the commands and options of henderson."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "henderson", "_HENDERSON_COMPLETE").source())


def main() -> None:
    """Run the command line; an error of the user's input ends with one message and its exit code, no traceback."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s: %(message)s")
    logging.addLevelName(logging.WARNING, "warning")
    as_json = "--json" in sys.argv
    try:
        cli(prog_name="henderson", standalone_mode=False)
    except SystemExit:
        raise
    except BaseException as error:
        end(error, as_json=as_json)
