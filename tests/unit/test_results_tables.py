"""Solution tables hold every kept row once, with the user's own ids."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from henderson.results.files import replacing
from henderson.results.report import Report, write_report
from henderson.results.run_record import describe_inputs, effective_config
from henderson.results.solution_tables import labels_to_arrow, write_lmt_results, write_solutions
from henderson.results.stages import Stages, available_bytes, peak_bytes
from henderson.results.summary import digest_effects, summarise_effects, top_levels
from henderson.solvers.solutions import SubfactorSolutions
from henderson.store.model_data import Labels

PARTS = (
    SubfactorSolutions(
        "fxcl", "b", Labels.from_text(["F", "Mähre", "x,y"]), np.array([1.0, 2.0, 1 / 3]), np.array([True, False, True])
    ),
    SubfactorSolutions("fxco", "c_1", Labels.from_text([""]), np.array([-1e-20])),
    SubfactorSolutions(
        "g",
        "u",
        Labels(np.array([7, -12, 30], dtype=np.int64)),
        np.array([0.5, -0.25, 0.75]),
        se=np.array([0.1, 0.2, 0.3]),
        reliability=np.array([0.9, np.nan, 0.5]),
    ),
)
ROWS = [
    ("fxcl", "b", "F", 1.0),
    ("fxcl", "b", "x,y", 1 / 3),
    ("fxco", "c_1", "", -1e-20),
    ("g", "u", "7", 0.5),
    ("g", "u", "-12", -0.25),
    ("g", "u", "30", 0.75),
]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_round_trip(tmp_path: Path) -> None:
    rows = read(write_solutions(PARTS, tmp_path))
    assert [(r["factor"], r["subfactor"], r["level"], float(r["value"])) for r in rows] == ROWS
    assert [r["se"] for r in rows] == ["", "", "", "0.1", "0.2", "0.3"]
    assert rows[4]["reliability"] == ""


def test_no_accuracy_columns_without_accuracy(tmp_path: Path) -> None:
    path = write_solutions(PARTS[:2], tmp_path)
    assert path.read_text().splitlines()[0] == "factor,subfactor,level,value"


def test_plain_labels_are_not_quoted(tmp_path: Path) -> None:
    part = SubfactorSolutions("fxcl", "b", Labels.from_text(["F", "M"]), np.array([1.0, 2.0]))
    assert write_lmt_results([part], tmp_path).read_text() == "fxcl,b,F,1\nfxcl,b,M,2\n"


def test_many_rows_become_parquet_and_replace_the_csv(tmp_path: Path) -> None:
    write_solutions(PARTS, tmp_path)
    path = write_solutions(PARTS, tmp_path, parquet_above=5)
    assert path.name == "solutions.parquet"
    assert not (tmp_path / "solutions.csv").exists()
    table = pq.read_table(path).to_pylist()
    assert [(r["factor"], r["subfactor"], r["level"], r["value"]) for r in table] == ROWS


def test_labels_of_many_lengths() -> None:
    names = ["", "a", "ü" * 5, "x" * 40]
    assert labels_to_arrow(Labels.from_text(names)).to_pylist() == names


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "solutions.csv") as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_summary_and_best_levels() -> None:
    first, _, last = summarise_effects(PARTS)
    assert (first.levels, first.left_out) == (2, 1)
    assert last.mean_reliability == pytest.approx(0.7)
    assert [t.level for t in top_levels(PARTS[2], 2)] == ["30", "7"]


def test_report_is_one_whole_page(tmp_path: Path) -> None:
    with (stages := Stages()).stage("solve"):
        pass
    facts, digests = (("engine", "embedded"),), digest_effects(PARTS)
    report = Report("A <run>", facts, "y = x*b", digests, stages.done, history=[1.0, 0.1, 1e-9])
    text = write_report(report, tmp_path).read_text()
    assert "A &lt;run&gt;" in text
    assert "Mähre" not in text  # left out
    assert text.count("<svg") == 3  # convergence, one distribution, reliabilities
    assert text.rstrip().endswith("</html>")
    assert "http-equiv" not in text
    assert "src=" not in text


def test_stage_records_memory() -> None:
    stages = Stages()
    with stages.stage("allocate"):
        block = np.ones(30_000_000 // 8)
    del block
    assert stages.done[0].peak_bytes > 30_000_000
    assert 0 < peak_bytes() < available_bytes() * 100


def test_inputs_and_config(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    (described,) = describe_inputs([file])
    assert described["bytes"] == 3
    assert described["sha256"].startswith("ba7816bf")
    from henderson.language.spec import DataSpec, ModelSpec

    config = effective_config(ModelSpec(DataSpec(("r.csv",)), (), (), ()), {"threads": np.int64(2), "x": float("nan")})
    assert config["model"]["data"]["records"] == ["r.csv"]
    assert config["threads"] == 2
    assert config["x"] is None
