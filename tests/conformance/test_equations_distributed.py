"""The equations of several processes are those of one: levels, columns left out, C x and right-hand side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.partitions.threads import Team
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.solvers.solve import Stages, set_up
from henderson.store import schema
from henderson.store.reader import open_store
from oracles.pedigree_files import KINDS, make_kind, make_records, write_model
from oracles.random_files import Written

WORKER = Path(__file__).with_name("shares_worker.py")
RANKS = 4
N_RANDOM = 4
SECONDS = 240

A = 'gamma = { A = { pedigree = "ped" } }'


def variances(*more: str, **sizes: int) -> str:
    """Return the sections of covariances of these sizes; `more` are whole lines for the last one."""
    sections = [f'[variance."{name}"]\nsigma = {(np.eye(n) + 0.5).tolist()}' for name, n in sizes.items()]
    sections = [f"{text}\n{A}" if '"g"' in text else text for text in sections]
    return "\n".join([*sections, *more])


def equations(text: str) -> str:
    return f'[model]\npolynomials = ["x"]\nequations = """\n{text}\n"""\n'


TRIO = "id,sire,dam\na,0,0\nb,0,0\nc,a,b\nd,a,c\n"
# pedigree, records, model
FEW = {
    "two animals": (
        "id,sire,dam\nb,a,0\na,0,0\n",
        "y,id,h\n2.5,b,x\n",
        equations("y = h*b1 + id*u(v(g(1)))") + variances(g=1, res=1),
    ),
    "three records": (
        "id,sire,dam\na,0,0\n",
        "y,z,id,h\n2,1,a,x\n1,4,a,w\n7,NA,a,x\n",
        equations("y = h*b1\nz = h*b2 + 1*m") + variances(res=2),
    ),
    "one class": (
        TRIO,
        "y,id,h,x\n2,a,9,1\n3,b,10,1\n4,c,10,1\n1,a,9,1\nNA,a,,1\n",
        equations("y = x(t(co))*c + h*b1 + id*u(v(g(1))) + id*p(v(pe(1)))") + variances(g=1, pe=1, res=1),
    ),
    "interactions": (
        TRIO,
        "y,id,h,s\n2,a,9,1\n3,b,10,1\n4,c,10,2\n1,a,9,2\n5,d,9,1\n3,d,10,2\n",
        '[model]\nfixed = "y ~ h + h:s"\nrandom = "~ vm(id, ped) + ide(id) + h:id"\n'
        + variances("", **{"id": 1, "id_2": 1, "h:id": 1, "res": 1}),
    ),
    "levels that are 0": (
        "id,sire,dam\n7,0,0\n8,0,0\n12,7,8\n",
        "y,id,dam,h\n2,12,0,1\n3,7,8,2\n4,8,12,0\n1,7,7,2\n5,7,0,1\n",
        equations("y = h*b1 + id*u(v(g(1))) + dam*m(v(g(2))) + dam*p(v(pe(1)))") + variances(g=2, pe=1, res=1),
    ),
    "residual classes and single levels": (
        TRIO,
        "y,z,id,s,x\n2,1,a,F,1\n3,NA,b,M,2\n4,3,c,F,0.5\nNA,1,a,M,3\n5,2,d,Z,1\n",
        equations("y = s*b1 + x(t(co);w(s=M))*c1 + id*u(v(g(1)))\nz = 1*m + id(w(s=F))*u2(v(g(2)))")
        + variances('by = "s"', g=2, res=2),
    ),
    "groups": (
        "id,sire,dam\np,0,0\nq,0,0\na,p,q\nb,p,q\nc,a,b\nd,a,q\ne,c,d\n",
        "y,id,h\n2,a,1\n3,b,2\n4,c,2\n1,e,1\n5,d,3\n2,e,3\n",
        equations("y = h*b1 + id(t(gg(ped)))*r + id*u(v(g(1))) + id*p(v(pe(1)))") + variances(g=1, pe=1, res=1),
    ),
}


def small_files(folder: Path, pedigree: str, records: str, model: str) -> Path:
    (folder / "ped.csv").write_text(pedigree)
    (folder / "records.csv").write_text(records)
    groups = "phantomparents = 2\n" if "gg(ped)" in model else ""
    classes = 'classes = ["h", "s"]\n' if "fixed" in model else ""
    text = f'[data]\nrecords = "records.csv"\n{classes}[pedigree.ped]\nfile = "ped.csv"\n{groups}'
    (folder / "model.toml").write_text(text + model)
    return folder / "model.toml"


def simulated(folder: Path) -> Path:
    simulate(
        SimulationConfig(animals=900, records=1.2, herds=12, repeats=2, maternal=True, seed=5, cohorts=6, threads=1),
        folder,
    )
    return folder / "model.toml"


def prepare(folder: Path, model: Path) -> None:
    """Write the store of a model, and what the equations of one process give."""
    (folder / "model").write_text(str(model))
    spec = load_model(model, read_schema)
    ingest(spec, folder / "s.zarr")
    data = open_store(folder / "s.zarr")
    rng = np.random.default_rng(1)
    with Team(1) as team:
        operator = set_up(spec, data, team, Stages())
        design = operator.design
        x = [rng.normal(size=(g.n_levels, g.width)) for g in design.groups]
        y = operator.zeros()
        operator.apply(operator.from_levels(x), y)
        product, rhs = operator.to_levels(y), operator.to_levels(operator.right_hand_side())
    arrays: dict[str, np.ndarray] = {
        "n_equations": np.array(design.n_equations),
        "n_records": np.array(design.n_records),
        "dropped": np.array(design.dropped, np.int64),
        "residual_classes": np.array(design.residual_classes),
        "sizes": np.array([g.n_levels for g in design.groups]),
        "y_scale": np.array(max(np.abs(v).max(initial=0.0) for v in product)),
        "rhs_scale": np.array(max(np.abs(v).max(initial=0.0) for v in rhs)),
    }
    for k, group in enumerate(design.groups):
        arrays |= {f"x{k}": x[k], f"y{k}": product[k], f"rhs{k}": rhs[k], f"labels{k}": np.array(group.labels.text())}
        kept = design.kept[k]
        arrays |= {} if kept is None else {f"kept{k}": kept}
    np.savez(folder / "expected.npz", **arrays)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shares")
    files = tmp_path_factory.mktemp("files")
    kinds = {f"pedigree, {kind}": make_kind(kind, 3) for kind in ("fixed groups", *KINDS)}
    for name in [*FEW, *kinds, "simulated", *(f"random {seed}" for seed in range(N_RANDOM))]:
        folder, source = root / name, files / name
        folder.mkdir()
        source.mkdir()
        if name in FEW:
            prepare(folder, small_files(source, *FEW[name]))
        elif name in kinds:
            prepare(folder, write_model(source, kinds[name], make_records(kinds[name], 3)))
        elif name == "simulated":
            prepare(folder, simulated(source))
        else:
            prepare(folder, Written(int(name.split()[1]), source).toml)
    return root


def test_shares_are_those_of_one_process(cases: Path, mpiexec: str) -> None:
    command = [mpiexec, "-n", str(RANKS), sys.executable, str(WORKER), str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert done.stdout.splitlines() == [f"shares of {n} agree" for n in range(1, RANKS + 1)]


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(bytes(data))


def test_all_ranks_tell_the_same_error(tmp_path: Path, mpiexec: str) -> None:
    """One rank only meets what is wrong: all end with its words, none waits for ever."""
    animals = [f"a{k}" for k in range(40)]
    pedigree = "id,sire,dam\n" + "".join(f"{a},0,0\n" for a in animals)
    records = "y,id,h,x\n" + "".join(f"{k},{a},{k % 3},{k % 5}\n" for k, a in enumerate(animals))
    model = equations("y = h*b1 + x(t(co(p(1);c(n))))*c1 + id*u(v(g(1))) + id*p(v(pe(1)))") + variances(
        g=1, pe=1, res=1
    )
    cases = {
        "infinite": model.replace('"x"', '"1/(x-4)"'),
        "missing file": model,
        "damaged record": model,
        "damaged label": model,
        "no store": model,
    }
    root = tmp_path / "cases"
    root.mkdir()
    for name, text in cases.items():
        folder, source = root / name, tmp_path / name
        folder.mkdir()
        source.mkdir()
        file = small_files(source, pedigree, records, text)
        (folder / "model").write_text(str(file))
        ingest(load_model(file, read_schema), folder / "s.zarr")
    (root / "missing file" / "s.zarr" / "records" / "value.0" / "c" / "0").unlink()
    damage(root / "damaged record" / "s.zarr" / "records" / "value.0" / "c" / "0")
    damage(next((root / "damaged label" / "s.zarr" / "pedigree" / "ped" / "id" / "c" / "0").rglob("0")))
    (root / "no store" / "s.zarr").rename(tmp_path / "elsewhere")
    command = [mpiexec, "-n", "3", sys.executable, str(WORKER.with_name("shares_errors_worker.py")), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    words = {
        "infinite": "InputFileError: polynomial 1",
        "missing file": "a file of the store is missing",
        "damaged record": "the store cannot be read",
        "damaged label": "the store cannot be read",
        "no store": "there is no store",
    }
    for name, texts in told.items():
        assert len(texts) == 3
        assert set(texts) == {texts[0]}
        assert words[name] in texts[0]
    assert told.keys() == words.keys()


def test_no_rank_holds_more_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpiexec: str) -> None:
    """Peak of allocated arrays, rows of the pedigree's arrays that are read, and the local vectors: a quarter each."""
    monkeypatch.setattr(schema, "CHUNK_ROWS", 1 << 10)
    monkeypatch.setattr(schema, "SHARD_ROWS", 1 << 12)
    simulate(
        SimulationConfig(animals=30_000, herds=100, repeats=2, maternal=True, seed=5, threads=1), tmp_path / "data"
    )
    model = tmp_path / "data" / "model.toml"
    ingest(load_model(model, read_schema), tmp_path / "s.zarr", workers=1)
    script = WORKER.with_name("shares_memory_worker.py")
    command = [mpiexec, "-n", str(RANKS), sys.executable, str(script), str(model), str(tmp_path / "s.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout)
    (alone,) = told["1"]
    for peak, rows, elements in told[str(RANKS)]:
        assert peak < 0.35 * alone[0]
        assert rows < 0.3 * alone[1]
        assert elements < 0.3 * alone[2]
