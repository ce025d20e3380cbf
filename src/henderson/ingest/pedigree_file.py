"""A pedigree file to a checked pedigree and a table of its ids.

Stages, each on disk before the next begins: parse (a part for each block: id, sire, dam as words), table (all ids),
parents (a part for each block: rows of sire and dam), checked (generations, inbreeding). All orders are those of the
file, so that blocks leave no trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, InputFileError, Problem
from henderson.ingest.files import Block
from henderson.ingest.id_table import IdTable, as_integers, build_table, labels_of, map_table, save_table
from henderson.ingest.parse import Words, line_numbers, parse_block, stack_words, text_of
from henderson.ingest.parts import is_whole, map_part, read_meta, write_part
from henderson.ingest.pedigree_rows import GRANDDAM, PROBABILITY, first_rows, fourth_column, probability_problems
from henderson.ingest.tasks import Progress, raise_problems, run_tasks, shift
from henderson.kernels.hashing import EMPTY, LITERAL_ZERO, NOT_FOUND
from henderson.language.spec import PedigreeSpec
from henderson.store.model_data import Labels, Loadings, Pedigree

if TYPE_CHECKING:
    from henderson.pedigree.build import PedigreeRows


@dataclass(frozen=True)
class PedigreeFolder:
    """Where the parts of a pedigree are."""

    root: Path

    def rows(self, i: int) -> Path:
        """Return the part of the ids of block i."""
        return self.root / f"rows-{i:06d}"

    def parents(self, i: int) -> Path:
        """Return the part of the parents of block i."""
        return self.root / f"parents-{i:06d}"

    @property
    def table(self) -> Path:
        """Return the part of the table of ids."""
        return self.root / "table"

    @property
    def checked(self) -> Path:
        """Return the part of the checked pedigree, in the order of the file."""
        return self.root / "checked"


def read_pedigree(
    spec: PedigreeSpec, blocks: list[Block], folder: PedigreeFolder, workers: int, progress: Progress | None
) -> None:
    """Read, check and keep a pedigree: afterwards `folder.table` and `folder.checked` are whole.

    Raises `InputFileError`: fewer than three columns, an animal without an id, an id on two lines (unless
    ``spec.probabilistic``), a probability that is missing, parents that are not listed (unless
    ``spec.add_missing_parents``), and what `check_rows` finds.
    """
    if is_whole(folder.checked) and is_whole(folder.table):
        return
    file = blocks[0].source.shown
    if len(blocks[0].source.names) < 3:
        what = f"{len(blocks[0].source.names)} columns where a pedigree has three: animal, sire, dam"
        raise InputFileError(Problem(what, file=file, remedy="name an unknown parent 0"))
    fourth = fourth_column(spec, blocks[0].source)
    stage = f"pedigree {spec.name}"
    work: list[tuple[Any, ...]] = [(b, folder.rows(i), fourth) for i, b in enumerate(blocks)]
    found = run_tasks(f"{stage}: read", _read_rows, work, workers, progress)
    before = np.cumsum([blocks[0].source.lines, *(read.n_lines for read in found)])
    raise_problems(shift(p, int(n)) for read, n in zip(found, before, strict=False) for p in read.problems)
    rows = np.cumsum([0, *(read.n_rows for read in found)])
    line = np.concatenate(
        [line_numbers(b, r.n_rows) + n + 1 for b, r, n in zip(blocks, found, before, strict=False)]
    ).astype(np.int64)
    table = _table(spec, folder, blocks, line, all(r.integer for r in found))
    work = [(folder.table, folder.rows(i), folder.parents(i), fourth) for i in range(len(blocks))]
    n_absent = sum(run_tasks(f"{stage}: parents", _find_parents, work, workers, progress))
    names = ["sire", "dam", *([GRANDDAM] if fourth == GRANDDAM else [])]
    parents = {name: np.empty(rows[-1], np.int32) for name in names}
    for i in range(len(blocks)):
        part = map_part(folder.parents(i))
        for name, values in parents.items():
            values[rows[i] : rows[i + 1]] = part[name]
    animal = probability = None
    if fourth == PROBABILITY:
        parts = [map_part(folder.rows(i), ["id", PROBABILITY]) for i in range(len(blocks))]
        animal = np.concatenate([first_rows(table, p["id"]) for p in parts])
        probability = np.concatenate([p[PROBABILITY] for p in parts])
        raise_problems(probability_problems(probability, line, file))
    if n_absent:
        absent = _absent(folder, parents, rows)
        if not spec.add_missing_parents:
            raise_problems(_absent_problems(absent, parents, line, file, n_absent))
        table = _add(folder, table, absent, parents)
        if animal is None:
            more = len(table) - len(line)
            line = np.concatenate([line, np.full(more, -1, np.int64)])
            parents = {k: np.concatenate([p, np.full(more, -1, np.int32)]) for k, p in parents.items()}
    from henderson.pedigree.build import PedigreeRows

    own = PedigreeRows(parents["sire"], parents["dam"], line, animal, probability, parents.get(GRANDDAM))
    _check(spec, folder, table, own, file, workers)


@dataclass(frozen=True)
class _Read:
    n_rows: int
    n_lines: int
    integer: bool
    problems: tuple[Problem, ...] = ()


def _read_rows(block: Block, path: Path, fourth: str | None) -> _Read:
    """Write the ids, sires and dams of a block, and its fourth column; return what was met."""
    if is_whole(path):
        meta = read_meta(path)
        return _Read(meta["n_rows"], meta["n_lines"], meta["integer"])
    id_, sire, dam = block.source.names[:3]
    more = block.source.names[3] if fourth else ""
    texts = [id_, sire, dam, *([more] if fourth == GRANDDAM else [])]
    parsed = parse_block(block, texts, [more] if fourth == PROBABILITY else [])
    problems = list(parsed.problems)
    if not problems:
        words = parsed.text[id_]
        nameless = np.flatnonzero((words[:, 0] == 0) | (words[:, 0] == ord("0")))
        if len(nameless):
            lines = line_numbers(block, parsed.n_rows)
            what = "an animal without an id (empty, NA or 0)"
            problems = [Problem(what, file=block.source.shown, line=int(lines[r])) for r in nameless[: MAX_PRINTED + 1]]
    if problems:
        return _Read(parsed.n_rows, parsed.n_lines, False, tuple(problems))
    integer = all(as_integers(parsed.text[c]) is not None for c in texts)
    meta = {"n_rows": parsed.n_rows, "n_lines": parsed.n_lines, "integer": integer}
    arrays: dict[str, NDArray[Any]] = {"id": words, "sire": parsed.text[sire], "dam": parsed.text[dam]}
    if fourth:
        arrays[fourth] = parsed.text[more] if fourth == GRANDDAM else parsed.reals[more]
    write_part(path, arrays, meta)
    return _Read(parsed.n_rows, parsed.n_lines, integer)


def _table(
    spec: PedigreeSpec, folder: PedigreeFolder, blocks: list[Block], line: NDArray[np.int64], integer: bool
) -> IdTable:
    """Return the table of all ids, kept on disk. Integers if all columns of ids are."""
    parts = [map_part(folder.rows(i), ["id"])["id"] for i in range(len(blocks))]
    ids: NDArray[Any] = stack_words(parts)
    if integer:
        integers = as_integers(ids)
        assert integers is not None
        ids = integers
    if spec.probabilistic:
        keys = ids if integer else np.ascontiguousarray(ids).view(f"S{8 * ids.shape[1]}").ravel()
        ids = ids[np.sort(np.unique(keys, return_index=True)[1])]
    table, twice, n_twice = build_table(ids)
    if n_twice:
        labels = labels_of(ids)
        problems = [
            Problem(
                f"animal {labels.text(row, row + 1)[0]!r} is already on line {line[first]}",
                file=blocks[0].source.shown,
                line=int(line[row]),
                remedy="keep one of the two lines",
            )
            for row, first in twice.tolist()
        ]
        raise InputFileError([*problems, *[problems[-1]] * (n_twice - len(problems))])
    save_table(folder.table, table)
    return map_table(folder.table)


def _find_parents(table: Path, rows: Path, path: Path, fourth: str | None) -> int:
    """Write the rows of the sires, dams (and granddams) of a block (-1 unknown, NOT_FOUND not listed).

    Return how many are not listed.
    """
    if is_whole(path):
        return int(read_meta(path)["absent"])
    ids = map_table(table)
    part = map_part(rows, ["sire", "dam", *([GRANDDAM] if fourth == GRANDDAM else [])])
    out = {}
    absent = 0
    for name, keys in part.items():
        found, n = ids.find(keys)
        found[(found == EMPTY) | (found == LITERAL_ZERO)] = -1
        out[name] = found
        absent += n
    write_part(path, out, {"absent": absent})
    return absent


def _absent(folder: PedigreeFolder, parents: dict[str, NDArray[np.int32]], rows: NDArray[np.int64]) -> dict[str, Words]:
    """Return the ids of the parents of each kind that are not listed, in the order of the file."""
    out: dict[str, list[Words]] = {name: [] for name in parents}
    for name, found in parents.items():
        for i in range(len(rows) - 1):
            here = np.flatnonzero(found[rows[i] : rows[i + 1]] == NOT_FOUND)
            if len(here):
                out[name].append(map_part(folder.rows(i), [name])[name][here])
    return {name: stack_words(parts) if parts else np.zeros((0, 1), np.uint64) for name, parts in out.items()}


def _absent_problems(
    absent: dict[str, Words],
    parents: dict[str, NDArray[np.int32]],
    line: NDArray[np.int64],
    file: str,
    n_absent: int,
) -> list[Problem]:
    found: list[tuple[int, str, str]] = []
    for name, rows in parents.items():
        at = np.flatnonzero(rows == NOT_FOUND)[: MAX_PRINTED + 1]
        found += [(int(line[r]), name, label) for r, label in zip(at, text_of(absent[name][: len(at)]), strict=True)]
    first: dict[str, tuple[int, str]] = {}
    for number, name, label in sorted(found):
        first.setdefault(label, (number, name))
    remedy = "list it with unknown parents, or set add_missing_parents = true"
    problems = [
        Problem(f"{name} {label!r} is not listed as an animal itself", file=file, line=number, remedy=remedy)
        for label, (number, name) in first.items()
    ]
    if n_absent > len(problems):
        problems.insert(MAX_PRINTED - 1, Problem(f"{n_absent} parents of this kind in all", file=file))
    return problems


def _add(
    folder: PedigreeFolder, table: IdTable, absent: dict[str, Words], parents: dict[str, NDArray[np.int32]]
) -> IdTable:
    """Return the table with the parents that are not listed added in order of appearance; `parents` find them."""
    kinds = enumerate(parents.values())
    places = np.concatenate([len(parents) * np.flatnonzero(rows == NOT_FOUND) + k for k, rows in kinds])
    keys = stack_words(list(absent.values()))[np.argsort(places, kind="stable")]
    width = 8 * keys.shape[1]
    _, first = np.unique(keys.view(f"S{width}").ravel(), return_index=True)
    new: NDArray[Any] = keys[np.sort(first)]
    if table.ids.ndim == 1:
        integers = as_integers(new)
        assert integers is not None
        _, first = np.unique(integers, return_index=True)  # 007 and 7 are one
        ids: NDArray[Any] = np.concatenate([table.ids, integers[np.sort(first)]])
    else:
        ids = stack_words([table.ids, new])
    larger, _, _ = build_table(ids)
    for name, rows in parents.items():
        rows[rows == NOT_FOUND] = larger.find(absent[name])[0]
    save_table(folder.table, larger)
    return map_table(folder.table)


def _check(
    spec: PedigreeSpec,
    folder: PedigreeFolder,
    table: IdTable,
    rows: PedigreeRows,
    file: str,
    workers: int,
) -> None:
    from henderson.pedigree.build import check_rows

    pedigree = check_rows(spec.name, table.labels, rows, spec=spec, file=file, threads=workers)
    arrays = {
        name: getattr(pedigree, name) for name in ("sire", "dam", "generation", "inbreeding", "mendelian_variance")
    }
    if pedigree.groups is not None:
        arrays["groups"] = pedigree.groups
    if (own := pedigree.loadings) is not None:
        arrays |= {"indptr": own.indptr, "parent": own.parent, "weight": own.weight}
    write_part(folder.checked, arrays)


def load_pedigree(name: str, folder: PedigreeFolder) -> Pedigree:
    """Return the checked pedigree in the order of the file, mapped from disk."""
    labels: Labels = map_table(folder.table).labels
    arrays = map_part(folder.checked)
    loadings = None
    if "indptr" in arrays:
        loadings = Loadings(*(arrays.pop(name) for name in ("indptr", "parent", "weight")))
    groups = arrays.pop("groups", None)
    return Pedigree(name=name, labels=labels, loadings=loadings, groups=groups, **arrays)  # type: ignore[arg-type]
