"""Parents that were born after their progeny, where the pedigree has years or dates of birth."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, InputFileError, ModelError, Problem, unknown
from henderson.ingest.cutoff import are_dates
from henderson.ingest.header import kinds_of
from henderson.ingest.id_table import build_table
from henderson.ingest.parse import Words, parse_block, stack_words, text_of
from henderson.ingest.plan import unzipped
from henderson.ingest.tasks import run_tasks

if TYPE_CHECKING:
    from henderson.ingest.files import Block
    from henderson.ingest.stages import Ingest

Floats = NDArray[np.float64]
log = logging.getLogger(__name__)


def impossible_parents(run: Ingest, column: str, age: float) -> list[tuple[int, list[Problem]]]:
    """Return of each pedigree with the column how many parents were not born `age` years before, and the first of them.

    Raises `ModelError` if no pedigree has the column. Cost: a pass over the file, a hash table of the ids; memory about
    60 bytes an animal.
    """
    having = [(n, source) for n, (_, source) in enumerate(run.plan.pedigrees) if column in source.names]
    if not having:
        names = sorted({name for _, source in run.plan.pedigrees for name in source.names})
        raise ModelError(Problem(f"[checks] born: {unknown('column', column, names)} of a pedigree"))
    found = []
    for number, source in having:
        numeric = kinds_of(source)[column] != "text"
        plain = unzipped(source, run.wip / "unzipped-pedigrees", number)
        work = [(block, column, numeric) for block in run.plan.blocks(plain)]
        parts = run_tasks("pedigree: births", _births, work, run.workers, run.progress)
        animal, sire, dam = (stack_words([words[k] for words, _ in parts]) for k in range(3))
        born = np.concatenate([b for _, b in parts])
        table = build_table(animal)[0]
        problems, count = [], 0
        for name, parent in (("sire", sire), ("dam", dam)):
            index, _ = table.find(parent)
            theirs = np.where(index >= 0, born[np.maximum(index, 0)], np.nan)
            young = np.flatnonzero((theirs > born) if age <= 0 else (born - theirs < age))
            count += len(young)
            some = young[:MAX_PRINTED]
            for k, who, whose in zip(some.tolist(), text_of(parent[some]), text_of(animal[some]), strict=True):
                what = f"{name} {who} was born {theirs[k]:.6g}, its progeny {whose} {born[k]:.6g}"
                problems.append(
                    Problem(what, file=source.shown, remedy="correct the birth, or make the parent unknown")
                )
        found.append((count, problems))
    return found


def check_parents(run: Ingest) -> None:
    """Warn of parents that were born after their progeny, if `[checks]` names the column; an error if that says so."""
    checks = run.plan.roles.checks
    if checks is None or checks.born is None:
        return
    for count, problems in impossible_parents(run, checks.born, checks.parent_age):
        if count and checks.action == "error":
            raise InputFileError([Problem(f"{count:,} impossible parents, the first of them:"), *problems])
        if count:
            log.warning("%s impossible parents, kept; first: %s", f"{count:,}", "; ".join(map(str, problems[:3])))


def _births(block: Block, column: str, numeric: bool) -> tuple[list[Words], Floats]:
    names = block.source.names[:3]
    parsed = parse_block(block, [*names, *([] if numeric else [column])], [column] if numeric else [])
    if parsed.problems:
        raise InputFileError(parsed.problems)
    born = parsed.reals[column] if numeric else _years(parsed.text[column])
    return [parsed.text[n] for n in names], born


def _years(dates: Words) -> Floats:
    """Return dates (YYYY-MM-DD) as years with fractions, NaN for other texts."""
    good = are_dates(dates)
    if not good.any():
        return np.full(len(dates), np.nan)
    digits = np.ascontiguousarray(dates).view(np.uint8)[:, :10].astype(np.float64) - ord("0")
    year, month, day = digits[:, :4] @ [1000, 100, 10, 1], digits[:, 5:7] @ [10, 1], digits[:, 8:10] @ [10, 1]
    return np.where(good, year + (month - 1) / 12 + (day - 1) / 365.25, np.nan)
