"""The memory estimate against the arrays that a solve really holds."""

from __future__ import annotations

import pytest

from benchmarks.product_bench import dairy_data, dairy_model
from henderson.equations.design import build_design
from henderson.equations.memory import counts_of, estimate
from henderson.equations.operator import build_operator
from henderson.equations.rank import full_rank
from henderson.partitions.threads import Team


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
