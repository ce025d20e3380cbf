"""Every published parameter file, TOML or XML, reads the same after it was written anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from henderson.errors import HendersonError, ModelError
from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from henderson.language.spec import JobSpec, ModelSpec
from henderson.language.write_toml import write_toml
from henderson.language.write_xml import write_xml

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def load(path: Path, data: Path | None = None) -> ModelSpec:
    """The model of a parameter file, the records lying in the folder `data`."""
    base = data or path.parent
    return load_model(path, lambda d, _: read_schema(d, base), lambda d, _, column: read_levels(d, base, column))


def sound() -> list[Path]:
    """Parameter files that are models."""
    found = []
    for path in sorted(p for suffix in ("toml", "xml") for p in SHARED.glob(f"*/*.{suffix}")):
        try:
            load(path)
        except HendersonError:
            continue
        found.append(path)
    return found


PATHS = sound()


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_there_are_cases(shared_data: Path) -> None:
    assert len(PATHS) > 150, shared_data


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_toml_reads_as_the_model_it_was_written_from(path: Path, tmp_path: Path) -> None:
    spec = load(path)
    again = tmp_path / "m.toml"
    again.write_text(write_toml(spec, ["a comment"]), encoding="utf-8")
    assert load(again, path.parent) == spec


@pytest.mark.parametrize("path", [p for p in PATHS if "_formula" not in p.stem], ids=name)
def test_xml_reads_as_the_model_it_was_written_from(path: Path, tmp_path: Path) -> None:
    spec = load(path)
    written, lost = None, None
    try:
        written = write_xml(spec)
    except ModelError as e:
        lost = e
    if written is None or lost is not None:
        assert path.suffix == ".toml"
        assert lost is not None
        known = ("weights", "inverse", "inbreeding", "start value", "structure", "by class")  # what lmt has not
        assert all(any(word in p.message for word in known) for p in lost.problems)
        return
    again = tmp_path / "m.xml"
    again.write_text(written.text, encoding="utf-8")
    for file, text in written.files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    read = load(again, path.parent)
    if path.suffix == ".xml":
        assert read == spec
        return
    matrices = {m.name: m.file for m in spec.matrices}
    assert {m.file for m in read.matrices} == set(matrices.values())
    assert (read.data, read.equations, read.subfactors) == (spec.data, spec.equations, spec.subfactors)
    assert (read.polynomials, read.pedigrees) == (spec.polynomials, spec.pedigrees)
    assert [(v.name, v.sigma, v.gamma.kind) for v in read.variances] == [
        (v.name, v.sigma, v.gamma.kind) for v in spec.variances
    ]
    # exact REML is lmt's only one without sampling
    jobs = [replace(j, options=tuple(sorted({"method": "ai", **dict(j.options)}.items()))) for j in spec.jobs]
    assert list(read.jobs) == [j if j.name == "reml" else old for j, old in zip(jobs, spec.jobs, strict=True)]


def test_lmts_thresholds_come_back(shared_data: Path, tmp_path: Path) -> None:
    spec = load(shared_data / "mrode04_1_animal" / "animal_solve_lmt.xml")
    for rtol in (1e-8, 1e-6, 1e-12):
        asked = replace(spec, jobs=(JobSpec("solve", (("max_it", 50), ("rtol", rtol))),))
        (tmp_path / "m.xml").write_text(write_xml(asked).text, encoding="utf-8")
        assert load(tmp_path / "m.xml", shared_data / "mrode04_1_animal").jobs == asked.jobs
