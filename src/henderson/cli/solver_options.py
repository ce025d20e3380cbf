"""The options of the commands that solve."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

CHECKPOINT_EVERY = 600.0
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)


def run_options(command: F) -> F:
    """Return `command` with the options of all jobs that may take long."""
    options = [
        click.option("--memory", type=POSITIVE, metavar="GIB", help="Of a node, at most [default: what is there]."),
        click.option("--requeue", is_flag=True, help="If a signal stops it, let SLURM run this job again."),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


def solver_options(command: F) -> F:
    """Return `command` with the options of the solvers, and those that only the petsc engine has."""
    options = [
        run_options,
        click.option(
            "--scratch",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help="Where solves keep what is beyond --memory [default: --out].",
        ),
        click.option("--rtol", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Instead of FILE's."),
        click.option(
            "--preconditioner",
            type=click.Choice(["sweep", "border", "block", "diagonal"]),
            help="Instead of FILE's.",
        ),
        click.option(
            "--checkpoint-every",
            type=POSITIVE,
            default=CHECKPOINT_EVERY,
            show_default=True,
            metavar="SECONDS",
            help="How often the state of a solve is kept in --out.",
        ),
        click.option(
            "--start",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help="Start from the solutions of an earlier run, whose --out folder this was.",
        ),
        click.option(
            "--operator",
            type=click.Choice(["matrix-free", "assembled"]),
            default="matrix-free",
            show_default=True,
            help="Petsc: products by kernels or by a matrix.",
        ),
        click.option("--petsc", metavar="OPTIONS", default="", help="Petsc: options under the prefix henderson_."),
        click.option("--petsc-file", type=FILE, help="Petsc: a file of such options."),
        click.option(
            "--compare-preconditioners", "compare", is_flag=True, help="Petsc: one table of them instead of results."
        ),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)
