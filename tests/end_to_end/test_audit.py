"""Checksums of stores and results, and runs done again: what is changed is named."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from henderson.cli.main import main
from henderson.errors import DifferenceError, InputFileError, StoreError, UsageError
from henderson.jobs.audit import Rerun, agreement, verify
from henderson.jobs.run import Settings, run
from henderson.results.manifest import NAME
from oracles.animal_model import ANIMAL_MODEL


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small run, its results in ``out``."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "pedigree.csv").write_text("id,sire,dam\nC,A,B\nA,0,0\nB,0,0\nD,A,\n")
    (folder / "records.csv").write_text("id,herd,y\nC,1,5.5\nD,1,4.0\nB,2,NA\nA,2,6.25\nD,2,4.5\n")
    (folder / "model.toml").write_text(ANIMAL_MODEL)
    run(folder / "model.toml", Settings(folder / "out", threads=1))
    return folder


def test_any_flipped_byte_is_named(done: Path, tmp_path: Path) -> None:
    """Every file of results and store, a byte at its begin, middle and end."""
    out = tmp_path / "out"
    shutil.copytree(done / "out", out)
    files = [f for f in sorted(out.rglob("*")) if f.is_file()]
    assert verify(out) == {"results": 4, "store": len(files) - 4}
    assert verify(out / "store.zarr") == {"store": len(files) - 4}
    rng = np.random.default_rng(1)
    for file in files:
        whole = file.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1, int(rng.integers(len(whole)))}:
            raw = bytearray(whole)
            raw[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(raw)
            with pytest.raises(StoreError) as caught:
                verify(out)
            assert any(p.file == str(file) for p in caught.value.problems), (file, place, str(caught.value))
        file.write_bytes(whole)
    verify(out)


def test_missing_and_stray_files_are_named(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done / "out", out)
    (out / "solutions.csv").unlink()
    (out / "store.zarr" / "stray").write_text("")
    with pytest.raises(StoreError) as caught:
        verify(out)
    assert {Path(p.file or "").name for p in caught.value.problems} == {"solutions.csv", "stray"}
    (out / NAME).unlink()
    with pytest.raises(StoreError, match=NAME):
        verify(out)


def test_sha256sum_reads_the_checksums(done: Path) -> None:
    command = ["sha256sum", "--check", "--strict", NAME]
    checked = subprocess.run(command, cwd=done / "out", capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "solutions.csv: OK" in checked.stdout


def test_the_record_says_by_what_and_how(done: Path) -> None:
    record = json.loads((done / "out" / "run.json").read_text())
    assert {"henderson", "source", "python", "numpy", "scipy", "numba"} <= set(record["versions"])
    assert record["machine"]["cores"] >= 1
    assert (record["threads"], record["ranks"], record["seed"], record["seeds"]) == (1, 1, None, {})
    assert record["command"]["settings"]["threads"] == 1


def test_a_run_is_done_again_from_its_record(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["henderson", "rerun", str(done / "out" / "run.json"), "--out", str(tmp_path / "again"), "--json"]
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.chdir(tmp_path)  # paths begin where the run was started
    main()
    found = json.loads(capsys.readouterr().out)
    assert (found["largest"], found["compared"], found["tolerance"], found["changes"]) == (0.0, 6, 1e-6, [])
    assert (tmp_path / "again" / "solutions.csv").read_bytes() == (done / "out" / "solutions.csv").read_bytes()


def test_changed_and_missing_inputs_are_named(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(done, folder)
    record = json.loads((folder / "out" / "run.json").read_text())
    for entry in [*record["inputs"], record["command"]]:  # as if started in the folder
        for key in {"path", "file"} & entry.keys():
            entry[key] = Path(entry[key]).name
    (folder / "out" / "run.json").write_text(json.dumps(record))
    again = Rerun.of(folder / "out" / "run.json", base=folder)
    again.check_inputs()
    assert again.settings.out == folder / "out.rerun"
    (folder / "records.csv").write_text((folder / "records.csv").read_text().replace("5.5", "5.6"))
    (folder / "pedigree.csv").unlink()
    with pytest.raises(InputFileError) as caught:
        again.check_inputs()
    assert {Path(p.file or "").name for p in caught.value.problems} == {"records.csv", "pedigree.csv"}
    assert "has changed since the run" in str(caught.value)
    with pytest.raises(UsageError, match="another folder"):
        Rerun.of(folder / "out" / "run.json", out=folder / "out")
    with pytest.raises(InputFileError, match="not a record of a run"):
        Rerun.of(folder / "model.toml")


def test_differences_beyond_the_tolerance_are_named(done: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    lines = (done / "out" / "solutions.csv").read_text().splitlines()
    *ids, value = lines[-1].split(",")
    assert ids == ["g", "u", "D"]
    largest = max(abs(float(line.split(",")[3])) for line in lines[1:] if line.startswith("g,"))
    lines[-1] = ",".join([*ids, repr(float(value) + 1e-3 * largest)])
    (other / "solutions.csv").write_text("\n".join(lines) + "\n")
    found = agreement(done / "out", other, 1e-2)
    found.require()
    assert (found.largest, found.where) == (pytest.approx(1e-3, rel=1e-6), "value of u, level 'D'")
    with pytest.raises(DifferenceError, match="level 'D'") as caught:
        agreement(done / "out", other, 1e-4, ["numpy was 1, is 2"]).require()
    assert caught.value.exit_code == 8
    assert "numpy was 1, is 2" in str(caught.value)
    (other / "solutions.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DifferenceError, match="1 levels are in one run only"):
        agreement(done / "out", other, 1e-2).require()


@pytest.mark.parametrize("text", ["", "{}", '{"inputs": [], "jobs": []}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputFileError):
        Rerun.of(tmp_path / "run.json")
