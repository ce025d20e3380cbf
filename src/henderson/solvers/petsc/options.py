"""Options for PETSc: the project's prefix, what is misspelt, and what would not have an effect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from henderson.errors import Problem, UsageError, nearest
from henderson.solvers.petsc.library import PETSc
from henderson.solvers.preconditioner import Kind

PREFIX = "henderson_"
DECIDED = ("ksp_atol", "ksp_divtol", "ksp_norm_type", "ksp_convergence_test", "ksp_initial_guess_nonzero")
GLOBAL = ("log_view", "info", "memory_view", "options_view", "options_left", "malloc_debug")
IDLE = re.compile(r"monitor|view|max_it|converged_reason|rtol")  # they do not change the path of the iteration
BARE = re.compile(r"(ksp|pc|sub|mg|mat)_")
KNOWN = (
    *(f"ksp_{name}" for name in ("type", "rtol", "max_it", "view", "monitor", "monitor_true_residual", "cg_type")),
    *(f"ksp_{name}" for name in ("cg_single_reduction", "converged_reason", "pipecgrr", "monitor_singular_value")),
    *(f"ksp_{name}" for name in ("fcg_mmax", "pipefcg_mmax", "gmres_restart", "pc_side", "check_norm_iteration")),
    *(f"pc_{name}" for name in ("type", "bjacobi_blocks", "asm_overlap", "asm_type", "factor_levels", "factor_fill")),
    *(f"pc_{name}" for name in ("factor_mat_solver_type", "factor_shift_type", "gamg_type", "gamg_threshold")),
    *(f"pc_{name}" for name in ("gamg_agg_nsmooths", "hypre_type", "hypre_boomeramg_strong_threshold", "sor_its")),
    *(f"sub_pc_{name}" for name in ("type", "factor_levels", "factor_fill", "factor_mat_ordering_type")),
    *("sub_ksp_type", "mg_levels_ksp_type", "mg_levels_pc_type", "mg_coarse_pc_type", "mat_type"),
)


@dataclass(frozen=True)
class PetscOptions:
    """How to solve.

    rtol, xtol, max_it: as in `solvers.pcg`; preconditioner: the project's own, unless `arguments` name one of PETSc's;
    operator: products by the kernels, or by an assembled matrix; arguments: PETSc options under the prefix
    ``henderson_``; file: more of them, one a line; memory_limit: bytes on a rank that assembly may take, None for any.
    """

    rtol: float = 1e-8
    xtol: float | None = None
    max_it: int = 5000
    preconditioner: Kind = "border"
    operator: Literal["matrix-free", "assembled"] = "matrix-free"
    arguments: str = ""
    file: Path | None = None
    memory_limit: int | None = None


def read_options(options: PetscOptions) -> str:
    """Return the options of the file, then those of the command line, as one line.

    Raises
    ------
    UsageError
        The file cannot be read.

    """
    if options.file is None:
        return options.arguments
    try:
        lines = options.file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(Problem(f"PETSc options cannot be read: {error}", str(options.file))) from None
    kept = [re.split(r"[#!%]", line, maxsplit=1)[0].strip() for line in lines]
    return " ".join([*(line for line in kept if line), options.arguments])


class OptionScope:
    """PETSc's data base with the options of one solve in it; they are taken out at the end.

    Raises
    ------
    UsageError
        An option that henderson decides itself, or one of PETSc's solvers without the prefix.

    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._base = PETSc.Options()
        self._before: set[str] = set()
        _refuse(_names(text))

    def __enter__(self) -> OptionScope:
        self._before = set(self._base.getAll())
        self._base.insertString(self._text)
        if self._base.hasName("log_view"):
            PETSc.Log.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take out what was put in, and the new names that PETSc has added for old ones."""
        for name in set(self._base.getAll()) - self._before:
            self._base.delValue(name)

    def has(self, name: str) -> bool:
        """Return whether the option is given, under the prefix."""
        return bool(self._base.hasName(PREFIX + name))

    def value(self, name: str) -> str:
        """Return the value of the option, empty if it is not given."""
        return str(self._base.getString(PREFIX + name, ""))

    def settings(self) -> str:
        """Return the options that decide the path of the iteration, sorted."""
        ours = PETSc.Options(PREFIX).getAll()
        return " ".join(f"{k}={v}" for k, v in sorted(ours.items()) if not IDLE.search(k))

    def check_used(self) -> None:
        """Raise `UsageError` for all options under the prefix that nothing has asked for.

        Call it when everything has been set up, before the iteration.
        """
        ours = PETSc.Options(PREFIX)
        unused = [name for name in ours.getAll() if not ours.used(name)]
        if unused:
            raise UsageError([Problem(f"PETSc has no use for -{PREFIX}{name}{_hint(name)}") for name in sorted(unused)])


def _hint(name: str) -> str:
    near = nearest(name, KNOWN)
    return f"; did you mean -{PREFIX}{near}?" if near and near != name else " with this solver"


def _names(text: str) -> list[str]:
    """Return the names of the options in a text, in lower case; each may have one value behind it.

    Raises `UsageError` for a word that is neither.
    """
    names = []
    value = False
    for word in text.split():
        if re.match(r"--?[A-Za-z]", word):
            names.append(word.lstrip("-").lower())
            value = True
        elif value:
            value = False
        else:
            raise UsageError(f"{word!r} among PETSc's options is neither one, which begins with -, nor its value")
    return names


def _refuse(names: Iterable[str]) -> None:
    problems = []
    for name in names:
        if name.removeprefix(PREFIX) in DECIDED and name.startswith(PREFIX):
            problems.append(
                Problem(f"-{name} would change what convergence means; henderson has rtol and max_it for that")
            )
        elif BARE.match(name):
            problems.append(Problem(f"-{name} has no prefix; write -{PREFIX}{name}"))
        elif not name.startswith(PREFIX) and name not in GLOBAL:
            problems.append(Problem(f"-{name} has no effect on the solver, whose options begin with -{PREFIX}"))
    if problems:
        raise UsageError(problems)
