"""The library in one call: a parameter file in, pandas objects out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from henderson.jobs.run import Settings, run
from henderson.results.solution_tables import labels_to_arrow
from henderson.solvers.solutions import SubfactorSolutions

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Result:
    """What a run found. `record` is the content of `run.json`."""

    record: dict[str, Any]
    parts: tuple[SubfactorSolutions, ...]

    @property
    def solutions(self) -> pd.DataFrame:
        """Return one row per kept level: factor, subfactor, level, value and, when computed, se and reliability."""
        return pd.concat([self._frame(p) for p in self.parts], ignore_index=True)

    def effect(self, subfactor: str) -> pd.DataFrame:
        """Return the solutions of one sub-factor, indexed by level.

        Raises `KeyError` with the names that there are.
        """
        for part in self.parts:
            if part.subfactor == subfactor:
                return self._frame(part).drop(columns=["factor", "subfactor"]).set_index("level")
        raise KeyError(f"no sub-factor {subfactor!r}; there are {', '.join(p.subfactor for p in self.parts)}")

    def to_xarray(self, factor: str) -> xarray.Dataset:
        """Return a factor as levels by sub-factors (needs the `xarray` extra)."""
        import xarray

        frame = self.solutions.query("factor == @factor").drop(columns="factor")
        return xarray.Dataset.from_dataframe(frame.set_index(["level", "subfactor"]))

    @staticmethod
    def _frame(part: SubfactorSolutions) -> pd.DataFrame:
        columns: dict[str, Any] = {
            "factor": part.factor,
            "subfactor": part.subfactor,
            "level": labels_to_arrow(part.labels).to_pandas(),
            "value": part.values,
        }
        columns |= {n: v for n in ("se", "reliability") if (v := getattr(part, n)) is not None}
        frame = pd.DataFrame(columns)
        return frame if part.kept is None else frame[part.kept].reset_index(drop=True)


def solve(file: str | Path, *, out: str | Path | None = None, threads: int | None = None) -> Result:
    """Return the solutions of a parameter file (TOML, or lmt's XML), after all the jobs it lists.

    Parameters
    ----------
    file
        The parameter file.
    out
        Folder for store and result files; None: a temporary one that is removed.
    threads
        Threads; None: all cores for large problems.

    Raises
    ------
    HendersonError
        For what is wrong in the parameter file, its files, or the iteration.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="henderson.") as folder:
            return solve(file, out=folder, threads=threads)
    outcome = run(Path(file), Settings(out=Path(out), threads=threads))
    return Result(outcome.record, outcome.parts)
