"""The memory estimate against the arrays that a solve really holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.product_bench import dairy_data, dairy_model
from henderson.equations.design import build_design
from henderson.equations.memory import counts_of, counts_of_store, estimate, estimate_per_rank
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.partitions.threads import Team
from henderson.store.reader import open_store
from oracles.random_files import Written


def test_estimate_covers_what_is_allocated_and_not_much_more() -> None:
    spec, data = dairy_model(), dairy_data(20_000, 12_000, 500)
    rows = {item.what: item.bytes for item in estimate(spec, counts_of(data))}
    with Team(2) as team:
        operator = build_operator(full_rank(build_design(spec, data)), data, team)
        parts = operator.partitions
        slots = sum(p.records.slots.nbytes + p.records.pattern.nbytes for p in parts)
        pedigree = sum(r.sire.nbytes + r.dam.nbytes + r.precision.nbytes for p in parts for r in p.relationship if r)  # type: ignore[union-attr]
        vectors = 5 * sum(v.nbytes for v in operator.zeros())
    assert slots <= rows["level codes of records"] <= 2 * slots
    assert rows["relationships"] == pytest.approx(pedigree, rel=0.01)
    assert rows["5 vectors"] == pytest.approx(vectors, rel=0.02)
    blocks = 8 * 6 * sum(g.n_levels for g in operator.design.groups)
    assert rows["preconditioner"] == blocks


def test_a_larger_problem_is_estimated_without_being_made() -> None:
    from henderson.equations.memory import Counts

    counts = Counts(10**9, {"herd": 10**6, "id": 10**8}, {"ped": 10**8}, {})
    rows = {item.what: item.bytes for item in estimate(dairy_model(), counts)}
    assert rows["5 vectors"] == 5 * 8 * 3 * (10**8 + 10**6)


@pytest.mark.parametrize("seed", range(4))
def test_counts_of_a_store_are_those_of_its_data(seed: int, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest(load_model(Written(seed, tmp_path).toml, read_schema), store)
    assert counts_of_store(store) == counts_of(open_store(store))


def test_a_share_is_a_share() -> None:
    spec, counts = dairy_model(), counts_of(dairy_data(20_000, 12_000, 500))
    whole = sum(item.bytes for item in estimate(spec, counts))
    shares = [sum(item.bytes for item in estimate_per_rank(spec, counts, n)) for n in (1, 2, 4)]
    assert shares[0] == whole
    assert whole / 2 < shares[1] < 0.8 * whole
    assert whole / 4 < shares[2] < 0.4 * whole
