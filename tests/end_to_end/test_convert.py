"""`henderson convert`: files, notes, mistakes; and the example of BLUPF90's users."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import henderson
from henderson.errors import HendersonError, InputFileError, ModelError, UsageError
from henderson.jobs.blank_files import convert_pedigree, convert_records, read_blocks
from henderson.jobs.convert import convert

HENDERSON = Path(sys.executable).with_name("henderson")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "blupf90"
XML = """<root>
  <!-- a comment
       of two lines -->
  <data>
    datafile: d.csv
  </data>
  <models>
    <eqn attributes="strings">
      y=a*b
    </eqn>
  </models>
  <vars>
    <res>
      <sigma>
        <matrix attributes="array">
          2
        </matrix>
      </sigma>
    </res>
  </vars>
</root>
"""
TOML = """[data]
records = "d.csv"
[model]
equations = "y = 1*m + a*b(v(g(1))) + a*`c d`(v(g(2)))"
[variance.g]
structure = "diag"
sigma = [[2, 0], [0, 1]]
[variance.res]
sigma = 2
[jobs]
run = ["reml", "yhat"]
[functions]
h = "g[1,1]"
"""


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HENDERSON, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_example_of_blupf90(tmp_path: Path) -> None:
    for file in ("renum.par", "data.txt", "pedigree.txt"):
        shutil.copy(EXAMPLE / file, tmp_path)
    done = call("convert", "renum.par", "--out", "two_traits.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["two_traits.toml", "data.csv", "pedigree.csv"]
    assert done.stderr == ""
    assert "e4_2" in call("check", "two_traits.toml", cwd=tmp_path).stdout
    table = henderson.solve(tmp_path / "two_traits.toml").solutions.set_index(["subfactor", "level"])
    # as the tutorial prints them
    assert table.loc[("e4_1", "14"), "value"] == pytest.approx(0.52495, abs=1e-4)
    assert table["se"].notna().any()
    again = call("convert", "renum.par", "--out", "two_traits.toml", cwd=tmp_path)
    assert again.returncode == 2
    assert "would be overwritten" in again.stderr
    assert call("convert", "renum.par", "--out", "two_traits.toml", "--force", cwd=tmp_path).returncode == 0


def test_xml_and_back(tmp_path: Path) -> None:
    (tmp_path / "para.xml").write_text(XML)
    (tmp_path / "d.csv").write_text("#a,y\n1,2.0\n2,3.0\n")
    done = call("convert", "para.xml", "--out", "new/m.toml", "--json", cwd=tmp_path)
    assert json.loads(done.stdout) == {"files": ["new/m.toml"], "notes": []}
    text = (tmp_path / "new" / "m.toml").read_text()
    assert text.startswith("# a comment\n# of two lines\n\n[data]")
    assert tomllib.loads(text)["data"]["records"] == "../d.csv"  # as seen from the new file
    back = convert(tmp_path / "new" / "m.toml", tmp_path / "back.xml")
    assert "datafile: d.csv" in back.files[0].read_text()


def test_xml_without_its_data_is_converted_unchecked(tmp_path: Path) -> None:
    (tmp_path / "para.xml").write_text(XML)
    done = convert(tmp_path / "para.xml")
    assert done.files == (tmp_path / "para.toml",)
    assert len(done.notes) == 1
    assert "could not be checked" in done.notes[0]


def test_what_lmt_does_otherwise_is_noted(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(TOML)
    (tmp_path / "d.csv").write_text("a,y\n1,2.0\n2,3.0\n")
    done = convert(tmp_path / "m.toml")
    assert [f.name for f in done.files] == ["m.xml", "g.mask.csv"]
    assert done.files[1].read_text() == "F,T\nT,F\n"
    for words in ("'c d' is called 'c_d'", "column of ones", "functions are left out: h", "held constant"):
        assert any(words in note for note in done.notes)
    (tmp_path / "m.toml").write_text(TOML.replace('records = "d.csv"', 'records = "d.csv"\nweights = "a"'))
    with pytest.raises(ModelError, match="lmt has no weights column"):
        convert(tmp_path / "m.toml", force=True)


@pytest.mark.parametrize(
    ("out", "to", "words"),
    [("m.csv", None, "must end in .toml"), ("m.xml", "toml", "must end in .toml"), ("m.xml", None, "becomes TOML")],
)
def test_the_language_is_that_of_the_new_file(tmp_path: Path, out: str, to: str | None, words: str) -> None:
    (tmp_path / "a.par").write_text("DATAFILE\nd.txt\n")
    with pytest.raises(UsageError, match=words):
        convert(tmp_path / "a.par", tmp_path / out, to)  # type: ignore[arg-type]


PAR = """DATAFILE
d.txt
TRAITS
3
RESIDUAL_VARIANCE
2
EFFECT
2 cross alpha
"""
ANIMAL = "EFFECT\n1 cross alpha\nRANDOM\nanimal\nFILE\np.txt\n(CO)VARIANCES\n1\n"


def renumf90(
    folder: Path, text: str, data: str = "1 1 3\n2 2 0\n3 1 -5\n", pedigree: str = "1 0 0\n2 0 0\n3 1 2\n"
) -> Path:
    (folder / "r.par").write_text(text)
    (folder / "d.txt").write_text(data)
    (folder / "p.txt").write_text(pedigree)
    return folder / "r.par"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NUMBER_OF_TRAITS\n1\n", "renf90.par"),
        ("hello\n", "unknown keyword 'hello'"),
        (PAR.replace("TRAITS", "TRAIT"), "did you mean 'TRAITS'"),
        (PAR.replace("2 cross alpha", "2 2 cross alpha"), "2 columns for 1 traits"),
        (PAR.replace("2 cross alpha", "2 crossed"), "line 7.*'cross alpha'"),
        (PAR.replace("2 cross alpha", "0 cross alpha"), "in the model of no trait"),
        (PAR.replace("\n2\nEFFECT", "\n2 1\nEFFECT"), "RESIDUAL_VARIANCE must be 1 by 1 numbers"),
        (PAR + "RANDOM\nhorse\n", "unknown type of RANDOM 'horse'"),
        (PAR + "RANDOM\nanimal\n", "needs FILE"),
        (PAR + "OPTION missing a\n", "takes a number"),
        (PAR.replace("EFFECT\n2 cross alpha\n", ""), "EFFECT is missing"),
        (PAR.replace("\n3\n", "\n9\n"), "names column 9"),
        (PAR.replace("d.txt", "none.txt"), "none.txt"),
        (PAR + ANIMAL.replace("\n1\n", "\n-1\n"), "not positive definite"),
        (PAR + ANIMAL + "RANDOM_REGRESSION\nlegendre\nRR_POSITION\n2\n", "covariates in the data only"),
    ],
)
def test_mistakes_in_a_file_of_renumf90(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(HendersonError, match=words):
        convert(renumf90(tmp_path, text))


def test_what_is_not_carried_over_is_said(tmp_path: Path) -> None:
    extra = "SNP_FILE\nsnp.txt\nUPG_TYPE\nyob\n2000\nINBREEDING\nfile F.txt\nFILE_POS\n1 2 3 4 0\n"
    options = "OPTION TauOmega 1 1\nOPTION conv_crit 1d-12\nOPTION maxrounds 30\nOPTION fixed_var mean\n"
    done = convert(renumf90(tmp_path, PAR + ANIMAL + extra + options))
    for words in ("SNP_FILE snp.txt", "UPG_TYPE yob", "INBREEDING file", "PED_DEPTH (default 3)", "alternate dam",
                  "OPTION TauOmega", "OPTION fixed_var mean"):  # fmt: skip
        assert sum(words in note for note in done.notes) == 1, words
    assert len(done.notes) == 7
    text = done.files[0].read_text()
    assert all(f"# Not carried over: {note.removeprefix('not carried over: ')}" in text for note in done.notes)
    assert "solve = { max_it = 30, rtol = 1e-06 }" in text
    assert "inbreeding =" not in text  # counted, as by default


def test_missing_is_one_value_exactly(tmp_path: Path) -> None:
    convert(renumf90(tmp_path, PAR, "1 1 3\n2 2 0\n3 1 -5\n4 1 0.00\n"))
    assert (tmp_path / "d.csv").read_text() == "f1,c2,y3\n1,1,3\n2,2,\n3,1,-5\n4,1,\n"
    convert(renumf90(tmp_path, PAR + "OPTION missing -5\n"), force=True)
    assert (tmp_path / "d.csv").read_text() == "f1,c2,y3\n1,1,3\n2,2,0\n3,1,\n"


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    par = renumf90(tmp_path, (PAR + ANIMAL).replace("d.txt", "p.dat").replace("p.txt", "p.csv"))
    (tmp_path / "d.txt").rename(tmp_path / "p.dat")
    (tmp_path / "p.txt").rename(tmp_path / "p.csv")
    before = (tmp_path / "p.csv").read_text()
    done = convert(par, force=True)
    assert [f.name for f in done.files] == ["r.toml", "p_named.csv", "p_2.csv"]
    assert (tmp_path / "p.csv").read_text() == before


def test_combined_columns_and_nested_covariates(tmp_path: Path) -> None:
    text = PAR.replace("2 cross alpha", "7 cross alpha") + "COMBINE 7 1 2\nEFFECT\n4 cov\nNESTED\n2 alpha\n"
    done = convert(renumf90(tmp_path, text, "1 1 3 0.5\n2 2 4 0.7\n3 1 5 0.9\n"))
    assert "y3 = `c1:c2`*e1 + x4(t(co(n(c2);c(n))))*e2" in done.files[0].read_text()


@pytest.mark.parametrize("block", [1, 3, 7, 1 << 20])
def test_blank_files_are_read_in_blocks(tmp_path: Path, block: int) -> None:
    (tmp_path / "d.txt").write_bytes(b"head\n  a  1\t2.5 \r\n\nb 22 3\n   \n c,d 3 'x\"y'")
    tables = [t.to_pylist() for t in read_blocks(tmp_path / "d.txt", 1, block)]
    rows = [tuple(row.values()) for table in tables for row in table]
    assert rows == [("a", "1", "2.5"), ("b", "22", "3"), ("c,d", "3", "'x\"y'")]
    convert_records(tmp_path / "d.txt", tmp_path / "d.csv", {1: "id"}, [], 0.0, skip=1)
    assert '"c,d"' in (tmp_path / "d.csv").read_text()


def test_ragged_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("1 2 3\n\n1 2\n")
    with pytest.raises(InputFileError, match="line 3: found 2 columns where the lines before have 3"):
        list(read_blocks(tmp_path / "d.txt"))
    (tmp_path / "d.txt").write_bytes(b"1 2\n\xff 2\n")
    with pytest.raises(InputFileError, match="line 2: the line is not UTF-8"):
        list(read_blocks(tmp_path / "d.txt"))
    (tmp_path / "d.txt").write_text("\n")
    with pytest.raises(InputFileError, match="empty"):
        list(read_blocks(tmp_path / "d.txt"))


def test_groups_become_the_first_animals(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("x 5 -2 -10\nx 6 5 -1\nx 7 0 6\n")
    assert convert_pedigree(tmp_path / "p.txt", tmp_path / "p.csv", (2, 3, 4), groups=True) == 3
    assert (tmp_path / "p.csv").read_text() == ("animal,sire,dam\n-1,0,0\n-2,0,0\n-10,0,0\n5,-2,-10\n6,5,-1\n7,0,6\n")
    assert convert_pedigree(tmp_path / "p.txt", tmp_path / "p.csv", (2, 3, 4), groups=False) == 0
    assert (tmp_path / "p.csv").read_text() == "animal,sire,dam\n5,0,0\n6,5,0\n7,0,6\n"
    with pytest.raises(InputFileError, match="FILE_POS names column 5"):
        convert_pedigree(tmp_path / "p.txt", tmp_path / "p.csv", (2, 3, 5), groups=False)
