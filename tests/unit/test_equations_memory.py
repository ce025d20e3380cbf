"""The memory estimate against the arrays that a solve really holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dairy import dairy_data, dairy_model
from henderson.equations.design import build_design
from henderson.equations.memory import counts_of, counts_of_store, estimate, estimate_embedded, estimate_per_rank
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.language.spec import JobSpec
from henderson.partitions.threads import Team
from henderson.solvers.solve import Equations
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


def test_solves_alone_let_go_of_the_records_as_they_were_read() -> None:
    spec, data = dairy_model(), dairy_data(20_000, 12_000, 500)
    counts = counts_of(data)
    whole = {item.what: item.bytes for item in estimate(spec, counts)}
    lean = {item.what: item.bytes for item in estimate_embedded(spec, counts)}
    assert lean["responses"] < whole["records"]
    assert lean["4 vectors"] == whole["5 vectors"] * 4 // 5
    with_pev = replace(spec, jobs=(*spec.jobs, JobSpec("pev")))
    assert estimate_embedded(with_pev, counts) == estimate(with_pev, counts)
    with Equations(spec, data, 2) as equations:
        equations.let_go_of_records()
        design, parts = equations.operator.design, equations.operator.partitions
        assert sum(s.codes.nbytes for s in design.slots) == len(equations.data.records) == 0
        assert lean["level codes of records"] == sum(p.records.slots.nbytes + p.records.pattern.nbytes for p in parts)
        report = equations.solve(rtol=1e-8).report
    assert report.converged


def test_individuals_with_records_and_parents_are_counted() -> None:
    data = dairy_data(20_000, 12_000, 500)
    counts = counts_of(data)
    codes = data.records.related["id", "ped"]
    pedigree = data.pedigrees["ped"]
    assert counts.n_recorded["id"] == len(np.unique(codes[codes >= 0]))
    known = np.concatenate([codes, pedigree.sire, pedigree.dam])
    assert counts.n_parents["ped"] == len(np.unique(known[known >= 0]))
