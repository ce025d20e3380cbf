"""Files of blank-separated columns without names, as BLUPF90 reads them, written as CSV files with a line of names.

They are read in blocks, so memory does not grow with the number of lines (but for the pedigree, where the dams of
animals with records are looked up in it).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from henderson.errors import InputFileError, Problem

BLOCK = 16 << 20  # memory is about ten times as much
_BLANKS = re.compile(rb"[ \t\r]+")
_EDGES = re.compile(rb"(?m)^\t|\t$")
_EMPTY_LINES = re.compile(rb"\n{2,}")


def read_blocks(file: Path, skip: int = 0, block: int = BLOCK) -> Iterator[pa.Table]:
    """Yield the lines of a blank-separated file as tables of texts, columns called 1, 2, ...

    Parameters
    ----------
    file
        Its lines have as many columns as the first one; empty lines count for nothing.
    skip
        Lines at the top that are left out.
    block
        Bytes read at once.

    Raises
    ------
    InputFileError
        The file cannot be read, is empty, or a line has another number of columns.

    """
    try:
        with file.open("rb") as lines:
            for _ in range(skip):
                lines.readline()
            names: list[str] = []
            rest, at = b"", skip
            while part := lines.read(block):
                part = rest + part
                cut = part.rfind(b"\n") + 1
                rest = part[cut:]
                if cut:
                    names = names or _names(part[:cut])
                    yield from _table(part[:cut], names, file, at)
                    at += part.count(b"\n", 0, cut)
            if rest.strip():
                names = names or _names(rest)
                yield from _table(rest + b"\n", names, file, at)
    except OSError as e:
        raise InputFileError(Problem(e.strerror or str(e), str(file))) from None
    if not names:
        raise InputFileError(Problem("the file is empty", str(file)))


def _names(part: bytes) -> list[str]:
    first = next((line for line in part.split(b"\n") if line.strip()), b"")
    return [str(n) for n in range(1, len(first.split()) + 1)]


def _table(part: bytes, names: Sequence[str], file: Path, at: int) -> Iterator[pa.Table]:
    if not names:
        return
    tabbed = _EDGES.sub(b"", _BLANKS.sub(b"\t", part))
    plain = _EMPTY_LINES.sub(b"\n", tabbed).strip(b"\n")
    if not plain:
        return
    types = dict.fromkeys(names, pa.string())
    try:
        yield csv.read_csv(
            BytesIO(plain + b"\n"),
            read_options=csv.ReadOptions(column_names=names, block_size=len(plain) + 2),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        for number, line in enumerate(part.split(b"\n"), start=at + 1):
            if (n := len(line.split())) not in (0, len(names)):
                message = f"found {n} columns where the lines before have {len(names)}"
                raise InputFileError(Problem(message, str(file), number)) from None
            with suppress(UnicodeDecodeError):
                line.decode()
                continue
            raise InputFileError(Problem("the line is not UTF-8", str(file), number)) from None
        raise


def write_table(table: pa.Table, out: Callable[[bytes], object]) -> None:
    """Write the rows of a table of texts as CSV, quoting only if a text needs it; null is empty."""
    for options in (csv.WriteOptions(include_header=False, quoting_style=style) for style in ("none", "needed")):
        buffer = BytesIO()
        with suppress(pa.ArrowInvalid):
            csv.write_csv(table, buffer, options)
            out(buffer.getvalue())
            return


def convert_records(
    file: Path,
    out: Path,
    names: Mapping[int, str],
    responses: Sequence[str],
    missing: float,
    dams: Sequence[tuple[str, int, Path, tuple[int, int, int]]] = (),
    skip: int = 0,
) -> None:
    """Write a data file as CSV.

    Parameters
    ----------
    file, out
        The data file, and the CSV file to write.
    names
        Names of columns by number, from 1; the others are called f1, f2, ...
    responses, missing
        Columns in which this value, exactly, is left empty.
    dams
        New columns: name, number of the column of animals, the pedigree file, and its columns of animal, sire, dam.
    skip
        Lines at the top of the data file that are left out.

    Raises
    ------
    InputFileError
        A file cannot be read, or the data file has no column of such a number.

    """
    known = {name: (animal, *_dams(pedigree, columns)) for name, animal, pedigree, columns in dams}
    started = False
    with out.open("wb") as target:
        for table in read_blocks(file, skip):
            if beyond := [n for n in sorted(names) if n > table.num_columns]:
                message = f"the model names column {beyond[0]}, but the lines have {table.num_columns} columns"
                raise InputFileError(Problem(message, str(file), skip + 1))
            table = table.rename_columns([names.get(n, f"f{n}") for n in range(1, table.num_columns + 1)])
            animals = {name: table.column(animal - 1) for name, (animal, _, _) in known.items()}
            for name in responses:
                place = table.column_names.index(name)
                table = table.set_column(place, name, _without(table.column(name), missing))
            for name, (_, ids, parents) in known.items():
                table = table.append_column(name, pc.take(parents, pc.index_in(animals[name], value_set=ids)))
            if not started:
                target.write((",".join(table.column_names) + "\n").encode())
                started = True
            write_table(table, target.write)


def _without(column: pa.ChunkedArray, missing: float) -> pa.ChunkedArray:
    try:
        numbers = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:  # a text among the numbers: reading the CSV file will name its line
        return column
    return pc.if_else(pc.equal(numbers, missing), pa.scalar(None, pa.string()), column)


def _dams(file: Path, columns: tuple[int, int, int]) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Return the animals of a pedigree and their dams, null if unknown."""
    table = pa.concat_tables(_columns(t, columns, file) for t in read_blocks(file))
    dams = table.column("dam")
    return table.column("animal").combine_chunks(), pc.if_else(_is_unknown(dams), None, dams).combine_chunks()


def _columns(table: pa.Table, columns: tuple[int, int, int], file: Path) -> pa.Table:
    if max(columns) > table.num_columns:
        message = f"FILE_POS names column {max(columns)}, but the lines have {table.num_columns} columns"
        raise InputFileError(Problem(message, str(file), 1))
    return pa.table({name: table.column(n - 1) for name, n in zip(("animal", "sire", "dam"), columns, strict=True)})


def _is_unknown(parents: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.match_substring_regex(parents, r"^(0+|-\d+)$")


def convert_pedigree(file: Path, out: Path, columns: tuple[int, int, int], groups: bool) -> int:
    """Write a pedigree file as CSV of animal, sire and dam, and return the number of groups.

    Parents that are negative numbers are unknown; with `groups` they are groups, and become the first animals.

    Raises
    ------
    InputFileError
        The file cannot be read, or has no column of such a number.

    """
    found: set[str] = set()
    if groups:
        for table in read_blocks(file):
            parents = _columns(table, columns, file)
            for name in ("sire", "dam"):
                column = parents.column(name)
                found.update(pc.unique(column.filter(pc.match_substring_regex(column, r"^-\d+$"))).to_pylist())
    with out.open("wb") as target:
        target.write(b"animal,sire,dam\n")
        target.writelines(f"{group},0,0\n".encode() for group in sorted(found, key=lambda g: -int(g)))
        for table in read_blocks(file):
            part = _columns(table, columns, file)
            for place, name in ((1, "sire"), (2, "dam")) if not groups else ():
                column = part.column(name)
                part = part.set_column(place, name, pc.if_else(_is_unknown(column), "0", column))
            write_table(part, target.write)
    return len(found)
