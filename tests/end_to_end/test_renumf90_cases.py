"""Parameter files of renumf90 for published cases: converted and solved, they give the published answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

import henderson
from henderson.jobs.convert import Converted, convert

FIXED = {"fxcl", "fxco"}


def blank_file(source: Path, out: Path, columns: Sequence[str], rename: Callable[[str], str] = str) -> None:
    """Columns of a CSV file, blank-separated without a header, as BLUPF90 reads them."""
    with source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ("  ".join(rename(row[c]) for c in columns) for row in rows)
    out.write_text("".join(f" {line}\n" for line in lines), encoding="utf-8")


def effect(columns: str, kind: str = "cross alpha", **keywords: object) -> str:
    parts = [f"EFFECT\n{columns} {kind}"]
    parts += [f"{k.replace('CO', '(CO)')}\n{v}" for k, v in keywords.items()]
    return "\n".join(parts)


def renumf90(traits: str, residual: str, *effects: str, weight: str = "", options: Sequence[str] = ()) -> str:
    head = f"DATAFILE\ndata.txt\nTRAITS\n{traits}\nFIELDS_PASSED TO OUTPUT\n\nWEIGHT(S)\n{weight}\n"
    lines = [head + f"RESIDUAL_VARIANCE\n{residual}", *effects, *(f"OPTION {o}" for o in options)]
    return "\n".join(lines) + "\n"


def animal(columns: str, covariances: str, **keywords: object) -> str:
    first = {"RANDOM": "animal", **{k: v for k, v in keywords.items() if k == "OPTIONAL"}}
    rest = {k: v for k, v in keywords.items() if k != "OPTIONAL"}
    return effect(columns, **first, FILE="ped.txt", FILE_POS="1 2 3 0 0", PED_DEPTH=0, **rest, COVARIANCES=covariances)


def converted(folder: Path, text: str) -> Converted:
    (folder / "renum.par").write_text(text, encoding="utf-8")
    return convert(folder / "renum.par")


def check(table: pd.DataFrame, expected: Path, names: Mapping[str, str], level: Callable[[str], str] = str) -> int:
    """Compare solutions with published ones, sub-factors being called `names`; return how many were compared."""
    values = {(s, str(n)): v for s, n, v in zip(table["subfactor"], table["level"], table["value"], strict=True)}
    compared = 0
    for c in json.loads(expected.read_text(encoding="utf-8"))["checks"]:
        if c["what"] == "solution":
            got = values[names[c["subfactor"]], level(c["level"])]
        elif c["what"] == "contrast":
            terms = [(w, factor, (names[s], level(n))) for w, factor, s, n in c["terms"]]
            got = sum(w * (values.get(key, 0.0) if factor in FIXED else values[key]) for w, factor, key in terms)
        else:
            continue
        tolerance = c.get("atol", 0.0) + c.get("rtol", 0.0) * abs(c["value"])
        assert abs(got - c["value"]) <= tolerance, c
        compared += 1
    return compared


TOUR = ["y1", "y2", "A", "S", "x", "animal"]
CLASSES = [effect("3"), effect("4"), effect("5", "cov")]
CASES = {
    "f0": (renumf90("1", "2.0", effect("3")), {"a": "e1"}),
    "f1": (renumf90("1", "2.0", *CLASSES), {"a": "e1", "s": "e2", "c": "e3"}),
    "m": (
        renumf90("1", "2.0", effect("3"), effect("5", "cov"), effect("4", RANDOM="diagonal", COVARIANCES="1.0")),
        {"a": "e1", "c": "e2", "s": "e3"},
    ),
    "a": (renumf90("1", "2.0", *CLASSES, animal("6", "0.5")), {"a": "e1", "s": "e2", "c": "e3", "u": "e4"}),
    "a_inbreeding": (
        renumf90("1", "2.0", *CLASSES, animal("6", "0.5", INBREEDING="pedigree")),
        {"a": "e1", "s": "e2", "c": "e3", "u": "e4"},
    ),
    "a2": (
        renumf90(
            "1", "2.0", effect("3"), effect("5", "cov"), effect("4", "cross numer", RANDOM="diagonal", COVARIANCES="1"),
            animal("6", "0.5"), options=["conv_crit 1d-24"],
        ),
        {"a": "e1", "c": "e2", "s": "e3", "u": "e4"},
    ),
    "mt": (
        renumf90(
            "1 2", "2 1\n1 1.5", effect("3 3"), effect("4 4"), effect("5 5", "cov"),
            animal("6 6", "0.5 -0.25\n-0.25 1"), options=["conv_crit 1d-24", "blksize 2"],
        ),
        {f"{old}{t}": f"{new}_{t}" for t in (1, 2) for old, new in
         {"a": "e1", "s": "e2", "c": "e3", "u": "e4"}.items()},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_quick_tour(shared_data: Path, tmp_path: Path, case: str) -> None:
    text, names = CASES[case]
    folder = shared_data / "blupf90_quicktour"
    blank_file(folder / "data.csv", tmp_path / "data.txt", TOUR)
    blank_file(folder / "pedigree.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"])
    result = converted(tmp_path, text)
    assert result.notes == ()
    table = henderson.solve(result.files[0]).solutions
    assert check(table, folder / f"{case}.expected.json", names) >= 1


def test_four_traits_with_permanent_effects_and_missing_records(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "blupf90_rep4trait"
    blank_file(
        folder / "simdata_rep.csv", tmp_path / "data.txt", ["animal", "farm", "sex", "year", "y1", "y2", "y3", "y4"]
    )
    blank_file(folder / "simped.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"])
    g = "41.967 22.512 24.058 26.907\n22.512 17.489 19.738 24.257\n24.058 19.738 28.775 34.741\n"
    g += "26.907 24.257 34.741 56.668"
    pe = "15.546 15.237 10.49 1.4105\n15.237 40.937 19.562 6.484\n10.49 19.562 27.782 4.5379\n1.4105 6.484 4.5379 2.441"
    r = "45.124 22.357 18.626 13.762\n22.357 44.21 22.69 18.016\n18.626 22.69 46.101 22.795\n"
    r += "13.762 18.016 22.795 45.274"
    four = [effect(" ".join([column] * 4)) for column in "234"]
    text = renumf90("5 6 7 8", r, *four, animal("1 1 1 1", g, OPTIONAL="pe", COVARIANCES_PE=pe))
    result = converted(tmp_path, text)
    table = henderson.solve(result.files[0]).solutions
    names = {f"{old}{t}": f"{new}_{t}" for t in range(1, 5) for old, new in
             {"f": "e1", "s": "e2", "r": "e3", "u": "e4", "p": "e4_pe"}.items()}  # fmt: skip
    assert check(table, folder / "rep4.expected.json", names) >= 10


def test_maternal_effects_find_the_dams_in_the_pedigree(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mrode08_1_maternal"
    blank_file(folder / "data.csv", tmp_path / "data.txt", ["calf", "herd", "pen", "bw"])
    blank_file(folder / "pedigree.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"])
    text = renumf90(
        "4", "350", effect("2"), effect("3"),
        animal("1", "150 -40\n-40 90", OPTIONAL="mat mpe", INBREEDING="pedigree", COVARIANCES_MPE="40"),
    )  # fmt: skip
    table = henderson.solve(converted(tmp_path, text).files[0]).solutions
    names = {"h": "e1", "p": "e2", "direct": "e3", "maternal": "e3_mat", "permanent": "e3_mpe"}
    assert check(table, folder / "maternal.expected.json", names) >= 5


def test_effects_that_only_one_trait_has(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mrode06_3_unequal_models"
    blank_file(folder / "data.csv", tmp_path / "data.txt", ["cow", "hys1", "hys2", "fat1", "fat2"])
    blank_file(folder / "pedigree.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"])
    text = renumf90(
        "4 5", "65 27\n27 70", effect("2 0"), effect("0 3"), animal("1 1", "35 28\n28 30", INBREEDING="pedigree")
    )
    table = henderson.solve(converted(tmp_path, text).files[0]).solutions
    names = {"h1": "e1_1", "h2": "e2_2", "u1": "e3_1", "u2": "e3_2"}
    assert check(table, folder / "unequal.expected.json", names) >= 5


def test_unknown_parent_groups_in_the_pedigree(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mrode04_4_genetic_groups"
    blank_file(folder / "data.csv", tmp_path / "data.txt", ["calf", "sex", "wwg"])
    blank_file(
        folder / "pedigree_groups.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"],
        lambda word: word.replace("G", "-"),
    )  # fmt: skip
    lines = (tmp_path / "ped.txt").read_text().splitlines()
    (tmp_path / "ped.txt").write_text("\n".join(line for line in lines if not line.strip().startswith("-")) + "\n")
    text = renumf90("3", "40", effect("2"), animal("1", "20", UPG_TYPE="in_pedigrees", INBREEDING="pedigree"))
    table = henderson.solve(converted(tmp_path, text).files[0]).solutions
    names = {"b": "e1", "u": "e2"}
    compared = check(table, folder / "absorbed.expected.json", names, lambda level: level.replace("G", "-"))
    assert compared >= 8


def test_random_regression_on_columns_is_that_on_polynomials(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mrode10_1_fixed_regression"
    blank_file(folder / "data.csv", tmp_path / "data.txt", ["cow", "htd", "fat", "t", "phi1", "phi2"])
    blank_file(folder / "pedigree.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"])
    g, pe = "5 1 0.5\n1 3 0.2\n0.5 0.2 2", "4 0.3 0.1\n0.3 2 0\n0.1 0 1"
    lines = (tmp_path / "data.txt").read_text().splitlines()
    (tmp_path / "data.txt").write_text("".join(f"{line} 0.70710678118654752\n" for line in lines))
    random = animal("1", g, OPTIONAL="pe", INBREEDING="pedigree", COVARIANCES_PE=pe,
                    RANDOM_REGRESSION="data", RR_POSITION="7 5 6")  # fmt: skip
    text = renumf90("3", "3.71", effect("2"), effect("4", "cov"), random)
    table = henderson.solve(converted(tmp_path, text).files[0]).solutions

    (tmp_path / "own.toml").write_text(
        f"""[data]
records = "{folder}/data.csv"
[pedigree.ped]
file = "{folder}/pedigree.csv"
[model]
equations = '''
fat = htd*e1 + t(t(co(c(n))))*e2 + t(t(co(p(1,2,3);n(cow))))*u(v(g(1,2,3))) + t(t(co(p(1,2,3);n(cow))))*w(v(pe(1,2,3)))
'''
polynomials = ["x^0*sqrt(0.5)", "sqrt(1.5)*x", "sqrt(2.5)*l2"]
[variance.g]
sigma = [[5, 1, 0.5], [1, 3, 0.2], [0.5, 0.2, 2]]
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.pe]
sigma = [[4, 0.3, 0.1], [0.3, 2, 0], [0.1, 0, 1]]
[variance.res]
sigma = 3.71
""",
        encoding="utf-8",
    )
    own = henderson.solve(tmp_path / "own.toml").solutions
    for k in (1, 2, 3):
        for mine, theirs in ((f"u_{k}", f"e3_r{k}"), (f"w_{k}", f"e3_pe_r{k}")):
            one = own[own["subfactor"] == mine].set_index("level")["value"]
            other = table[table["subfactor"] == theirs].set_index("level")["value"]
            assert len(one) == len(other) > 0
            pd.testing.assert_series_equal(one, other[one.index], check_names=False, atol=1e-5, rtol=0)


def test_reml_of_weighted_records(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "blupf90_simdata_aireml"
    blank_file(folder / "simdata.csv", tmp_path / "data.txt", ["animal", "w", "farm", "sex", "year", "y1"])
    blank_file(folder / "simped.csv", tmp_path / "ped.txt", ["animal", "sire", "dam"])
    text = renumf90(
        "6", "100", effect("3"), effect("4"), effect("5"), animal("1", "100"), weight="2",
        options=["method VCE", "se_covar_function h2 G_4_4_1_1/(G_4_4_1_1+R_1_1)"],
    )  # fmt: skip
    result = henderson.solve(converted(tmp_path, text).files[0], out=tmp_path / "out")
    assert result is not None
    found = json.loads((tmp_path / "out" / "variances.json").read_text())
    assert found["variances"]["g"]["sigma"][0][0] == pytest.approx(38.538, rel=1e-4)
    assert found["variances"]["res"]["sigma"][0][0] == pytest.approx(62.691, rel=1e-4)
    assert found["functions"]["h2"]["value"] == pytest.approx(0.3807, rel=3e-4)
