"""What may be wrong with the parents in a pedigree file, said with file, line and animals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from henderson.errors import MAX_PRINTED, Problem
from henderson.language.spec import PedigreeSpec
from henderson.store.model_data import Labels

MAX_CYCLE = 20  # animals of one loop that are printed
_SELFING = "allow it with 'selfing = true' if it is meant"


def _line(line: NDArray[np.int64], row: int) -> int | None:
    """Return the line of the file that declares the animal of `row`, None if none does."""
    return int(line[row]) if line[row] >= 0 else None


def _label(labels: Labels, row: int) -> str:
    return labels.text(row, row + 1)[0]


def _rest(n: int, what: str, file: str) -> list[Problem]:
    """Return the problem that counts what is not named one by one."""
    return [Problem(f"{n - MAX_PRINTED} more {what}", file=file)] if n > MAX_PRINTED else []


def group_problems(
    labels: Labels,
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    *,
    spec: PedigreeSpec,
    file: str,
    line: NDArray[np.int64],
) -> list[Problem]:
    """Return the mistakes in the rows of phantom parents: too few rows, or rows with parents."""
    n = spec.phantomparents
    if n >= len(sire) and n:
        remedy = "phantom parents are the first rows of the file; change 'phantomparents'"
        return [Problem(f"{n} phantom parents, but {len(sire)} rows", file=file, remedy=remedy)]
    found = np.flatnonzero((sire[:n] >= 0) | (dam[:n] >= 0))
    remedy = f"the first {n} rows are phantom parents: leave their parents unknown, or change 'phantomparents'"
    problems = [
        Problem(f"phantom parent {_label(labels, row)} has a parent", file=file, line=_line(line, row), remedy=remedy)
        for row in found[:MAX_PRINTED].tolist()
    ]
    return problems + _rest(len(found), "phantom parents have parents", file)


def parent_problems(
    labels: Labels,
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    *,
    spec: PedigreeSpec,
    file: str,
    line: NDArray[np.int64],
) -> list[Problem]:
    """Return the mistakes that show in single rows or pairs of them: own parents, selfing, an animal of both sexes.

    Phantom parents (the first ``spec.phantomparents`` rows) stand for groups, which have no sex. Of each kind the
    first ten are named, in the order of the rows. Cost: O(n).
    """
    rows = np.arange(len(sire), dtype=np.int32)
    own = (sire == rows) | (dam == rows)
    problems = []
    found = np.flatnonzero(own)
    for row in found[:MAX_PRINTED].tolist():
        role = "sire" if sire[row] == row else "dam"
        problems.append(Problem(f"animal {_label(labels, row)} is its own {role}", file=file, line=_line(line, row)))
    problems += _rest(len(found), "animals are their own parents", file)
    if spec.selfing:
        return problems

    selfed = (sire >= spec.phantomparents) & (sire == dam) & ~own
    found = np.flatnonzero(selfed)
    for row in found[:MAX_PRINTED].tolist():
        text = f"animal {_label(labels, row)} has {_label(labels, int(sire[row]))} as both sire and dam"
        problems.append(Problem(text, file=file, line=_line(line, row), remedy=_SELFING))
    problems += _rest(len(found), "animals have one animal as both sire and dam", file)

    counts = ~(selfed | own)  # rows already reported say nothing more about sexes
    as_sire = np.where(counts, sire, -1)
    as_dam = np.where(counts, dam, -1)
    both = np.zeros(len(sire), dtype=np.bool_)
    both[as_sire[as_sire >= 0]] = True
    female = np.zeros(len(sire), dtype=np.bool_)
    female[as_dam[as_dam >= 0]] = True
    both &= female
    both[: spec.phantomparents] = False
    found = np.flatnonzero(both)
    for row in found[:MAX_PRINTED].tolist():
        uses = [int(np.argmax(as_sire == row)), int(np.argmax(as_dam == row))]
        first, second = (f"of {_label(labels, use)} (line {line[use]})" for use in uses)
        text = f"sex conflict: {_label(labels, row)} is the sire {first} and the dam {second}"
        problems.append(Problem(text, file=file, line=_line(line, uses[1]), remedy=_SELFING))
    return problems + _rest(len(found), "animals are used both as sire and as dam", file)


def loop_problems(
    labels: Labels, sire: NDArray[np.int32], dam: NDArray[np.int32], *, file: str, line: NDArray[np.int64]
) -> list[Problem]:
    """Return one problem per knot of loops (strongly connected animals), with one of its cycles from progeny to parent.

    The cycle begins at its first row. Animals that are their own parent are left to `parent_problems`.
    Cost: O(n), strong components by SciPy, about 60 n bytes; only on the way to an error.
    """
    n = len(sire)
    rows = np.arange(n, dtype=np.int32)
    progeny = np.concatenate([rows[sire >= 0], rows[dam >= 0]])
    parent = np.concatenate([sire[sire >= 0], dam[dam >= 0]])
    graph = coo_array((np.ones(len(progeny), dtype=np.int8), (progeny, parent)), shape=(n, n)).tocsr()
    _, knot = connected_components(graph, directed=True, connection="strong")
    looped = np.bincount(knot)[knot] > 1
    # one parent inside the knot for each of its animals: following it must come back
    by_sire = (sire >= 0) & (sire != rows) & (knot[sire] == knot)
    onward = np.where(by_sire, sire, dam)
    knots, first = np.unique(knot[looped], return_index=True)
    starts = np.sort(rows[looped][first])
    problems = []
    for start in starts[:MAX_PRINTED].tolist():
        cycle = _cycle(onward, start)
        shown = labels.take(np.array([*cycle[:MAX_CYCLE], cycle[0]])).text()
        if len(cycle) > MAX_CYCLE:
            shown.insert(MAX_CYCLE, f"({len(cycle) - MAX_CYCLE} more)")
        text = f"loop in the pedigree: {' -> '.join(shown)}, each followed by its parent"
        problems.append(Problem(text, file=file, line=_line(line, cycle[0]), remedy="correct one of these parents"))
    return problems + _rest(len(knots), "loops", file)


def _cycle(onward: NDArray[np.int32], start: int) -> list[int]:
    """Return the cycle that following `onward` from `start` ends in, from its first row on."""
    place: dict[int, int] = {}
    path: list[int] = []
    row = start
    while row not in place:
        place[row] = len(path)
        path.append(row)
        row = int(onward[row])
    cycle = path[place[row] :]
    begin = cycle.index(min(cycle))
    return cycle[begin:] + cycle[:begin]
