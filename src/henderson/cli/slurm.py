"""What the commands do with a cluster under SLURM: print or write submit scripts, choose the workers of an ingest."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from henderson.errors import UsageError

if TYPE_CHECKING:
    from henderson.ingest.cluster import Cluster

log = logging.getLogger(__name__)


def workers_of(kind: str | None, site: str | None, workers: int | None, logs: Path) -> Cluster | None:
    """Return the workers that the options `--cluster`, `--site` and `--workers` name; None: threads of this process.

    Raises `UsageError` for options that do not go together, and for a site that is not known.
    """
    from henderson.jobs.cluster import local_workers, slurm_workers

    if kind is None:
        if site is not None or workers is not None:
            raise UsageError("--site and --workers need --cluster slurm or --cluster local")
        return None
    if kind == "local":
        if site is not None:
            raise UsageError("--site needs --cluster slurm")
        return local_workers(workers)
    if site is None:
        raise UsageError("--cluster slurm needs --site NAME: a profile of cluster/sites, or the path of your own")
    return slurm_workers(site, workers, logs)


def print_scripts(file: Path, *, job: str | None, out: Path | None, site: str, **options: str | int | None) -> None:
    """Print the submit scripts of a parameter file, or write them into `out` and print how to submit them."""
    from henderson.jobs.slurm import plan_scripts

    scripts = plan_scripts(file, site, jobs=(job,) if job else None, **options)  # type: ignore[arg-type]
    if out is None:
        click.echo("\n".join(scripts.values()), nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in scripts.items():
        (out / f"{name}.sbatch").write_text(text, encoding="utf-8")
        click.echo(out / f"{name}.sbatch")
    if "ingest" in scripts and len(scripts) > 1:
        after = next(name for name in scripts if name != "ingest")
        click.echo(
            f"next: sbatch --dependency=afterok:$(sbatch --parsable {out / 'ingest.sbatch'}) {out / f'{after}.sbatch'}",
            err=True,
        )
