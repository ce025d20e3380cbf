"""The same answers on any number of ranks as of the embedded engine: published cases, and a model of three traits.

Every number of ranks is one start of mpiexec, which solves all models one after the other.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from henderson.jobs.run import Settings, run

RTOL = 1e-13
VALUES = 1e-10  # relative to the largest solution of the sub-factor
HISTORY = 1e-8  # of ||r|| / ||b||

pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Solved:
    """What one run has written."""

    names: list[list[str]]
    values: NDArray[np.float64]
    history: NDArray[np.float64]
    lmt: list[list[str]] | None


def read(out: Path) -> Solved:
    with (out / "solutions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    lmt = None
    if (out / "results.csv").exists():
        with (out / "results.csv").open(newline="", encoding="utf-8") as file:
            lmt = [row[:3] for row in csv.reader(file)]
    history = json.loads((out / "run.json").read_text())["jobs"][0]["history"]
    return Solved([row[:3] for row in rows], np.array([float(r[3]) for r in rows[1:]]), np.array(history), lmt)


def published(shared_data: Path) -> list[Path]:
    command = [sys.executable, shared_data / "check_cases.py", "--list", "--only", "solve"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [shared_data / line.split()[0] for line in listed.splitlines()[:-1]]


def three_traits(folder: Path) -> Path:
    """Write and return a model of three traits with maternal genetic and permanent effects, and repeated records."""
    generator = np.random.default_rng(8)
    n_founders, n, n_records = 60, 500, 1500
    folder.mkdir()
    # odd numbers are males, of which few have offspring
    sire = [0] * n_founders + [2 * int(generator.integers(0, k // 8)) + 1 for k in range(n_founders, n)]
    dam = [0] * n_founders + [2 * int(generator.integers(1, k // 2)) for k in range(n_founders, n)]
    parents = zip(sire, dam, strict=True)
    rows = [f"a{k},{f'a{s}' if s else 0},{f'a{d}' if d else 0}" for k, (s, d) in enumerate(parents, 1)]
    order = generator.permutation(n)  # the file is not sorted
    (folder / "pedigree.csv").write_text("id,sire,dam\n" + "\n".join(rows[k] for k in order) + "\n")
    lines = ["id,dam,herd,age,y1,y2,y3"]
    for animal in generator.integers(0, n, n_records).tolist():
        herd, age = int(generator.integers(0, 25)), float(generator.normal())
        values = 3.0 + 0.1 * herd + 0.5 * age + generator.normal(size=3)
        seen = [f"{v:.3f}" if generator.random() < 0.8 else "" for v in values]
        mother = f"a{dam[animal]}" if dam[animal] else "0"
        lines.append(f"a{animal + 1},{mother},h{herd},{age:.3f},{','.join(seen)}")
    (folder / "records.csv").write_text("\n".join(lines) + "\n")
    equations = [
        f"y{t} = herd*h{t} + age(t(co))*b{t} + id*u{t}(v(g({t}))) + dam*m{t}(v(g({t + 3}))) + id*p{t}(v(pe({t})))"
        for t in (1, 2, 3)
    ]
    g = np.eye(6) * 0.08 + 0.01
    pe, residual = np.eye(3) * 0.06 + 0.01, np.eye(3) * 0.7 + 0.1
    text = [
        '[data]\nrecords = "records.csv"\n[pedigree.ped]\nfile = "pedigree.csv"\n[model]\nequations = """',
        *equations,
        f'"""\n[variance.g]\nsigma = {g.tolist()}\ngamma = {{ A = {{ pedigree = "ped" }} }}',
        f"[variance.pe]\nsigma = {pe.tolist()}\n[variance.res]\nsigma = {residual.tolist()}\n",
    ]
    (folder / "three_traits.toml").write_text("\n".join(text))
    return folder / "three_traits.toml"


@dataclass(frozen=True)
class Models:
    """The models by name: parameter files, how to start ranks, and what the embedded engine finds."""

    folder: Path
    files: dict[str, Path]
    mpiexec: str
    embedded: dict[str, Solved]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, mpiexec: str) -> Models:
    folder = tmp_path_factory.mktemp("ranks")
    files = {f"{f.parent.name}-{f.name}": f for f in published(shared_data)}
    assert len(files) > 50
    files["three_traits"] = three_traits(folder / "data")
    embedded = {}
    for name, file in files.items():
        settings = Settings(folder / "embedded" / name, folder / "stores" / name, jobs=("solve",), rtol=RTOL, threads=1)
        run(file, settings)
        embedded[name] = read(folder / "embedded" / name)
    return Models(folder, files, mpiexec, embedded)


def solve_together(models: Models, ranks: int, names: list[str], **settings: str) -> dict[str, Solved]:
    """Return what `ranks` ranks find of the models named."""
    folder = models.folder / f"on-{ranks}-{'-'.join(settings.values())}"
    folder.mkdir()
    listed = [[str(models.files[n]), str(models.folder / "stores" / n), str(folder / n)] for n in names]
    (folder / "jobs.json").write_text(json.dumps({"rtol": RTOL, "models": listed, "settings": settings}))
    script = Path(__file__).with_name("mpi_cases.py")
    command = [models.mpiexec, "-n", str(ranks), sys.executable, str(script), str(folder / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "errors.json").read_text()) == {}
    return {name: read(folder / name) for name in names}


def differences(name: str, found: Solved, expected: Solved) -> list[str]:
    """Return what is wrong with the solutions of a model, in words."""
    if found.names != expected.names or found.lmt != expected.lmt:
        return [f"{name}: other rows, or in another order"]
    wrong = []
    subfactors = np.array([row[1] for row in expected.names[1:]])
    for subfactor in np.unique(subfactors):
        at = subfactors == subfactor
        scale = np.abs(expected.values[at]).max()
        off = np.abs(found.values[at] - expected.values[at]).max()
        if off > VALUES * scale + 1e-14:
            wrong.append(f"{name}: {subfactor} differs by {off:.1e} of {scale:.1e}")
    n = min(len(found.history), len(expected.history))
    if abs(len(found.history) - len(expected.history)) > 2:
        wrong.append(f"{name}: {len(found.history) - 1} rounds, not {len(expected.history) - 1}")
    off = np.abs(found.history[:n] - expected.history[:n]).max(initial=0.0)
    if off > HISTORY:
        wrong.append(f"{name}: the history differs by {off:.1e}")
    return wrong


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_any_number_of_ranks_finds_the_same(models: Models, ranks: int) -> None:
    found = solve_together(models, ranks, list(models.files))
    wrong = [w for name in models.files for w in differences(name, found[name], models.embedded[name])]
    assert wrong == []


def test_assembled_equations_give_the_same(models: Models) -> None:
    names = ["three_traits", *(n for n in models.files if n.startswith(("mrode08", "mrode09", "mrode06_2")))]
    assert len(names) > 6
    found = solve_together(models, 2, names, operator="assembled")
    assert [w for name in names for w in differences(name, found[name], models.embedded[name])] == []
