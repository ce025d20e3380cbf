"""Pieces of a store are what the store has there, renumbered; what they do not reach is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.simulate.testday import simulate_testday
from henderson.simulate.testday_config import TestDayConfig
from henderson.store.model_data import ModelData
from henderson.store.pieces import pieces
from henderson.store.reader import open_store
from henderson.store.slices import StoreParts


def ingested(folder: Path) -> Path:
    spec = load_model(folder / "model.toml", read_schema)
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
