"""The options of the commands that solve."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

CHECKPOINT_EVERY = 600.0
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)
UNITS = {"": 2**30} | {f"{k}iB": 2**e for k, e in (("K", 10), ("M", 20), ("G", 30), ("T", 40))}
UNITS |= {k[0]: n for k, n in UNITS.items() if k} | {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class _Size(click.ParamType[int]):
    """Bytes, from a number with its unit: GiB without one."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes, at least one."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*", value)
        size = int(float(found[1]) * UNITS.get(found[2], 0)) if found else 0
        if size < 1:
            self.fail(f"{value!r} is not a size: give a number of GiB, or with its unit, such as 8GiB, 500M, 64GB")
        return size


SIZE = _Size()


def run_options(command: F) -> F:
    """Return `command` with the options of all jobs that may take long."""
    options = [
        click.option("--memory", type=SIZE, metavar="SIZE", help="Of a node, at most: 8GiB [default: all there is]."),
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
