"""Pieces of a store are what the store has there, renumbered; what they do not reach is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.solvers.solve import solve_model
from henderson.store.model_data import ModelData
from henderson.store.pieces import pieces
from henderson.store.reader import open_store
from henderson.store.slices import StoreParts


def ingested(folder: Path) -> Path:
    spec = load_model(folder / "model.toml", read_schema, read_levels)
    ingest(spec, folder / "store", workers=1)
    return folder / "store"


@pytest.fixture(scope="module", params=["animal", "testday"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "testday":
        simulate_testday(TestDayConfig(scale=0.0003, threads=1), folder)
    else:
        simulate(SimulationConfig(animals=2_000, traits=("y", "z"), threads=1), folder)
    return ingested(folder)


def rows(data: ModelData) -> dict[int, tuple[object, ...]]:
    """Return all that is known of each record, by the names of the user."""
    r = data.records
    columns: list[list[object]] = [np.asarray(y).tolist() for y in (*r.responses.values(), *r.covariates.values())]
    for name, codes in r.classes.items():
        labels = data.levels[name].text(0, len(data.levels[name]))
        columns.append([labels[c] if c >= 0 else None for c in codes.tolist()])
    for (_, name), codes in r.related.items():
        labels = data.pedigrees[name].labels.text(0, len(data.pedigrees[name]))
        columns.append([labels[c] if c >= 0 else None for c in codes.tolist()])
    of_rows = zip(*columns, strict=True)
    return {k: tuple(map(repr, values)) for k, values in zip(r.row.tolist(), of_rows, strict=True)}


def parents(data: ModelData) -> dict[str, tuple[str | None, str | None, float]]:
    (pedigree,) = data.pedigrees.values()
    labels = pedigree.labels.text(0, len(pedigree))

    def name(k: int) -> str | None:
        return labels[k] if k >= 0 else None

    both = zip(pedigree.sire.tolist(), pedigree.dam.tolist(), pedigree.mendelian_variance.tolist(), strict=True)
    return {label: (name(s), name(d), v) for label, (s, d, v) in zip(labels, both, strict=True)}


def test_all_of_it_is_the_store(store: Path) -> None:
    whole, found = open_store(store), pieces(StoreParts(store), 1.0, 8)
    assert rows(found) == rows(whole)
    assert parents(found) == parents(whole)


@pytest.mark.parametrize(("share", "n_pieces"), [(0.3, 4), (0.1, 1), (0.01, 3)])
def test_pieces_have_whole_individuals_with_their_parents(store: Path, share: float, n_pieces: int) -> None:
    whole, found = open_store(store), pieces(StoreParts(store), share, n_pieces)
    there, here = rows(whole), rows(found)
    assert 0 < len(here) < len(there)
    assert here.items() <= there.items()
    (codes,), (all_codes,) = found.records.related.values(), whole.records.related.values()
    labels = next(iter(found.pedigrees.values())).labels
    recorded = {labels.text(int(k), int(k) + 1)[0] for k in np.unique(codes[codes >= 0])}
    names = next(iter(whole.pedigrees.values())).labels
    numbers = dict(zip(names.text(0, len(names)), range(len(names)), strict=True))
    assert len(codes) == sum(np.isin(all_codes, [numbers[name] for name in recorded]))  # all records of each
    before, after = parents(whole), parents(found)
    assert after.keys() <= before.keys()
    for animal, (sire, dam, variance) in after.items():
        full = before[animal]
        if animal in recorded:
            assert (sire, dam, variance) == full
        lost = (sire != full[0]) + (dam != full[1])
        assert sire in (None, full[0])
        assert dam in (None, full[1])
        assert variance == pytest.approx(min(1.0, full[2] + 0.25 * lost))
    for column, codes in found.records.classes.items():
        assert set(codes[codes >= 0].tolist()) == set(range(len(found.levels[column])))


KINDS = """[data]
records = "records.csv"
[pedigree.ped]
file = "pedigree.csv"
{pedigree}
[matrix.K]
file = "K.csv"
[model]
equations = "y = herd*h + id*u(v(g(1))) + dam*m(v(g(2))) + pen*k(v(k(1)))"
[variance.g]
sigma = [[1, 0.1], [0.1, 0.5]]
gamma = {{ A = {{ pedigree = "ped" }} }}
[variance.k]
sigma = 1
gamma = {{ matrix = "K" }}
[variance.res]
sigma = 2
by = "sex"
classes = {{ F = [[1]] }}
"""


@pytest.mark.parametrize("kind", ["phantomparents = 2", "probabilistic = true"])
def test_groups_loadings_matrices_and_own_sigmas_come_along(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n = 400
    pedigree = ["G1,0,0", "G2,0,0"] if "phantom" in kind else ["G1,0,0,1", "G2,0,0,1"]
    for k in range(n):
        sire, dam = ("G1", "G2") if k < 20 else (f"a{2 * rng.integers(k // 2)}", f"a{2 * rng.integers(k // 2) + 1}")
        whole = [f"a{k},{sire},{dam}"]
        pedigree += whole if "phantom" in kind else [f"{whole[0]},0.6", f"a{k},0,{dam},0.3"]
    records = [
        f"a{k},a{2 * rng.integers(k // 2) + 1},h{k // 20},k{rng.integers(30)},{'FM'[k % 2]},{rng.normal():.3f}"
        for k in range(100, n)
    ]
    header = "id,sire,dam" if "phantom" in kind else "id,sire,dam,probability"
    (tmp_path / "pedigree.csv").write_text("\n".join([header, *pedigree]) + "\n")
    (tmp_path / "records.csv").write_text("\n".join(["id,dam,herd,pen,sex,y", *records]) + "\n")
    near = [f"k{k},k{k + 1},0.3" for k in range(29)]
    (tmp_path / "K.csv").write_text("\n".join(["i,j,value", *(f"k{k},k{k},1.5" for k in range(30)), *near]) + "\n")
    (tmp_path / "model.toml").write_text(KINDS.format(pedigree=kind))
    spec = load_model(tmp_path / "model.toml", read_schema, read_levels)
    store = ingested(tmp_path)
    sizes = []
    for share in (1.0, 0.3):
        data = pieces(StoreParts(store), share, 3)
        (animals,) = data.pedigrees.values()
        assert (animals.groups is not None) == ("phantom" in kind)
        if animals.groups is not None:
            assert animals.labels.take(animals.groups).text() == ["G1", "G2"]
        else:
            assert animals.loadings is not None
            assert len(animals.loadings.indptr) == len(animals) + 1
            assert animals.loadings.parent.max() < len(animals)
        found = solve_model(spec, data, threads=1)
        assert found.report.converged
        sizes.append(found.n_equations)
    assert sizes[1] < sizes[0]
