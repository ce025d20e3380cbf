"""Every published case's parameter file is understood, TOML and XML twins agree, and bad ones say what they must."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from henderson.errors import HendersonError
from henderson.ingest.header import read_schema
from henderson.language.load import load_model
from henderson.language.printing import print_equations
from henderson.language.spec import DataSpec, ModelSpec

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BAD = "bad_input"


def read_levels(data: DataSpec, base: Path, column: str) -> list[str]:
    """The sorted levels of a column of a small CSV file."""
    lines = [line for line in (base / data.records[0]).read_text().splitlines() if line]
    index = lines[0].lstrip("#").split(",").index(column)
    return sorted({line.split(",")[index] for line in lines[1:]})


def load(path: Path) -> ModelSpec:
    return load_model(path, read_schema, read_levels)


def files(pattern: str) -> list[Path]:
    """Parameter files of all cases; none where the data are not there (the test with `shared_data` then says so)."""
    return sorted(
        p for suffix in ("toml", "xml") for p in SHARED.glob(f"{pattern}.{suffix}") if p.parent.name != "extra"
    )


def fails(path: Path) -> dict[str, object] | None:
    """What a bad input must say, None if it is sound."""
    checks = json.loads((path.parent / f"{path.stem}.expected.json").read_text())["checks"]
    return next((c for c in checks if c["what"] == "fails"), None)


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_there_are_cases(shared_data: Path) -> None:
    assert len([p for p in files("*/*") if p.parent.name != BAD]) > 150
    assert len(files(f"{BAD}/*")) > 40


@pytest.mark.parametrize("path", [p for p in files("*/*") if p.parent.name != BAD], ids=name)
def test_published_models_are_understood(path: Path) -> None:
    spec = load(path)
    checks = json.loads((path.parent / f"{path.stem}.expected.json").read_text())["checks"]
    variances = {v.name for v in spec.variances}
    subfactors = {s.name for s in spec.subfactors}
    assert {c["variance"] for c in checks if "variance" in c} <= variances
    expanded = {f"{t.subfactor}_{n}" for e in spec.equations for t in e.terms for n in t.polynomials}
    assert {c["subfactor"] for c in checks if c.get("subfactor")} <= subfactors | expanded


@pytest.mark.parametrize(
    "path", [p for p in files("*/*") if p.parent.name != BAD and "_formula" not in p.stem], ids=name
)
def test_printed_equations_of_published_models_parse_to_them(path: Path, tmp_path: Path) -> None:
    spec = load(path)
    if path.suffix == ".toml":
        start, _, rest = path.read_text().partition('equations = """')
        _, _, end = rest.partition('"""')
        again = tmp_path / path.name
        again.write_text(f'{start}equations = """\n{print_equations(spec)}\n"""{end}')
        assert load_model(again, lambda data, base: read_schema(data, path.parent)) == spec
    else:
        assert len(print_equations(spec).splitlines()) == len(spec.equations)


# These XML twins were given other start values, a written-out column of ones, or sub-factors of their own.
TWINS = [p for p in files("*/*") if p.suffix == ".toml" and p.parent.name != BAD and p.with_suffix(".xml").exists()]


@pytest.mark.parametrize("path", TWINS, ids=name)
def test_toml_and_xml_twins_agree_but_for_files(path: Path) -> None:
    one, other = load(path), load(path.with_suffix(".xml"))
    for spec in (one, other):
        assert spec.variances
    ones = {t.variable for e in other.equations for t in e.terms} - {t.variable for e in one.equations for t in e.terms}
    assert ones <= {"mu"}
    as_one = [
        (e.trait, [("1" if t.variable in ones else t.variable, *_rest(t)) for t in e.terms]) for e in other.equations
    ]
    assert [(e.trait, [(t.variable, *_rest(t)) for t in e.terms]) for e in one.equations] == as_one
    assert one.subfactors == other.subfactors
    assert one.polynomials == other.polynomials
    assert [p.name for p in one.pedigrees] == [p.name for p in other.pedigrees]
    assert [(v.name, v.gamma) for v in one.variances] == [(v.name, v.gamma) for v in other.variances]
    assert one.jobs[0].name == other.jobs[0].name


def _rest(term: object) -> tuple[object, ...]:
    t = term
    return (t.subfactor, t.kind, t.nested_in, t.polynomials, t.integer, t.centred, t.pedigree)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", files(f"{BAD}/*"), ids=name)
def test_bad_parameter_files_say_what_is_wrong(path: Path) -> None:
    check = fails(path)
    if check is None or check["exit"] != 5:
        code = 0
        try:
            load(path)
        except HendersonError as e:
            code = e.exit_code
        # some mistakes lie in files that only ingest reads
        assert code in ((0,) if check is None else (0, check["exit"]))
        return
    with pytest.raises(HendersonError) as caught:
        load(path)
    assert caught.value.exit_code == 5
    text = str(caught.value).lower()
    for word in check["stderr_has"]:  # type: ignore[attr-defined]
        assert word.lower() in text
    for word in check.get("output_lacks", []):  # type: ignore[attr-defined]
        assert word.lower() not in text
