"""The names and kinds of the columns of the input files, from their first lines."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Literal, cast

from henderson.errors import InputFileError, Problem
from henderson.ingest.files import Source, damaged_gzip, expand, is_gzip, is_parquet
from henderson.ingest.lines import LineError, decode, is_comment, is_integer, kind_of, split
from henderson.language.spec import DataSpec

Kind = Literal["integer", "real", "text"]

SAMPLE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


def read_schema(data: DataSpec, base: Path) -> dict[str, Kind]:
    """Return the names of the columns of the records, in order, and their kinds.

    The kinds of a CSV file are those of the first mebibyte of the first file; a column without any value there is
    real. A later line may still prove an integer column to be text: only ingest reads everything.

    Raises `InputFileError`: a file that is absent, empty, or holds a header alone; a glob without a match; a name
    that two columns share; files with different columns.
    """
    return kinds_of(record_sources(data, base)[0])


def kinds_of(first: Source) -> dict[str, Kind]:
    """Return the names and kinds of the columns of a file, from its first mebibyte if it is CSV."""
    if first.format == "parquet":
        from henderson.ingest.parquet import column_kinds

        return cast("dict[str, Kind]", column_kinds(first))
    values: list[set[str]] = [set() for _ in first.names]
    try:
        with open_plain(Path(first.path)) as handle:
            handle.read(first.start)
            sample = handle.read(SAMPLE_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged_gzip(first.shown, error) from error
    complete = sample if len(sample) < SAMPLE_BYTES else sample[: sample.rfind(b"\n") + 1]
    for raw in complete.split(b"\n"):
        try:
            text = decode(raw)
            if not text.strip() or is_comment(text):
                continue
            for column, value in zip(values, split(text), strict=False):
                column.add(value)
        except LineError:
            continue  # ingest names the line
    return {name: cast(Kind, kind_of(column)) for name, column in zip(first.names, values, strict=True)}


def record_sources(data: DataSpec, base: Path) -> list[Source]:
    """Return the files of the records, all with the same columns."""
    sources = [source_of(path, shown(path, base)) for path in expand(data.records, base, "[data] records")]
    problems = []
    for other in sources[1:]:
        if set(other.names) != set(sources[0].names):
            differing = sorted(set(other.names) ^ set(sources[0].names))
            problems.append(
                Problem(
                    f"its columns differ from those of {sources[0].shown}: {', '.join(differing)} in one of them only",
                    file=other.shown,
                    remedy="give all files of [data] records the same columns",
                )
            )
    if problems:
        raise InputFileError(problems)
    return sources


def shown(path: Path, base: Path) -> str:
    """Return how messages call a file: relative to the folder of the parameter file, where it lies in it."""
    try:
        return str(path.relative_to(base))
    except ValueError:
        return str(path)


def source_of(path: Path, name: str, *, headless: bool = False) -> Source:
    """Return the file with its columns and where its data begin.

    With `headless`, a first line of integers only is data, not names (lmt's pedigrees); the names are then 1, 2, ...

    Raises `InputFileError`: unreadable, empty, a header alone, names missing or not unique.
    """
    try:
        stat = path.stat()
        if stat.st_size == 0:
            raise InputFileError(Problem("the file is empty", file=name, remedy="its first line names the columns"))
        if is_parquet(path):
            from henderson.ingest.parquet import column_names

            names, start, lines, kind = column_names(path, name), 0, 0, "parquet"
        else:
            names, start, lines = _csv_header(path, name, headless)
            kind = "csv"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged_gzip(name, error) from error
    except OSError as error:
        raise InputFileError(Problem(f"cannot be read ({error.strerror})", file=name)) from error
    _check_names(names, name, lines if kind == "csv" else None)
    return Source(str(path), name, kind, tuple(names), stat.st_size, stat.st_mtime_ns, start, lines)


def open_plain(path: Path) -> gzip.GzipFile:
    """Return the file open for reading bytes, unpacked if it is compressed."""
    return cast(gzip.GzipFile, gzip.open(path, "rb") if is_gzip(path) else path.open("rb"))


def _csv_header(path: Path, name: str, headless: bool) -> tuple[list[str], int, int]:
    """Return (names, first byte of the data, lines before it).

    Either the last of the leading ``#`` lines holds the names (if it has as many fields as the first line that is not a
    comment), or that first line does.
    """
    at, lines = 0, 0
    comment: tuple[str, int, int] | None = None
    with open_plain(path) as handle:
        for raw in handle:
            start = at
            at += len(raw)
            lines += 1
            try:
                text = decode(raw.removeprefix(_BOM) if start == 0 else raw)
            except LineError as error:
                raise InputFileError(Problem(str(error), file=name, line=lines)) from error
            if not text.strip():
                continue
            if is_comment(text):
                comment = (text.strip().lstrip("#"), at, lines)
                continue
            fields = _fields(text, name, lines)
            if comment is not None:
                try:
                    named = split(comment[0])
                except LineError:
                    named = []
                ragged = len(named) > 1 and kind_of(set(fields)) != "text" and kind_of(set(named)) == "text"
                if len(named) == len(fields) or ragged:
                    _check_separator(named, text, name, comment[2])
                    return named, comment[1], comment[2]
            if headless and all(is_integer(f) for f in fields[:3]):
                return [str(i + 1) for i in range(len(fields))], start, lines - 1
            data = _first_data(handle)
            if data is None:
                raise InputFileError(Problem("holds a header and no data", file=name, line=lines))
            _check_separator(fields, data, name, lines)
            return fields, at, lines
    what = "holds a header and no data" if comment is not None else "holds no data"
    raise InputFileError(Problem(what, file=name, remedy="the first line names the columns, the others hold data"))


def _first_data(handle: gzip.GzipFile) -> str | None:
    """Return the next line that is neither blank nor a comment, None if there is none."""
    for raw in handle:
        stripped = raw.strip()
        if stripped and not stripped.startswith(b"#"):
            return stripped.decode("utf-8", errors="replace")
    return None


def _check_separator(names: list[str], data: str, file: str, line: int) -> None:
    """Refuse a file that something other than commas separates: one name by commas, several by that, as in `data`."""
    if len(names) > 1:
        return
    for mark, word in ((";", "semicolons"), ("\t", "tabs"), (None, "blanks")):
        if len(names[0].split(mark)) > 1 and len(data.split(mark)) > 1:
            raise InputFileError(
                Problem(
                    f"{word} separate the columns",
                    file=file,
                    line=line,
                    remedy="write the file with commas between the columns, and points in decimal numbers",
                )
            )


def _fields(text: str, name: str, line: int) -> list[str]:
    try:
        return split(text.rstrip("\r\n"))
    except LineError as error:
        raise InputFileError(Problem(str(error), file=name, line=line)) from error


def _check_names(names: list[str], file: str, line: int | None) -> None:
    problems = []
    for position, column in enumerate(names, 1):
        if not column:
            problems.append(Problem("a column has no name", file=file, line=line, column=position))
    for column in dict.fromkeys(names):
        places = [str(i) for i, other in enumerate(names, 1) if other == column]
        if column and len(places) > 1:
            problems.append(
                Problem(
                    f"columns {', '.join(places)} are all named {column!r}",
                    file=file,
                    line=line,
                    remedy="names must be unique; does the file begin with a line that names the columns?",
                )
            )
    if problems:
        raise InputFileError(problems)
