"""Everything a model can say, from TOML and XML, on the embedded engine and on two ranks, against dense equations.

All models are solved by one start of mpiexec.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from henderson.ingest.header import read_schema
from henderson.jobs.run import Settings, run
from henderson.language.load import load_model
from oracles.file_blup import check_solutions, file_blup
from oracles.model_rows import ROWS, make
from oracles.pedigree_files import (
    KINDS,
    Kind,
    Records,
    check_breeding_values,
    make_kind,
    make_records,
    write_model,
    write_xml,
)

RTOL = 1e-13
AS_XML = ("animal", "residual_by_record", "sigma_by_level")  # the others are one model in both forms
PEDIGREES = (*KINDS, "fixed groups")

pytestmark = pytest.mark.timeout(600)


@dataclass
class Model:
    """A parameter file, its store, and what its solutions must be; accuracy: whether they have standard errors."""

    file: Path
    store: Path
    check: Callable[[pd.DataFrame, bool], None]


def read(out: Path) -> pd.DataFrame:
    text = {"factor": str, "subfactor": str, "level": str}
    blank = {"se": [""], "reliability": [""]}
    return pd.read_csv(out / "solutions.csv", dtype=text, keep_default_na=False, na_values=blank)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("rows")
    found = {}
    for function in ROWS:
        name = function.__name__
        row, forms = make(function, folder / name)
        oracle = file_blup(row.m)

        def check(table: pd.DataFrame, accuracy: bool, oracle: object = oracle) -> None:
            check_solutions(table, oracle, accuracy)  # type: ignore[arg-type]

        for form, file in forms.items():
            found[f"{name}-{form}"] = Model(file, folder / "stores" / f"{name}-{form}", check)
    for name in PEDIGREES:
        kind = make_kind(name, 3)
        records = make_records(kind, 3)

        def check_kind(table: pd.DataFrame, _: bool, kind: Kind = kind, records: Records = records) -> None:
            check_breeding_values(table, kind, records)

        forms = {"toml": write_model(folder / name, kind, records), "xml": write_xml(folder / name, kind)}
        for form, file in forms.items():
            found[f"{name}-{form}"] = Model(file, folder / "stores" / f"{name}-{form}", check_kind)
    return found


def names() -> list[str]:
    return [*(f.__name__ for f in ROWS), *PEDIGREES]


@pytest.mark.parametrize("name", names())
def test_one_process_finds_the_dense_solutions(name: str, models: dict[str, Model], tmp_path: Path) -> None:
    for form in ("toml", "xml"):
        if (model := models.get(f"{name}-{form}")) is not None:
            run(model.file, Settings(tmp_path / form, model.store, rtol=RTOL, threads=1))
            model.check(read(tmp_path / form), form == "toml")


def test_both_forms_are_one_model(models: dict[str, Model]) -> None:
    both = [name for name in names() if f"{name}-xml" in models]
    assert len(both) > 30
    for name in both:
        toml, xml = (load_model(models[f"{name}-{form}"].file, read_schema) for form in ("toml", "xml"))
        for part in ("equations", "subfactors", "variances", "pedigrees", "matrices"):
            assert getattr(toml, part) == getattr(xml, part), name


def test_two_ranks_find_the_dense_solutions(models: dict[str, Model], mpiexec: str, tmp_path: Path) -> None:
    chosen = {n: m for n, m in models.items() if n.endswith("toml") or n.startswith(AS_XML)}
    listed = [[str(m.file), str(m.store), str(tmp_path / name)] for name, m in chosen.items()]
    jobs = tmp_path / "jobs.json"
    jobs.write_text(json.dumps({"rtol": RTOL, "models": listed, "settings": {}}))
    script = Path(__file__).with_name("mpi_cases.py")
    command = [mpiexec, "-n", "2", sys.executable, str(script), str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "errors.json").read_text()) == {}
    for name, model in chosen.items():
        model.check(read(tmp_path / name), False)
