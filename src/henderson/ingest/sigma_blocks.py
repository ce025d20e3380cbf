"""Files with a Sigma for each level of a random factor, or for each record, in lmt's three suffixes.

lmt's layouts are not published; these are ours, the names of the blocks are lmt's. A level is named by its id, a record
by its number in the files of the records, counted from 1. Several levels may share a block. A block may be of some
positions (traits) only: the others are not observed.

.blkcsv
    Text. ``#sigma_1,rows,columns`` and the matrix, a row a line; ``#cp_1,n,1`` and its positions, one a line (left out:
    all); ``#rp_1,n,1`` and the levels or records it belongs to, one a line; the same for 2, 3, ... in any order.
.coocsv
    Text. A line of names (``level,i,j,value``), then a line for each element of one triangle or both.
.bin
    Little-endian: two int64 (matrices, positions), then the levels (integers) or records as int64, then the matrices as
    float64, row by row; positions that a matrix does not have are NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, Problem
from henderson.ingest.files import Block, Source
from henderson.ingest.id_table import as_integers
from henderson.ingest.numbering import number_labels
from henderson.ingest.parse import Words, line_numbers, parse_block, stack_words, text_of, words_of, words_of_integers
from henderson.ingest.tasks import raise_problems, shift
from henderson.language.spec import BlocksSpec

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SYMMETRY = 1e-6  # relative to the diagonal: printed with six digits is symmetric enough
SINGULAR = 1e-12
CHUNK = 1 << 18  # matrices that are compared with each other at a time
HEAD = r"^#\s*(?P<kind>sigma|cp|rp)_(?P<number>\d{1,18})\s*,\s*(?P<rows>\d{1,18})\s*,\s*(?P<columns>\d{1,18})\s*$"


@dataclass
class SigmaBlocks:
    """What a file holds: ids of levels or numbers of records as words, which matrix each has, the different matrices.

    number: int32 (n_keys,); table: float64 (n, width, width), NaN where a matrix does not have a position.
    """

    keys: Words
    number: NDArray[np.int32]
    table: Floats


def read_blocks(source: Source, blocks: list[Block], spec: BlocksSpec, width: int) -> SigmaBlocks:
    """Return what the file `source`, cut into `blocks`, says of levels with `width` positions.

    Raises `InputFileError`: malformed, a level named twice, a matrix that is not symmetric and positive definite.
    Memory: 8 width**2 bytes for each different matrix, a few times while they are checked; of text, for each.
    """
    read = {".blkcsv": _read_named, ".coocsv": _read_elements, ".bin": _read_binary}[Path(source.path).suffix]
    keys, of, matrices = read(source, blocks, width)
    numbers, ids = number_labels(keys)
    if len(ids) < len(keys):
        twice = np.flatnonzero(np.bincount(numbers) > 1)[:MAX_PRINTED]
        raise_problems(Problem(f"{name!r} is named more than once", file=source.shown) for name in text_of(ids[twice]))
    distinct, which = _distinct(matrices)
    number = which[of]
    names = np.zeros(len(distinct), np.int64)  # of a matrix: the first of its keys, for messages
    names[number[::-1]] = np.arange(len(of))[::-1]
    return SigmaBlocks(
        keys, number.astype(np.int32), _checked(distinct, keys, names, source.shown, spec.inverse) * spec.scale
    )


def record_numbers(keys: Words, file: str) -> Ints:
    """Return the rows of the records, from 0, that keys name. Raises `InputFileError` for other keys."""
    numbers = as_integers(keys)
    if numbers is None or (numbers < 1).any():
        bad = text_of(keys[:1] if numbers is None else keys[np.flatnonzero(numbers < 1)[:1]])[0]
        remedy = "records are numbered from 1, in the order of the files of the records"
        raise_problems([Problem(f"the number of a record was expected, such as {bad!r} is not", file, remedy=remedy)])
    assert numbers is not None
    return numbers - 1


def _read_elements(source: Source, blocks: list[Block], width: int) -> tuple[Words, Ints, Floats]:
    names = source.names
    if len(names) != 4:
        what = f"{len(names)} columns where level, i, j, value were expected"
        raise_problems([Problem(what, file=source.shown, line=1)])
    keys, places, values, lines = [], [], [], []
    problems: list[Problem] = []
    before = source.lines
    for block in blocks:
        parsed = parse_block(block, names[:1], names[1:])
        problems += [shift(p, before) for p in parsed.problems]
        if not parsed.problems:
            line = line_numbers(block, parsed.n_rows) + before + 1
            key, place = parsed.text[names[0]], np.stack([parsed.reals[c] for c in names[1:3]], axis=1)
            value = parsed.reals[names[3]]
            good = (place >= 1.0).all(1) & (place <= width).all(1) & (place == np.floor(place)).all(1)
            for r in np.flatnonzero(~good)[:MAX_PRINTED].tolist():
                what = f"i and j are positions from 1 to {width}, not {place[r, 0]:g} and {place[r, 1]:g}"
                problems.append(Problem(what, file=source.shown, line=int(line[r])))
            for r in np.flatnonzero((key[:, 0] == 0) | ~np.isfinite(value))[:MAX_PRINTED].tolist():
                problems.append(Problem("an element without level or value", file=source.shown, line=int(line[r])))
            keys.append(key)
            places.append(np.where(good[:, None], place, 1.0).astype(np.int64) - 1)
            values.append(value)
            lines.append(line)
        before += parsed.n_lines
    raise_problems(problems)
    if not keys:
        raise_problems([Problem("holds no element", file=source.shown)])
    of, ids = number_labels(stack_words(keys))
    i, j = np.concatenate(places).T
    value, line = np.concatenate(values), np.concatenate(lines)
    flat = (of.astype(np.int64) * width + i) * width + j
    _, first = np.unique(flat, return_index=True)
    for r in np.setdiff1d(np.arange(len(flat)), first)[:MAX_PRINTED].tolist():
        problems.append(Problem("an element is given twice", file=source.shown, line=int(line[r])))
    raise_problems(problems)
    matrices = np.full((len(ids), width, width), np.nan)
    matrices.reshape(-1)[flat] = value
    other = np.swapaxes(matrices, 1, 2)
    matrices = np.where(np.isnan(matrices), other, matrices)
    there = ~np.isnan(np.diagonal(matrices, axis1=1, axis2=2))
    both = there[:, :, None] & there[:, None, :]
    lacking = np.flatnonzero((~np.isnan(matrices) & ~both).any(axis=(1, 2)))[:MAX_PRINTED]
    raise_problems(
        Problem(f"{name!r} has a covariance of a position without a variance", file=source.shown)
        for name in text_of(ids[lacking])
    )
    return ids, np.arange(len(ids)), np.where(np.isnan(matrices) & both, 0.0, matrices)


def _read_binary(source: Source, blocks: list[Block], width: int) -> tuple[Words, Ints, Floats]:
    size = Path(source.path).stat().st_size
    head = np.fromfile(source.path, "<i8", 2)
    n, positions = head.tolist() if len(head) == 2 else (0, 0)
    expected = 16 + n * 8 * (1 + positions * positions)
    if positions != width or n < 1 or size != expected:
        what = f"{n} matrices of {positions} positions take {expected} bytes, the file has {size}"
        remedy = f"two int64 (matrices, {width} positions), an int64 for each level or record, then float64 matrices"
        raise_problems([Problem(what, file=source.shown, remedy=remedy)])
    numbers = np.fromfile(source.path, "<i8", n, offset=16).astype(np.int64)
    matrices = np.memmap(source.path, "<f8", "r", 16 + 8 * n, (n, width, width))
    return words_of_integers(numbers), np.arange(n), matrices


def _read_named(source: Source, blocks: list[Block], width: int) -> tuple[Words, Ints, Floats]:
    """Return the blocks of a .blkcsv; the lines are parsed by Arrow, all at once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        text = Path(source.path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise_problems([Problem(f"byte {error.start} is not UTF-8", file=source.shown)])
    lines = pc.utf8_trim_whitespace(pa.array(text.split("\n"), pa.large_string()))
    at = np.flatnonzero(pc.not_equal(lines, "").to_numpy(zero_copy_only=False))
    lines = lines.take(pa.array(at))
    is_head = pc.starts_with(lines, "#").to_numpy(zero_copy_only=False)
    head = np.flatnonzero(is_head)

    def fault(what: str, line: int) -> None:
        raise_problems(
            [Problem(what, file=source.shown, line=int(at[line]) + 1, remedy="see #sigma_1,2,2 in the docs")]
        )

    found = pc.extract_regex(lines.take(pa.array(head)), HEAD)
    if (bad := np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))).size:
        fault("a head such as #sigma_1,2,2 or #cp_1,2,1 or #rp_1,1,1 was expected", head[bad[0]])
    if not len(head) or head[0] != 0:
        fault("the file begins without a head such as #sigma_1,2,2", 0)
    kind = found.field("kind").to_numpy(zero_copy_only=False)
    number, rows, columns = (found.field(c).cast(pa.int64()).to_numpy() for c in ("number", "rows", "columns"))
    lengths = np.diff(np.append(head, len(lines))) - 1
    if (bad := np.flatnonzero(lengths != rows)).size:
        fault(f"{lengths[bad[0]]} lines where the head says {rows[bad[0]]}", head[bad[0]])
    square = np.where(kind == "sigma", (rows == columns) & (rows <= width) & (rows > 0), columns == 1)
    if (bad := np.flatnonzero(~square)).size:
        what = f"sigma is square with 1 to {width} rows, cp and rp have one column"
        fault(f"{what}; this block is {rows[bad[0]]} by {columns[bad[0]]}", head[bad[0]])
    body, begin = np.flatnonzero(~is_head), np.cumsum(rows) - rows  # of each head, among the lines without heads
    values = lines.take(pa.array(body))

    def lines_of(which: NDArray[np.bool_]) -> Ints:
        n = rows[which]
        return np.repeat(begin[which] - (np.cumsum(n) - n), n) + np.arange(int(n.sum()))

    def numbers(which: NDArray[np.bool_]) -> Floats:
        mine = lines_of(which)
        parts = pc.split_pattern(values.take(pa.array(mine)), ",")
        counts = pc.list_value_length(parts).to_numpy(zero_copy_only=False)
        if (wrong := np.flatnonzero(counts != np.repeat(columns[which], rows[which]))).size:
            fault(f"{counts[wrong[0]]} numbers, other than the head says", body[mine[wrong[0]]])
        try:
            return np.asarray(pc.utf8_trim_whitespace(parts.flatten()).cast(pa.float64()).to_numpy())
        except pa.ArrowInvalid as error:
            raise_problems([Problem(f"not a number ({error})", file=source.shown)])
            raise

    parts: dict[str, NDArray[np.bool_]] = {k: kind == k for k in ("sigma", "cp", "rp")}
    order, which = np.unique(number[parts["sigma"]], return_inverse=True)
    for k in parts:
        if len(np.unique(number[parts[k]])) < parts[k].sum():
            raise_problems([Problem(f"two blocks of the name {k}_<number>", file=source.shown)])
    if not np.array_equal(order, np.unique(number[parts["rp"]])) or not np.isin(number[parts["cp"]], order).all():
        raise_problems([Problem("every sigma_<number> needs an rp_<number>, and no other cp and rp", source.shown)])
    size = rows[parts["sigma"]][np.argsort(which)]
    place = np.full((len(order), width), -1, np.int64)  # the position of each row of a matrix
    place[size == width] = np.arange(width)
    has = np.searchsorted(order, number[parts["cp"]])
    if (rows[parts["cp"]] != size[has]).any() or (place[np.setdiff1d(np.arange(len(order)), has)] < 0).any():
        what = f"a sigma of fewer than {width} rows needs a cp of as many lines"
        raise_problems([Problem(what, file=source.shown)])
    given = numbers(parts["cp"])
    if ((given < 1) | (given > width) | (given != np.floor(given))).any():
        raise_problems([Problem(f"positions (cp) are whole numbers from 1 to {width}", file=source.shown)])
    step = np.arange(len(given)) - np.repeat(np.cumsum(size[has]) - size[has], size[has])
    place[np.repeat(has, size[has]), step] = given.astype(np.int64) - 1
    matrices = np.full((len(order), width, width), np.nan)
    flat, first = numbers(parts["sigma"]), np.cumsum(size[which] ** 2) - size[which] ** 2
    for r in np.unique(size).tolist():
        mine = np.flatnonzero(size[which] == r)
        at_ = place[which[mine], :r]
        if r > 1 and (np.diff(np.sort(at_, axis=1), axis=1) == 0).any():
            raise_problems([Problem("a block names a position (cp) twice", file=source.shown)])
        block = flat[first[mine][:, None] + np.arange(r * r)].reshape(-1, r, r)
        matrices[which[mine][:, None, None], at_[:, :, None], at_[:, None, :]] = block
    mine = lines_of(parts["rp"])
    keys = values.take(pa.array(mine)).cast(pa.string())
    of = np.repeat(np.searchsorted(order, number[parts["rp"]]), rows[parts["rp"]])
    return words_of(keys), of, matrices


def _checked(matrices: Floats, keys: Words, names: Ints, file: str, inverse: bool) -> Floats:
    """Return the matrices, or their inverses: symmetric, positive definite over the positions that they have."""
    there = ~np.isnan(np.diagonal(matrices, axis1=1, axis2=2))
    out = np.full_like(matrices, np.nan)
    problems: list[Problem] = []
    for mask in np.unique(there, axis=0):
        mine = np.flatnonzero((there == mask).all(axis=1))
        if not mask.any():
            problems += _named("has no variance", mine, keys, names, file)
            continue
        at = np.ix_(mine, mask, mask)
        part = matrices[at]
        other = np.swapaxes(part, 1, 2)
        scale = np.abs(np.diagonal(part, axis1=1, axis2=2)).max(axis=1)
        with np.errstate(invalid="ignore"):
            skew = ~(np.abs(part - other).max(axis=(1, 2)) <= SYMMETRY * scale)
        problems += _named("is not symmetric", mine[skew], keys, names, file)
        part = np.where(skew[:, None, None], np.eye(int(mask.sum())), (part + other) / 2.0)
        low = np.linalg.eigvalsh(part)[:, 0] <= SINGULAR * scale
        problems += _named("is not positive definite", mine[low & ~skew], keys, names, file)
        if inverse and not problems:
            part = np.linalg.inv(part)
            part = (part + np.swapaxes(part, 1, 2)) / 2.0
        out[at] = part
    raise_problems(problems)
    return out


def _named(what: str, matrices: Ints, keys: Words, names: Ints, file: str) -> Iterator[Problem]:
    for name in text_of(keys[names[matrices[:MAX_PRINTED]]]):
        yield Problem(f"the matrix of {name!r} {what}", file=file)


def _distinct(table: Floats) -> tuple[Floats, Ints]:
    """Return the different matrices, in order of first appearance, and which of them each is."""
    parts: list[Floats] = []
    which: list[Ints] = []
    n = 0
    for start in range(0, len(table), CHUNK):  # some at a time: a sort of all would hold them twice
        rows, mine = _distinct_rows(np.ascontiguousarray(table[start : start + CHUNK]).reshape(-1, table[0].size))
        which.append(mine + n)
        parts.append(rows)
        n += len(rows)
    rows, again = _distinct_rows(np.concatenate(parts))
    return rows.reshape(-1, *table.shape[1:]), again[np.concatenate(which)]


def _distinct_rows(rows: Floats) -> tuple[Floats, Ints]:
    whole: NDArray[Any] = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return rows[first[order]], place[which.reshape(-1)]
