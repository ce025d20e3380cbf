"""An animal model of one trait that tests of commands run; and simulated data of two traits."""

from __future__ import annotations

from pathlib import Path

from henderson.jobs.simulate import simulate_from_options

ANIMAL_MODEL = """
[data]
records = "records.csv"

[pedigree.ped]
file = "pedigree.csv"

[model]
equations = "y = herd*h + id*u(v(g(1)))"

[variance.g]
sigma = [[2.0]]
gamma = { A = { pedigree = "ped" } }

[variance.res]
sigma = [[4.0]]
"""


def simulate_two_traits(folder: Path) -> None:
    """Write a small model of two traits with its data."""
    simulate_from_options(
        folder, animals=300, pedigree="random", traits=2, records=280, herds=8, missing=0.1, seed=3, file_format="csv",
        scale=None, integer_ids=False, progress=None,
    )  # fmt: skip
