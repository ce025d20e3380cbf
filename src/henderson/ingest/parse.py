"""One block of a file to arrays: text columns as words (see kernels.hashing), the others as float64.

Three readers, each slower and more forgiving than the one before: pyarrow with typed columns; pyarrow with text
columns and a conversion of its own (padded fields); Python, line by line, which reads everything that can be read and
otherwise says what is wrong on which line. Where several can read a block they give the same arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.errors import MAX_PRINTED, Problem
from henderson.ingest.files import Block
from henderson.ingest.lines import MAX_LABEL_BYTES, MISSING, LineError, decode, is_comment, number, split
from henderson.kernels.ids_pack import data_lines, first_odd_quotes, longest, pack_integers, pack_words

Words = NDArray[np.uint64]
Reals = NDArray[np.float64]

_COMMENT = re.compile(rb"(?m)^[ \t]*#[^\n]*(?:\n|\Z)")
_BLANK = re.compile(rb"(?m)^[ \t\r]+(?:\n|\Z)")
_QUOTE_AFTER_SPACE = re.compile(rb'[,\n][ \t]+"')
_ARROW_BLOCK = 1 << 20
_BATCH_LINES = 1 << 15


class _IrregularError(Exception):
    """The fast readers give up; the exact one decides."""


@dataclass
class Parsed:
    """What a block holds. Lines in `problems` count from 0 within the block; rows are its data lines."""

    n_rows: int
    n_lines: int
    text: dict[str, Words] = field(default_factory=dict)
    reals: dict[str, Reals] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_block(block: Block, text: Iterable[str], reals: Iterable[str]) -> Parsed:
    """Return the columns `text` and `reals` of a block; arrays only if there are no problems.

    Cost: about 150 ns a row and column; memory about five times the bytes of the block.
    """
    text, reals = list(dict.fromkeys(text)), list(dict.fromkeys(reals))
    if block.source.format == "parquet":
        return _parse_parquet(block, text, reals)
    raw = read_bytes(block)
    n_lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
    try:
        return _parse_fast(block, raw, n_lines, text, reals)
    except _IrregularError:
        return _parse_exact(block, raw, n_lines, text, reals)


def read_bytes(block: Block) -> bytes:
    """Return the bytes of a block."""
    with open(block.source.path, "rb") as handle:
        handle.seek(block.start)
        return handle.read(block.stop - block.start)


def line_numbers(block: Block, n_rows: int) -> NDArray[np.int64]:
    """Return the line, from 0 within the block, of each of its first `n_rows` rows."""
    if block.source.format == "parquet":
        return np.arange(n_rows, dtype=np.int64)
    lines = np.empty(n_rows, dtype=np.int64)
    data_lines(np.frombuffer(read_bytes(block), np.uint8), lines)
    return lines


def words_of(array: Any) -> Words:
    """Return an Arrow string array as words; missing and null become zeros."""
    if array.null_count:
        array = array.fill_null("")
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(array) + 1, 4 * array.offset)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    width = longest(offsets)
    if width > MAX_LABEL_BYTES:
        raise _IrregularError
    words = np.empty((len(array), max(1, -(-width // 8))), np.uint64)
    pack_words(offsets, data, words)
    return words


def words_of_integers(values: NDArray[np.int64], missing: NDArray[np.bool_] | None = None) -> Words:
    """Return integers as the words of their text, zeros where `missing`."""
    longest_text = max((len(str(int(v))) for v in (values.min(initial=0), values.max(initial=0))), default=1)
    words = np.empty((len(values), -(-longest_text // 8)), np.uint64)
    pack_integers(values, np.zeros(0, np.bool_) if missing is None else missing, words)
    return words


def stack_words(parts: list[Words]) -> Words:
    """Return the rows of all `parts`, as wide as the widest."""
    if len(parts) == 1:
        return parts[0]
    out = np.zeros((sum(len(p) for p in parts), max((p.shape[1] for p in parts), default=1)), np.uint64)
    at = 0
    for part in parts:
        out[at : at + len(part), : part.shape[1]] = part
        at += len(part)
    return out


def text_of(words: Words) -> list[str]:
    """Return the text of a few words, for messages."""
    width = 8 * words.shape[1]
    return [v.decode("utf-8") for v in np.ascontiguousarray(words).view(f"S{width}").ravel().tolist()]


def _parse_fast(block: Block, raw: bytes, n_lines: int, text: list[str], reals: list[str]) -> Parsed:
    import pyarrow as pa
    import pyarrow.csv as csv

    from henderson.ingest.parquet import real_from_text

    if b"\0" in raw:
        raise _IrregularError
    if b"#" in raw:
        raw = _COMMENT.sub(b"", raw)
    if len(block.source.names) == 1:
        raw = _BLANK.sub(b"", raw)
    if b'"' in raw and (
        first_odd_quotes(np.frombuffer(raw, np.uint8)) >= 0 or _QUOTE_AFTER_SPACE.search(raw) or raw[:1] in b' \t"'
    ):
        raise _IrregularError
    if not raw or raw.isspace():
        return Parsed(0, n_lines, {c: np.zeros((0, 1), np.uint64) for c in text}, {c: np.zeros(0) for c in reals})
    wanted = [c for c in block.source.names if c in text or c in reals]
    both = set(text) & set(reals)
    typed = {c: pa.float64() if c in reals and c not in both else pa.string() for c in wanted}

    def read(types: dict[str, Any]) -> Any:
        return csv.read_csv(
            pa.BufferReader(raw),
            csv.ReadOptions(use_threads=False, block_size=_ARROW_BLOCK, column_names=list(block.source.names)),
            csv.ParseOptions(newlines_in_values=False),
            csv.ConvertOptions(
                column_types=types, include_columns=wanted, null_values=sorted(MISSING), quoted_strings_can_be_null=True
            ),
        )

    try:
        try:
            table = read(typed)
        except pa.ArrowInvalid:
            typed = dict.fromkeys(wanted, pa.string())
            table = read(typed)
        batches = table.to_batches()
        n_rows = table.num_rows
        del table
        words: dict[str, list[Words]] = {c: [] for c in text}
        numbers: dict[str, list[Reals]] = {c: [] for c in reals}
        for batch in batches:
            for c in text:
                words[c].append(words_of(batch.column(c)))
            for c in reals:
                column = batch.column(c)
                column = real_from_text(column) if pa.types.is_string(column.type) else column
                numbers[c].append(_finite(numbers_of(column)))
    except pa.ArrowInvalid as error:
        raise _IrregularError from error
    return _joined(n_rows, n_lines, words, numbers)


def _joined(n_rows: int, n_lines: int, words: dict[str, list[Words]], numbers: dict[str, list[Reals]]) -> Parsed:
    reals = {c: np.concatenate(p) if p else np.zeros(0) for c, p in numbers.items()}
    return Parsed(n_rows, n_lines, {c: stack_words(p) for c, p in words.items()}, reals)


def numbers_of(column: Any) -> Reals:
    """Return a float64 column, NaN where null; Arrow's own `to_numpy` would import pandas."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(np.from_dlpack(pc.fill_null(column.cast(pa.float64()), np.nan)), np.float64)


def _finite(values: Reals) -> Reals:
    """Return `values`; infinite ones (also what is too large for float64) are for the exact reader to name."""
    if np.isinf(values).any():
        raise _IrregularError
    return values


def _parse_exact(block: Block, raw: bytes, n_lines: int, text: list[str], reals: list[str]) -> Parsed:
    import pyarrow as pa

    names = block.source.names
    place = {name: i for i, name in enumerate(names)}
    problems: list[Problem] = []
    words: dict[str, list[Words]] = {c: [] for c in text}
    numbers: dict[str, list[Reals]] = {c: [] for c in reals}
    rows: list[list[str]] = []
    n_rows = 0

    def flush() -> None:
        for c in text:
            words[c].append(words_of(pa.array([r[place[c]] for r in rows], pa.string())))
        for c in reals:
            numbers[c].append(np.array([number(r[place[c]]) for r in rows], dtype=np.float64))
        rows.clear()

    for line, piece in enumerate(raw.split(b"\n")):
        found, fields = _read_line(piece, names, place, text, reals)
        problems += [Problem(what, file=block.source.shown, line=line, remedy=remedy) for what, remedy in found]
        if len(problems) > MAX_PRINTED:
            break
        if fields is not None:
            n_rows += 1
            if not problems:
                rows.append(fields)
        if len(rows) == _BATCH_LINES:
            flush()
    if problems:
        return Parsed(n_rows, n_lines, problems=problems)
    flush()
    return _joined(n_rows, n_lines, words, numbers)


def _read_line(
    piece: bytes, names: tuple[str, ...], place: dict[str, int], text: list[str], reals: list[str]
) -> tuple[list[tuple[str, str | None]], list[str] | None]:
    """Return (what is wrong with a line and what would mend it, its fields or None if it holds no data)."""
    try:
        line = decode(piece.removesuffix(b"\r"))
        if not line.strip() or is_comment(line):
            return [], None
        fields = split(line)
    except LineError as error:
        return [(str(error), None)], None
    if len(fields) != len(names):
        what = f"{len(fields)} fields where the header names {len(names)} columns"
        return [(what, "quote fields that hold commas, and leave missing ones empty")], None
    found: list[tuple[str, str | None]] = []
    for c in reals:
        value = fields[place[c]]
        try:
            number(value)
        except ValueError:
            found.append((f"{value!r} in column {c!r} is not a number", "missing values are empty or NA"))
    for c in text:
        if len(fields[place[c]].encode()) > MAX_LABEL_BYTES:
            found.append((f"a value of column {c!r} is longer than {MAX_LABEL_BYTES} bytes", None))
    return found, fields


def _parse_parquet(block: Block, text: list[str], reals: list[str]) -> Parsed:
    import pyarrow as pa

    from henderson.ingest.parquet import as_integer, as_real, as_text, batches

    words: dict[str, list[Words]] = {c: [] for c in text}
    numbers: dict[str, list[Reals]] = {c: [] for c in reals}
    n_rows = 0
    problems: list[Problem] = []
    for batch in batches(block.source, block.start, list(dict.fromkeys([*text, *reals]))):
        for c in text:
            try:
                integer = as_integer(batch.column(c))
                found = words_of(as_text(batch.column(c))) if integer is None else words_of_integers(*integer)
                words[c].append(found)
            except (_IrregularError, pa.ArrowException) as error:
                problems.append(Problem(f"column {c!r} cannot be read as text ({error})", file=block.source.shown))
        for c in reals:
            try:
                values = numbers_of(as_real(batch.column(c)))
            except pa.ArrowException as error:
                problems.append(Problem(f"column {c!r} is not a number ({error})", file=block.source.shown))
                continue
            for i in np.flatnonzero(np.isinf(values))[:MAX_PRINTED]:
                what = f"{values[i]} in column {c!r} is not a finite number"
                problems.append(Problem(what, file=block.source.shown, line=n_rows + int(i)))
            numbers[c].append(values)
        n_rows += batch.num_rows
    if problems:
        return Parsed(n_rows, n_rows, problems=problems)
    return _joined(n_rows, n_rows, words, numbers)
