"""Submit scripts for SLURM, made from a site profile: ingest, solve, reml."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from henderson.jobs.sites import Site, load_site

JOBS = ("ingest", "solve", "reml")
INGEST_CORES = 8  # of the process that hands out the blocks and orders the animals

ABOUT = {
    "ingest": "Make the store of the data on one node",
    "ingest+": "Make the store of the data; {nodes} worker jobs do what this one hands them",
    "solve": "Solve the mixed model equations on {ranks} ranks",
    "reml": "Estimate the variances on one node",
}
WARNED = """\
# {warning} seconds before the time limit the ranks get SIGUSR1: they write a checkpoint, and the first one requeues the
# job, which goes on where it was"""
BY_SRUN = """\
srun {options} {command}"""
BY_MPIEXEC = """\
mpiexec {options} {command} &
solver=$!
trap 'kill -USR1 "$solver"' USR1   # mpiexec passes it on
code=0
wait "$solver" || code=$?
while kill -0 "$solver" 2> /dev/null; do   # the signal has ended the first wait
  code=0
  wait "$solver" || code=$?
done
exit "$code\""""


@dataclass(frozen=True)
class Request:
    """What the jobs ask for beyond the site's defaults; None: those, or as many nodes as the memory needs.

    every_job: the solve script does all jobs of the file, in order.
    """

    nodes: int = 1
    ranks_per_node: int | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    memory: int | None = None  # GiB a node
    notes: tuple[str, ...] = ()
    every_job: bool = False


@dataclass(frozen=True)
class Task:
    """What is particular of a script: what it is about, its commands, and the options of sbatch for its resources."""

    about: str
    commands: str
    resources: tuple[str, ...]


Writer = Callable[[Site, Request], Task]


def submit_scripts(file: Path, site: Site, request: Request, jobs: Sequence[str] = JOBS) -> dict[str, str]:
    """Return the submit scripts of the parameter file `file`, by job (`JOBS`).

    Each takes another parameter file as its argument. Paths are relative to the folder from which they are submitted.
    """
    writers: dict[str, Writer] = {"ingest": _ingest, "solve": _solve, "reml": _reml}
    return {job: _script(job, file, site, request, writers[job](site, request)) for job in jobs}


def plan_scripts(
    file: Path,
    site: str,
    *,
    jobs: Sequence[str] | None = None,
    nodes: int | None = None,
    ranks_per_node: int | None = None,
    **options: str | None,
) -> dict[str, str]:
    """Return the submit scripts of a model for the site profile `site`; `options` are those of `Request`.

    By default ingest and the jobs that the model lists, on as few nodes as hold the equations; one if nothing is known
    of their size. Raises `ModelError` for mistakes in the model, `UsageError` for the site, `ResourceError` if the
    nodes asked for do not have the memory.
    """
    from henderson.ingest.column_levels import read_levels
    from henderson.ingest.header import read_schema
    from henderson.jobs.run import Settings
    from henderson.jobs.sizing import size_of
    from henderson.language.load import load_model

    profile = load_site(site)
    spec = load_model(file, read_schema, read_levels)
    per_node = ranks_per_node or profile.cores
    size = size_of(spec, Settings().folders(file)[1], profile, per_node, nodes)
    if jobs is None:
        listed = {"reml" if j.name == "reml" else "solve" for j in spec.jobs}
        jobs = [job for job in JOBS if job == "ingest" or job in listed]
    request = Request(
        nodes=size.nodes if size else nodes or 1,
        ranks_per_node=ranks_per_node,
        memory=size.memory if size else None,
        notes=size.notes if size else (),
        every_job=any(j.name != "solve" for j in spec.jobs) and all(j.name != "reml" for j in spec.jobs),
        **options,
    )
    return submit_scripts(file, profile, request, jobs)


def _script(job: str, file: Path, site: Site, request: Request, task: Task) -> str:
    partition, account = request.partition or site.partition, request.account or site.account
    directives = [
        f"--job-name=henderson-{job}",
        *([f"--partition={partition}"] if partition else []),
        *([f"--account={account}"] if account else []),
        *task.resources,
        f"--time={request.time or site.time}",
        "--requeue",
        "--open-mode=append",
        f"--output=henderson-{job}-%j.log",
        *site.options,
    ]
    lines = [
        "#!/bin/bash",
        f"# {task.about}: sbatch {job}.sbatch [FILE]",
        f"# Made by: henderson slurm {shlex.quote(str(file))} --site {shlex.quote(site.name)} --nodes {request.nodes}",
        *(f"# {note}" for note in request.notes if job == "solve"),
        *(f"#SBATCH {d}" for d in directives),
        "set -eo pipefail",
        "",
        *site.prologue,
        "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1",
        f"file=${{1:-{shlex.quote(str(file))}}}",
        "",
        task.commands,
        "",
    ]
    return "\n".join(lines)


def _ingest(site: Site, request: Request) -> Task:
    command = 'ingest "$file" --threads "$SLURM_CPUS_PER_TASK"'
    if request.nodes == 1:
        return Task(ABOUT["ingest"], _command(site, command), one_process(site.cores, site.memory))
    command += f" --cluster slurm --site {shlex.quote(site.name)} --workers {request.nodes}"
    resources = one_process(max(1, min(INGEST_CORES, site.cores // 2)), max(1, site.memory // 2))
    return Task(ABOUT["ingest+"].format(nodes=request.nodes), _command(site, command), resources)


def _reml(site: Site, _: Request) -> Task:
    command = _command(site, 'reml "$file" --threads "$SLURM_CPUS_PER_TASK"')
    return Task(ABOUT["reml"], command, one_process(site.cores, site.memory))


def _solve(site: Site, request: Request) -> Task:
    per_node = request.ranks_per_node or site.cores
    by_srun = site.launcher == "srun"
    resources = (
        f"--nodes={request.nodes}",
        f"--ntasks-per-node={per_node}",
        "--cpus-per-task=1",
        f"--mem={request.memory or site.memory}G",
        # srun: to the ranks; mpiexec is a child of this script, which hands the signal on
        f"--signal={'' if by_srun else 'B:'}USR1@{site.warning}",
    )
    plugin = [f"--mpi={site.plugin}"] if site.plugin else []
    options = [*plugin, "--kill-on-bad-exit=1"] if by_srun else ["-n", '"$SLURM_NTASKS"']
    run = (BY_SRUN if by_srun else BY_MPIEXEC).format(
        options=" ".join([*options, *map(shlex.quote, site.mpi_options)]),
        command=_command(site, f'{"run" if request.every_job else "solve"} "$file" --engine petsc --requeue'),
    )
    about = ABOUT["solve"].format(ranks=request.nodes * per_node)
    return Task(about, f"{WARNED.format(warning=site.warning)}\n{run}", resources)


def one_process(cores: int, memory: int) -> tuple[str, ...]:
    """Return the options of sbatch for one process with `cores` threads and `memory` GiB."""
    return ("--nodes=1", "--ntasks=1", f"--cpus-per-task={cores}", f"--mem={memory}G")


def _command(site: Site, arguments: str) -> str:
    return f"{site.container} henderson {arguments}" if site.container else f"henderson {arguments}"
