"""Files of flags: their forms, mistakes with their lines; in blocks of any size they stay with their records."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from henderson.errors import InputFileError
from henderson.ingest import missing_file
from henderson.ingest.missing_file import flags_of, missing_source, read_missing
from henderson.ingest.parts import map_part
from henderson.ingest.run import ingest
from henderson.jobs.run import understand
from henderson.store.reader import open_store


def flags(folder: Path, content: str | bytes, n: int, traits: tuple[str, ...] = ("a", "b")) -> list[list[int]]:
    (folder / "f.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    read_missing(missing_source("f.csv", folder), traits, n, folder / "part")
    return flags_of(map_part(folder / "part")["missing"], len(traits)).astype(int).tolist()


@pytest.mark.parametrize("chunk", [3, 8 << 20])
@pytest.mark.parametrize(
    "content",
    [
        "T,F\nF,F\nF,T\n",
        "TF\nFF\nFT",
        "1 0\r\n0 0\r\n\r\n0 1\r\n",
        "# flags\n#b,a\n\nF,T\nf,f\n# between\nt,f\n",
        "TRUE,false\nFALSE,FALSE\nFalse,True\n",
    ],
)
def test_forms(content: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_file, "CHUNK", chunk)
    assert flags(tmp_path, content, 3) == [[1, 0], [0, 0], [0, 1]]


def test_a_compressed_file(tmp_path: Path) -> None:
    assert flags(tmp_path, gzip.compress(b"T,F\nF,F\nF,T\n"), 3) == [[1, 0], [0, 0], [0, 1]]


def test_more_than_eight_traits(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).random((20, 11)) < 0.4
    text = "\n".join(",".join("FT"[int(f)] for f in row) for row in rows)
    assert flags(tmp_path, text, 20, tuple("abcdefghijk")) == rows.astype(int).tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("T,F\nF\nF,T\n", r"line 2: 'F' is not a line of 2 flags"),
        ("# a\nT,F\nF,F\nF,x\n", r"line 4: 'F,x' is not"),
        ("T,F\nF,F\n", "has flags of 2 records, the records are 3"),
        ("", "has flags of 0 records"),
    ],
)
@pytest.mark.parametrize("chunk", [4, 8 << 20])
def test_mistakes(content: str, words: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_file, "CHUNK", chunk)
    with pytest.raises(InputFileError, match=words):
        flags(tmp_path, content, 3)


def test_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"f\.csv: cannot be read .* correct \[data\] missing_file"):
        missing_source("f.csv", tmp_path)


@pytest.mark.parametrize("block_bytes", [60, 8 << 20])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_flags_stay_with_their_records(block_bytes: int, form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    n = 300
    y, missing = rng.integers(1, 1000, (n, 2)).astype(float), rng.random((n, 2)) < 0.3
    missing[:40] |= rng.random((40, 1)) < 0.5  # records without any observation
    half = n // 3
    for name, rows in (("r1", slice(0, half)), ("r2", slice(half, n))):
        if form == "csv":
            lines = [f"{k % 7},{a},{b}" + "\n" * (k % 5 == 0) for k, (a, b) in enumerate(y[rows])]
            (tmp_path / f"{name}.csv").write_text("herd,a,b\n# a comment\n" + "\n".join(lines) + "\n")
        else:
            columns = {"herd": [k % 7 for k in range(len(y[rows]))], "a": y[rows, 0], "b": y[rows, 1]}
            pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet", row_group_size=17)
    (tmp_path / "f.csv").write_text("\n".join("".join("FT"[int(f)] for f in row) for row in missing))
    (tmp_path / "m.toml").write_text(
        f'[data]\nrecords = "r*.{form}"\nmissing_file = "f.csv"\n[model]\n'
        'equations = """\na = herd*h\nb = herd*g\n"""\n'
        "[variance.res]\nsigma = [[1.0, 0.1], [0.1, 1.0]]\n"
    )
    ingest(understand(tmp_path / "m.toml"), tmp_path / "s.zarr", block_bytes=block_bytes, workers=2)
    records = open_store(tmp_path / "s.zarr").records
    expected = np.where(missing, np.nan, y)
    kept = np.flatnonzero(~missing.all(axis=1))
    assert sorted(records.row.tolist()) == kept.tolist()
    for k, trait in enumerate(("a", "b")):
        np.testing.assert_array_equal(records.responses[trait], expected[records.row, k])
