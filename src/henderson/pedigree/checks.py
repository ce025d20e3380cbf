"""What may be wrong with the parents in a pedigree file, said with file, line and animals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from henderson.errors import MAX_PRINTED, Problem
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.metafounders import n_groups
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
    animal: NDArray[np.int32] | None = None,
) -> list[Problem]:
    """Return the mistakes in the rows of phantom parents: too few rows, or rows with parents.

    animal: int32, the animal of each row; one row for each of them by default.
    """
    n = n_groups(spec)
    if n >= len(labels) and n:
        remedy = "phantom parents are the first rows of the file; change 'phantomparents'"
        return [Problem(f"{n} phantom parents, but {len(labels)} rows", file=file, remedy=remedy)]
    rows = np.arange(len(sire)) if animal is None else animal
    found = np.flatnonzero((rows < n) & ((sire >= 0) | (dam >= 0)))
    remedy = f"the first {n} rows are phantom parents: leave their parents unknown, or change 'phantomparents'"
    problems = [
        Problem(
            f"phantom parent {_label(labels, int(rows[row]))} has a parent",
            file=file,
            line=_line(line, row),
            remedy=remedy,
        )
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
    animal: NDArray[np.int32] | None = None,
) -> list[Problem]:
    """Return the mistakes that show in single rows or pairs of them: own parents, selfing, an animal of both sexes.

    The first rows that stand for groups (phantom parents, metafounders) have no sex; nor does anything tell the sexes
    in a pedigree of sires and maternal grandsires. animal: as in `group_problems`. Of each kind the first ten are
    named, in the order of the rows. Cost: O(n).
    """
    rows = np.arange(len(sire), dtype=np.int32) if animal is None else animal
    own = (sire == rows) | (dam == rows)
    groups = n_groups(spec)
    problems = []
    found = np.flatnonzero(own)
    for row in found[:MAX_PRINTED].tolist():
        at = int(rows[row])
        role = "sire" if sire[row] == at else "maternal grandsire" if spec.mgs else "dam"
        problems.append(Problem(f"animal {_label(labels, at)} is its own {role}", file=file, line=_line(line, row)))
    problems += _rest(len(found), "animals are their own parents", file)
    if spec.selfing or spec.mgs:
        return problems

    selfed = (sire >= groups) & (sire == dam) & ~own
    found = np.flatnonzero(selfed)
    for row in found[:MAX_PRINTED].tolist():
        text = f"animal {_label(labels, int(rows[row]))} has {_label(labels, int(sire[row]))} as both sire and dam"
        problems.append(Problem(text, file=file, line=_line(line, row), remedy=_SELFING))
    problems += _rest(len(found), "animals have one animal as both sire and dam", file)

    counts = ~(selfed | own)  # rows already reported say nothing more about sexes
    as_sire = np.where(counts, sire, -1)
    as_dam = np.where(counts, dam, -1)
    both = np.zeros(len(labels), dtype=np.bool_)
    both[as_sire[as_sire >= 0]] = True
    female = np.zeros(len(labels), dtype=np.bool_)
    female[as_dam[as_dam >= 0]] = True
    both &= female
    both[:groups] = False
    found = np.flatnonzero(both)
    for row in found[:MAX_PRINTED].tolist():
        uses = [int(np.argmax(as_sire == row)), int(np.argmax(as_dam == row))]
        first, second = (f"of {_label(labels, int(rows[use]))} (line {line[use]})" for use in uses)
        text = f"sex conflict: {_label(labels, row)} is the sire {first} and the dam {second}"
        problems.append(Problem(text, file=file, line=_line(line, uses[1]), remedy=_SELFING))
    return problems + _rest(len(found), "animals are used both as sire and as dam", file)


def parent_edges(sire: NDArray[np.int32], dam: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return progeny and parent of every known sire, then of every known dam."""
    rows = np.arange(len(sire), dtype=np.int32)
    return np.concatenate([rows[sire >= 0], rows[dam >= 0]]), np.concatenate([sire[sire >= 0], dam[dam >= 0]])


def loop_problems(
    labels: Labels, progeny: NDArray[np.int32], parent: NDArray[np.int32], *, file: str, line: NDArray[np.int64]
) -> list[Problem]:
    """Return one problem per knot of loops (strongly connected animals), with one of its cycles from progeny to parent.

    progeny, parent: int32, one for each known parent; line: by animal. The cycle begins at its first row. Animals that
    are their own parent are left to `parent_problems`.
    Cost: O(n), strong components by SciPy, about 60 n bytes; only on the way to an error.
    """
    n = len(labels)
    graph = coo_array((np.ones(len(progeny), dtype=np.int8), (progeny, parent)), shape=(n, n)).tocsr()
    _, knot = connected_components(graph, directed=True, connection="strong")
    looped = np.bincount(knot)[knot] > 1
    # one parent inside the knot for each of its animals: following it must come back
    inside = np.flatnonzero((knot[progeny] == knot[parent]) & (progeny != parent))[::-1]
    onward = np.full(n, -1, np.int32)
    onward[progeny[inside]] = parent[inside]  # of several, the first one is written last
    knots, first = np.unique(knot[looped], return_index=True)
    starts = np.sort(np.flatnonzero(looped)[first])
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
