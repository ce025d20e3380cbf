"""What is to be known of a cluster: site profiles (TOML), those that come with henderson and those of the user."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import henderson
from henderson.errors import Problem, UsageError, nearest, unknown

KEYS: dict[str, dict[str, type]] = {
    "slurm": {"partition": str, "account": str, "time": str, "warning": int, "options": list},
    "node": {"cores": int, "memory": int},
    "mpi": {"launcher": str, "plugin": str, "options": list},
    "environment": {"modules": list, "setup": list, "container": str, "scratch": str},
    "dask": {"interface": str},
}
REQUIRED = (("slurm", "time"), ("node", "cores"), ("node", "memory"))
LAUNCHERS = ("srun", "mpiexec")
KINDS = {str: "text", int: "a whole number above 0", list: "a list of texts"}


@dataclass(frozen=True)
class Site:
    """A cluster: see cluster/sites/README.md. `memory` is that of a node in GiB, `warning` in seconds."""

    name: str
    time: str
    cores: int
    memory: int
    partition: str | None = None
    account: str | None = None
    warning: int = 120
    options: tuple[str, ...] = ()
    launcher: str = "srun"
    plugin: str | None = None
    mpi_options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    container: str | None = None
    scratch: str | None = None
    interface: str | None = None

    @property
    def prologue(self) -> tuple[str, ...]:
        """Return the lines of the shell that come before any command of a job."""
        modules = ["module purge", f"module load {' '.join(self.modules)}"] if self.modules else []
        scratch = [f'export TMPDIR="{self.scratch}"', 'mkdir -p "$TMPDIR"'] if self.scratch else []
        return (*modules, *self.setup, *scratch)


def load_site(name: str) -> Site:
    """Return the profile called `name`, or that of the file `name`.

    Raises `UsageError` for a name that is not known, and with all that is wrong in the file.
    """
    path = Path(name)
    if path.suffix != ".toml" and "/" not in name:
        folder = _packaged()
        known = sorted(p.stem for p in folder.glob("*.toml"))
        if name not in known:
            raise UsageError(f"{unknown('site', name, known)}; or give the path of a site profile (*.toml)")
        path = folder / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(Problem(error.strerror or "cannot be read", file=name)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(Problem(f"not a TOML file: {error}", file=name)) from error
    if problems := [Problem(p, file=name, remedy="see cluster/sites/README.md") for p in _mistakes(content)]:
        raise UsageError(problems)
    values: dict[str, Any] = {}
    for table, keys in KEYS.items():
        for key, value in content.get(table, {}).items():
            field = "mpi_options" if (table, key) == ("mpi", "options") else key
            values[field] = tuple(value) if keys[key] is list else value
    return Site(name=name, **values)


def _packaged() -> Path:
    """Return the folder of the profiles that come with henderson: of the package, or of the checkout it runs from."""
    package = Path(henderson.__file__).parent
    folder = package / "sites"
    return folder if folder.is_dir() else package.parents[1] / "cluster" / "sites"


def _mistakes(content: dict[str, Any]) -> list[str]:
    found = [unknown("table", t, list(KEYS)) for t in content if t not in KEYS and t != "description"]
    for table, keys in KEYS.items():
        values = content.get(table, {})
        if not isinstance(values, dict):
            found.append(f"[{table}] must be a table")
            continue
        for key, value in values.items():
            if key not in keys:
                near = nearest(key, list(keys))
                found.append(f"unknown key {key!r} in [{table}]" + (f"; did you mean {near!r}?" if near else ""))
            elif not _fits(value, keys[key]):
                found.append(f"[{table}] {key} must be {KINDS[keys[key]]}, not {value!r}")
    found += [f"[{table}] {key} is missing" for table, key in REQUIRED if key not in (content.get(table) or {})]
    launcher = (content.get("mpi") or {}).get("launcher", "srun")
    if isinstance(launcher, str) and launcher not in LAUNCHERS:
        found.append(unknown("launcher", launcher, LAUNCHERS))
    return found


def _fits(value: Any, kind: type) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    if kind is list:
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    return isinstance(value, str) and bool(value) and "\n" not in value
