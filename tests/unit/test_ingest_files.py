"""Headers, kinds of columns, blocks, and the three readers of a block."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from henderson.errors import InputFileError
from henderson.ingest import parse
from henderson.ingest.column_levels import read_levels
from henderson.ingest.files import Block, cut
from henderson.ingest.header import read_schema, source_of
from henderson.ingest.lines import LineError, kind_of, number, split
from henderson.ingest.parse import parse_block, text_of
from henderson.ingest.plan import unzipped
from henderson.language.spec import DataSpec


def write(folder: Path, content: str | bytes, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def schema(path: Path) -> dict[str, str]:
    return dict(read_schema(DataSpec((path.name,)), path.parent))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,y\nA,1.5\nB,2\n", {"id": "text", "y": "real"}),
        ("id,y\n007,1\n8,-2\n", {"id": "integer", "y": "integer"}),
        ("\ufeffid,y\r\n1,NA\r\n\r\n2,\r\n", {"id": "integer", "y": "real"}),
        ("# made by hand\n#id,y\n1,2.5\n", {"id": "integer", "y": "real"}),
        ("# a comment\nid,y\n1,2.5\n", {"id": "integer", "y": "real"}),
        ('"a, b", "say ""x""" ,c\nu,1,2e3\n', {"a, b": "text", 'say "x"': "integer", "c": "real"}),
        ("id,y\n9223372036854775808,+1\n", {"id": "real", "y": "real"}),
        ("id\nx\n", {"id": "text"}),
    ],
)
def test_names_and_kinds(tmp_path: Path, content: str, expected: dict[str, str]) -> None:
    assert schema(write(tmp_path, content)) == expected


def test_kinds_of_a_compressed_file(tmp_path: Path) -> None:
    assert schema(write(tmp_path, gzip.compress(b"id,y\nA,1\n"), "r.csv.gz")) == {"id": "text", "y": "integer"}


def test_damaged_compressed_file(tmp_path: Path) -> None:
    whole = gzip.compress(b"id,y\n" + b"".join(b"A%d,%d\n" % (i, i * i % 7919) for i in range(200_000)))
    for content in (whole[:-4], whole[:40], whole[:-8] + b"\0\0\0\0" + whole[-4:], whole[:12] + b"\xff" * 40):
        path = write(tmp_path, content, "r.csv.gz")
        with pytest.raises(InputFileError, match=r"r\.csv\.gz: cannot be decompressed"):
            unzipped(source_of(path, path.name), tmp_path / "plain", 0)
    short = gzip.compress(b"id,y\nA,1\n")[:-3]
    with pytest.raises(InputFileError, match=r"r\.csv\.gz: cannot be decompressed"):
        schema(write(tmp_path, short, "r.csv.gz"))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("id;y\nA;1,5\n", "line 1: semicolons"),
        ("id\ty\nA\t1\n", "line 1: tabs"),
        ("id  y\nA  1\n", "line 1: blanks"),
        ("#id y\nA 1\n", "line 1: blanks"),
        ("1 0 0\n2 1 0\n", "line 1: blanks"),
    ],
)
def test_other_separators(tmp_path: Path, content: str, word: str) -> None:
    with pytest.raises(InputFileError, match=rf"{word} separate the columns"):
        source_of(write(tmp_path, content), "r.csv", headless=True)


def test_a_single_column_may_have_blanks_in_its_name(tmp_path: Path) -> None:
    assert schema(write(tmp_path, "milk yield\n1\n")) == {"milk yield": "integer"}


def test_lmt_header_before_a_ragged_first_line_is_still_the_header(tmp_path: Path) -> None:
    assert list(schema(write(tmp_path, "#id,sex,milk\n1,2\n3,4,5\n"))) == ["id", "sex", "milk"]


def test_pedigree_without_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "# lmt\n1,0,0\n2,1,0\n")
    source = source_of(path, "p", headless=True)
    assert (source.names, source.lines) == (("1", "2", "3"), 1)
    assert path.read_bytes()[source.start :] == b"1,0,0\n2,1,0\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["r.csv", "empty"]),
        ("id,y\n", ["r.csv", "no data"]),
        ("id,y\n# end\n\n", ["no data"]),
        ("id,id\n1,2\n", ["'id'"]),
        ("id,,y\n1,2,3\n", ["column 2", "no name"]),
        (b"id,M\xfcller\n1,2\n", ["UTF-8"]),
    ],
)
def test_unusable_headers(tmp_path: Path, content: str | bytes, words: list[str]) -> None:
    with pytest.raises(InputFileError) as caught:
        schema(write(tmp_path, content))
    assert all(w in str(caught.value) for w in words)


def test_files_of_a_glob(tmp_path: Path) -> None:
    write(tmp_path, "id,y\nA,1\n", "b.csv")
    write(tmp_path, "y,id\n1,A\n", "a.csv")
    assert list(read_schema(DataSpec(("?.csv",)), tmp_path)) == ["y", "id"]
    write(tmp_path, "id,z\nA,1\n", "c.csv")
    with pytest.raises(InputFileError, match=r"c\.csv.*y, z"):
        read_schema(DataSpec(("?.csv",)), tmp_path)
    with pytest.raises(InputFileError, match="no file matches"):
        read_schema(DataSpec(("x*.csv",)), tmp_path)


def test_fields_of_a_line() -> None:
    assert split(' a , "b, ""c""" ,, d"e"f ') == ["a", 'b, "c"', "", 'd"e"f']
    with pytest.raises(LineError, match="odd number of quotes"):
        split('a,"b')


def test_kinds() -> None:
    assert kind_of({"NA", ""}) == "real"
    assert kind_of({"1", "-02"}) == "integer"
    assert kind_of({"1", "1.0"}) == "real"
    assert kind_of({"1", "1_0"}) == "text"
    for bad in ("inf", "1e400", "1_0", "0x1", "١"):
        with pytest.raises(ValueError):
            number(bad)


CONTENT = (
    b"id,y,x\n"
    b'A1,1.5,2\n# a,b,c\n"B, ""2""",NA,3\n\n  \nlong name of an animal,nan,-1e3\n 007 , 4.25 ,\n'
    b"NA,+1,0\n\xc3\x9cmit,.5,1\r\n0,1,1"
)
IDS = ["A1", 'B, "2"', "long name of an animal", "007", "", "Ümit", "0"]


@pytest.mark.parametrize("block_bytes", [1, 7, 20, 1000])
def test_every_line_is_in_one_block_and_read_once(tmp_path: Path, block_bytes: int) -> None:
    source = source_of(write(tmp_path, CONTENT), "r.csv")
    blocks = cut(source, block_bytes)
    assert [b.start for b in blocks[1:]] == [b.stop for b in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop) == (source.start, source.size)
    parsed = [parse_block(b, ["id"], ["y", "x"]) for b in blocks]
    assert not any(p.problems for p in parsed)
    assert [t for p in parsed for t in text_of(p.text["id"])] == IDS
    y = np.concatenate([p.reals["y"] for p in parsed])
    np.testing.assert_array_equal(y, [1.5, np.nan, np.nan, 4.25, 1, 0.5, 1])
    assert sum(p.n_lines for p in parsed) + source.lines == CONTENT.count(b"\n") + 1


FAST = b"id,y\n" + b"".join(b"A%d,%d.25\n" % (k % 7, k) for k in range(50))


@pytest.mark.parametrize("content", [FAST, FAST.replace(b",4", b", 4"), FAST.replace(b"A3", b'"A3"'), CONTENT])
def test_fast_and_exact_reader_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    source = source_of(write(tmp_path, content), "r.csv")
    block = Block(source, source.start, source.size)
    first = parse_block(block, ["id", "y"], ["y"])

    def give_up(*_: object) -> None:
        raise parse._IrregularError

    monkeypatch.setattr(parse, "_parse_fast", give_up)
    second = parse_block(block, ["id", "y"], ["y"])
    for column in ("id", "y"):
        assert text_of(first.text[column]) == text_of(second.text[column])
    np.testing.assert_array_equal(first.reals["y"], second.reals["y"])
    assert (first.n_rows, first.n_lines) == (second.n_rows, second.n_lines)


def test_regular_lines_do_not_need_the_exact_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    padded = FAST.replace(b",4.25", b", NA ").replace(b"A3", b" A3 ")
    source = source_of(write(tmp_path, b"#id,y\n" + padded.split(b"\n", 1)[1] + b"# end\n"), "r.csv")
    monkeypatch.setattr(parse, "_parse_exact", None)
    assert parse_block(Block(source, source.start, source.size), ["id"], ["y"]).n_rows == 50


def test_all_mistakes_of_a_block_are_named(tmp_path: Path) -> None:
    source = source_of(
        write(tmp_path, b'id,y\nA,1\nB,x\nC\n# c\nD,"1\nE,inf\n\xff,1\n' + b"F" * 300 + b",1\n"), "r.csv"
    )
    found = parse_block(Block(source, source.start, source.size), ["id"], ["y"]).problems
    assert [(p.line, p.message.split(";")[0]) for p in found] == [
        (1, "'x' in column 'y' is not a number"),
        (2, "1 fields where the header names 2 columns"),
        (4, "an odd number of quotes"),
        (5, "'inf' in column 'y' is not a number"),
        (6, "not UTF-8 text"),
        (7, "a value of column 'id' is longer than 255 bytes"),
    ]


def test_levels_of_a_column(tmp_path: Path) -> None:
    path = write(tmp_path, "s,t\n10,10\n9,b\nNA,é\n010,a\n,Z\n")
    assert read_levels(DataSpec((path.name,)), tmp_path, "s") == ["9", "10"]
    assert read_levels(DataSpec((path.name,)), tmp_path, "t") == ["10", "Z", "a", "b", "é"]
