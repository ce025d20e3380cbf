"""The log of edits: a line for each value that breaks a check, with where it is and why."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from henderson.errors import Problem
from henderson.ingest.parse import line_numbers, text_of
from henderson.ingest.parts import map_part

if TYPE_CHECKING:
    from henderson.ingest.checks import CheckedRecords, Rule
    from henderson.ingest.stages import Ingest

HEADER = ("file", "line", "animal", "trait", "column", "value", "action", "reason")
KEPT = 1000  # offenders of a rule that are remembered

Entry = tuple[str, int, str, str, str, str]  # file, line, animal, trait, column, value


@dataclass
class Edits:
    """What breaks one rule: how many values, and the first of them."""

    rule: Rule
    count: int = 0
    entries: list[Entry] = field(default_factory=list)

    def first(self, n: int) -> str:
        """Return the first offenders in words."""
        return "; ".join(f"{file} line {line}{_of(a)} {trait} {v}" for file, line, a, trait, _, v in self.entries[:n])

    def problems(self, remedy: str) -> list[Problem]:
        """Return the offenders that are remembered as mistakes of their files."""
        return [
            Problem(f"{column} {value}{_of(animal)}: {self.rule.reason}", file=file, line=line, remedy=remedy)
            for file, line, animal, _, column, value in self.entries
        ]


def _of(animal: str) -> str:
    return f" of {animal}" if animal else ""


def write_edits(run: Ingest, checked: CheckedRecords, action: str, path: Path) -> list[Edits]:
    """Return what breaks each rule, all of which is then listed in `path`, in the order of the records.

    Cost: a line of text for each value that breaks a rule.
    """
    task = checked.task
    traits = task.roles.columns.responses
    found = [Edits(rule) for rule in task.rules]
    first_lines = run.first_lines([r.n_lines for r in checked.reports])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for block, (marks, before) in enumerate(zip(checked.marks, first_lines, strict=True)):
            rows, which = np.nonzero(marks.T)
            if not len(rows):
                continue
            part = map_part(checked.parts[block])
            source = run.blocks[block]
            lines = (line_numbers(source, marks.shape[1])[rows] + before + 1).tolist()
            animals = text_of(part["animal"][rows]) if task.animal is not None else [""] * len(rows)
            values = np.empty((len(task.rules), len(rows)))
            for k, rule in enumerate(task.rules):
                limited = rule.kind == "range" and rule.column not in traits
                values[k] = part[f"x{task.limited.index(rule.column)}"][rows] if limited else part["y"][which, rows]
            of = marks[which, rows].astype(np.int64) - 1
            shown = values[of, np.arange(len(rows))].tolist()
            for line, animal, t, k, value in zip(lines, animals, which.tolist(), of.tolist(), shown, strict=True):
                edits = found[k]
                column = edits.rule.column if edits.rule.kind == "range" else traits[t]
                entry = source.source.shown, line, animal, traits[t], column, f"{value:.10g}"
                writer.writerow((*entry, action, edits.rule.reason))
                edits.count += 1
                if edits.count <= KEPT:
                    edits.entries.append(entry)
    return found
