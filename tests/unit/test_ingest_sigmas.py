"""Files with a Sigma for each level or record: what is wrong is named, and damaged files give one error."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from henderson.equations.design import build_design
from henderson.errors import HendersonError, InputFileError, ModelError
from henderson.ingest.header import read_schema
from henderson.ingest.plan import make_plan
from henderson.ingest.run import BLOCK_BYTES, ingest
from henderson.ingest.sigma_blocks import read_blocks
from henderson.language.load import load_model
from henderson.language.spec import BlocksSpec
from henderson.store.reader import open_store

RECORDS = "herd,kind,y1,y2\na,1,1.0,2.0\nb,2,2.5,\nb,2,3.5,1.5\n0,1,,4.0\n"
GOOD = {
    "s.coocsv": "level,i,j,value\na,1,1,2\na,2,1,0.5\na,2,2,1\nb,1,1,3\nb,2,2,3\n0,1,1,1\n0,2,2,4\n",
    "s.blkcsv": (
        "#sigma_1,2,2\n2,0.5\n0.5,1\n#sigma_2,1,1\n3\n#rp_1,2,1\na\nb\n\n#cp_2,1,1\n2\n#rp_2,1,1\n0\n#cp_1,2,1\n1\n2\n"
    ),
}


def write(folder: Path, name: str, content: str | bytes, variance: str = "h", more: str = "") -> Path:
    (folder / "r.csv").write_text(RECORDS)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    other = {"h": "res", "res": "h"}[variance]
    path = folder / "m.toml"
    path.write_text(
        '[data]\nrecords = "r.csv"\n[model]\nequations = """\ny1 = 1*m1 + herd*h1(v(h(1)))\n'
        'y2 = 1*m2 + herd*h2(v(h(2)))\n"""\n'
        f'[variance.{variance}]\nsigmas = "{name}"\n{more}[variance.{other}]\nsigma = [[1.0, 0], [0, 1.0]]\n'
    )
    return path


def read(folder: Path, name: str, content: str | bytes, variance: str = "h", more: str = "") -> object:
    """The design of a model with the file, as far as it gets."""
    spec = load_model(write(folder, name, content, variance, more), read_schema)
    ingest(spec, folder / "store.zarr", workers=1)
    return build_design(spec, open_store(folder / "store.zarr"))


def named(text: str) -> str:
    return "level,i,j,value\n" + text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.coocsv", "level,i,value\na,1,2\n", "3 columns where level, i, j, value"),
        ("s.coocsv", named("a,3,1,2\n"), "line 2.*positions from 1 to 2, not 3 and 1"),
        ("s.coocsv", named("a,1.5,1,2\n"), "line 2.*positions from 1 to 2, not 1.5 and 1"),
        ("s.coocsv", named("a,1,1,x\n"), "s.coocsv, line 2.*'x'"),
        ("s.coocsv", named("a,1,1,\n"), "line 2.*without level or value"),
        ("s.coocsv", named("a,1,1,2\na,2,2,1\na,1,1,3\n"), "line 4.*given twice"),
        ("s.coocsv", named("a,1,1,2\na,2,1,1\n"), "'a' has a covariance of a position without a variance"),
        ("s.coocsv", named("a,1,1,2\na,2,1,9\na,2,2,1\n"), "matrix of 'a' is not positive definite"),
        ("s.coocsv", named("a,1,1,2\na,2,1,0.5\na,1,2,0.1\na,2,2,1\n"), "matrix of 'a' is not symmetric"),
        ("s.blkcsv", "#sgma_1,1,1\n2\n", "line 1.*a head such as"),
        ("s.blkcsv", "1,2\n#sigma_1,1,1\n2\n", "line 1.*begins without a head"),
        ("s.blkcsv", "#sigma_1,2,2\n1,0\n#rp_1,1,1\na\n", "line 1.*1 lines where the head says 2"),
        ("s.blkcsv", "#sigma_1,2,2\n1,0\n0,1,2\n#rp_1,1,1\na\n", "line 3.*3 numbers, other than the head"),
        ("s.blkcsv", "#sigma_1,2,2\n1,0\n0,x\n#rp_1,1,1\na\n", "not a number.*x"),
        ("s.blkcsv", "#sigma_1,3,3\n1,0,0\n0,1,0\n0,0,1\n#rp_1,1,1\na\n", "sigma is square with 1 to 2 rows"),
        ("s.blkcsv", "#sigma_1,2,2\n1,0\n0,1\n", "every sigma_<number> needs an rp_<number>"),
        ("s.blkcsv", "#sigma_1,1,1\n1\n#rp_1,1,1\na\n", "needs a cp of as many lines"),
        ("s.blkcsv", "#sigma_1,1,1\n1\n#cp_1,1,1\n3\n#rp_1,1,1\na\n", "whole numbers from 1 to 2"),
        ("s.blkcsv", "#sigma_1,2,2\n1,0\n0,1\n#cp_1,2,1\n1\n1\n#rp_1,1,1\na\n", "names a position .cp. twice"),
        ("s.blkcsv", GOOD["s.blkcsv"].replace("sigma_2", "sigma_1"), "two blocks of the name sigma"),
        ("s.blkcsv", GOOD["s.blkcsv"].replace("a\nb", "a\n0"), "'0' is named more than once"),
        ("s.blkcsv", b"#sigma_1,1,1\n\xff\n", "not UTF-8"),
        ("s.bin", b"12345", "the file has 5"),
        ("s.bin", struct.pack("<2q", 1, 3), "1 matrices of 3 positions"),
        ("s.bin", struct.pack("<4q8d", 2, 2, 7, 7, 1, 0, 0, 1, 2, 0, 0, 2), "'7' is named more than once"),
        ("s.bin", struct.pack("<3q4d", 1, 2, 7, 1, float("nan"), 0, 1), "matrix of '7' is not symmetric"),
    ],
)
def test_mistakes_in_the_file_are_named(name: str, content: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=words):
        read(tmp_path, name, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "s.bin", b"")
    (tmp_path / "s.bin").unlink()
    with pytest.raises(InputFileError, match=r"s\.bin.*cannot be read"):
        make_plan(load_model(path, read_schema), BLOCK_BYTES)


@pytest.mark.parametrize("number", ["x", "0", "-1"])
def test_records_are_named_by_numbers(number: str, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=f"the number of a record was expected, such as {number!r} is not"):
        read(tmp_path, "s.coocsv", f"record,i,j,value\n{number},1,1,2\n{number},2,2,2\n", "res")


def test_records_without_a_sigma_are_named(tmp_path: Path) -> None:
    text = "record,i,j,value\n1,1,1,2\n1,2,2,2\n2,1,1,2\n3,1,1,2\n"
    with pytest.raises(InputFileError) as error:
        read(tmp_path, "s.coocsv", text, "res")
    assert [p.message for p in error.value.problems] == [
        f"record {k} has no Sigma for a trait that it observes" for k in (3, 4)
    ]


def test_levels_without_a_sigma_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'h': levels without a Sigma.*s\.coocsv.*: 0, b; give 'sigma'"):
        read(tmp_path, "s.coocsv", named("a,1,1,2\na,2,2,1\n"))


@pytest.mark.parametrize("name", GOOD)
def test_good_files_are_read(name: str, tmp_path: Path) -> None:
    sigma = "sigma = [[1.0, 0], [0, 1.0]]\n"
    design = read(tmp_path, name, GOOD[name], more=sigma)
    own = design.groups[-1].covariance.own  # type: ignore[attr-defined]
    labels = design.groups[-1].labels.text()  # type: ignore[attr-defined]
    place, sigmas = own.distinct(np.arange(3))
    np.testing.assert_array_equal(sigmas[place[labels.index("a")]], [[2.0, 0.5], [0.5, 1.0]])


def test_a_level_of_two_classes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "s.bin", b"")
    text = path.read_text().replace('sigmas = "s.bin"', 'by = "kind"\nsigma = [[1.0, 0], [0, 1.0]]')
    path.write_text(text)
    (tmp_path / "r.csv").write_text(RECORDS.replace("b,2,3.5", "b,1,3.5"))
    with pytest.raises(InputFileError, match="level 'b' of 'herd' has records of the classes '1' and '2' of 'kind'"):
        ingest(load_model(path, read_schema), tmp_path / "store.zarr", workers=1)


def test_equal_sigmas_are_one_row_and_the_store_is_found_again(tmp_path: Path) -> None:
    text = "record,i,j,value\n" + "".join(f"{r},1,1,2\n{r},2,1,{0.5 * (r == 3)}\n{r},2,2,2\n" for r in (1, 2, 3, 4))
    spec = load_model(write(tmp_path, "s.coocsv", text, "res"), read_schema)
    ingest(spec, tmp_path / "store.zarr", workers=1)
    stored = open_store(tmp_path / "store.zarr").sigmas["res"]
    assert stored.table is not None
    assert stored.of_record is not None
    assert len(stored.table) == 2
    assert stored.of_record.tolist() == [0, 0, 1, 0]
    before = (tmp_path / "store.zarr" / "zarr.json").stat().st_mtime_ns
    ingest(spec, tmp_path / "store.zarr", workers=1)
    assert (tmp_path / "store.zarr" / "zarr.json").stat().st_mtime_ns == before
    (tmp_path / "s.coocsv").write_text(text.replace("2,1,1,2\n", "2,1,1,2.5\n"))
    ingest(spec, tmp_path / "store.zarr", workers=1)
    table = open_store(tmp_path / "store.zarr").sigmas["res"].table
    assert table is not None
    assert len(table) == 3


@pytest.mark.parametrize("name", GOOD)
def test_damaged_files_are_read_or_give_one_error(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    errors: list[HendersonError] = []
    spec = load_model(write(tmp_path, name, GOOD[name]), read_schema)
    for _ in range(400):
        text = list(GOOD[name])
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(text))
            text[at : at + rng.choice((0, 1, 3))] = rng.choice(
                ["", "#", ",", "\n", "9", "-", "x", "é", "1e999", "nan", "0"]
            )
        (tmp_path / name).write_text("".join(text))
        try:
            plan = make_plan(spec, BLOCK_BYTES)
            own, source = plan.sigmas[0]
            found = read_blocks(source, plan.blocks(source) if source.format == "csv" else [], BlocksSpec(name), 2)
            assert len(found.keys) == len(found.number)
            assert own.width == 2
        except HendersonError as error:
            errors.append(error)
    assert 50 < len(errors) < 400
    assert all(error.problems for error in errors)
