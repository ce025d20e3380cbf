"""Daughter yield deviations and effective daughter contributions, beside those computed from the records alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import henderson
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from oracles.dense_pedigree import relationship_matrix

Floats = NDArray[np.float64]
TRAITS = ("y1", "y2")


def corrected(records: pd.DataFrame, result: henderson.Result) -> pd.DataFrame:
    """The records less the solutions of herd and age, which is centred over the records that have the trait."""
    found = {"id": records["id"]}
    for k, trait in enumerate(TRAITS, start=1):
        age = records["age"] - records["age"][records[trait].notna()].mean()
        herd = result.effect(f"h{k}")["value"].reindex(records["herd"]).to_numpy()
        found[trait] = records[trait] - herd - age * result.effect(f"a{k}")["value"].iloc[0]
    return pd.DataFrame(found)


def own_information(y: Floats, R: Floats, P: Floats) -> tuple[Floats, Floats]:
    """Z'V^-1 Z and Z'V^-1 y of one animal with records y (n, traits): V has residuals and its permanent environment."""
    n, t = y.shape
    V = np.kron(np.eye(n), R) + np.kron(np.ones((n, n)), P)
    seen = ~np.isnan(y.ravel())
    Z = np.kron(np.ones((n, 1)), np.eye(t))[seen]
    ZV = Z.T @ np.linalg.inv(V[np.ix_(seen, seen)])
    return ZV @ Z, ZV @ y.ravel()[seen]


def test_deviations_are_those_of_the_progeny(tmp_path: Path) -> None:
    """DYD = (sum M_c)^-1 sum M_c (2 y_c - u_mate), M_c = (J_c^-1 + d_c S)^-1 / 4 (VanRaden & Wiggans 1991; Mrode)."""
    config = SimulationConfig(animals=350, traits=TRAITS, repeats=2, missing=0.3, seed=8, herds=6)
    simulate(config, tmp_path / "data")
    model = tmp_path / "data" / "model.toml"
    jobs = '[jobs]\nrun = ["solve", "pev"]\nsolve = { method = "direct" }\npev = { contributions = true }\n'
    model.write_text(model.read_text().split("[jobs]")[0] + jobs)
    result = henderson.solve(model, out=tmp_path / "out", threads=1)
    S, P, R = config.genetic(), config.permanent(), config.residual()
    pedigree = pd.read_csv(tmp_path / "data" / "pedigree.csv", dtype=str).set_index("id")
    parents = {i: (s, d) for i, s, d in pedigree[["sire", "dam"]].itertuples()}
    place = {name: k for k, name in enumerate(parents)}
    rows = np.array([[place.get(p, -1) for p in both] for both in parents.values()], np.int32)
    A = relationship_matrix(rows[:, 0], rows[:, 1])
    y = corrected(pd.read_csv(tmp_path / "data" / "records.csv", dtype={"id": str, "herd": str}), result)
    u = pd.DataFrame({k: result.effect(f"u{k + 1}")["value"] for k in range(2)})
    M_of: dict[str, Floats] = {}
    v_of: dict[str, Floats] = {}
    for child, mine in y.groupby("id"):
        both = [p for p in parents[child] if p in parents]
        at = [place[p] for p in both]
        d = A[place[child], place[child]] - 0.25 * A[np.ix_(at, at)].sum()
        J, r = own_information(mine[list(TRAITS)].to_numpy(), R, P)
        M = 0.25 * np.linalg.solve(np.eye(2) + d * J @ S, J)
        v = 0.5 * np.linalg.solve(np.eye(2) + d * J @ S, r)  # M (2 y_c), without J^-1
        for parent in both:
            mate = [p for p in both if p != parent]
            of_mate = u.loc[mate[0]].to_numpy() if mate else np.zeros(2)
            M_of[parent] = M_of.get(parent, np.zeros((2, 2))) + M
            v_of[parent] = v_of.get(parent, np.zeros(2)) + v - M @ of_mate
    found = pd.read_csv(tmp_path / "out" / "contributions.csv", dtype={"level": str})
    dyd = found.pivot(index="level", columns="subfactor", values="dyd").dropna()
    assert len(dyd) > 50
    for parent, row in dyd.iterrows():
        np.testing.assert_allclose(row.to_numpy(), np.linalg.solve(M_of[parent], v_of[parent]), rtol=1e-4, atol=1e-4)
    determined = {p for p, M in M_of.items() if np.linalg.cond(M) < 1e6}
    assert determined <= set(dyd.index)


def test_one_record_of_a_daughter_of_an_unknown_dam_counts_as_one(tmp_path: Path) -> None:
    """Effective daughter contributions are numbers of daughters where herds take nothing away."""
    rng = np.random.default_rng(3)
    pedigree, records, number = ["id,sire,dam"], ["id,y"], 1000
    daughters = {f"s{k}": int(rng.integers(2, 40)) for k in range(60)}
    pedigree += [f"{s},0,0" for s in daughters]
    for sire, n in daughters.items():
        for _ in range(n):
            number += 1
            pedigree.append(f"{number},{sire},0")
            records.append(f"{number},{rng.normal():.4f}")
    (tmp_path / "pedigree.csv").write_text("\n".join(pedigree) + "\n")
    (tmp_path / "records.csv").write_text("\n".join(records) + "\n")
    (tmp_path / "model.toml").write_text(
        '[data]\nrecords = "records.csv"\n[pedigree.ped]\nfile = "pedigree.csv"\n'
        '[model]\nequations = "y = 1*m + id*u(v(g(1)))"\n'
        '[variance.g]\nsigma = 0.3\ngamma = { A = { pedigree = "ped" } }\n[variance.res]\nsigma = 0.7\n'
        '[jobs]\nrun = ["pev"]\npev = { contributions = true }\n'
    )
    henderson.solve(tmp_path / "model.toml", out=tmp_path / "out", threads=1)
    found = pd.read_csv(tmp_path / "out" / "contributions.csv", dtype={"level": str}).set_index("level")
    for sire, n in daughters.items():
        assert abs(found.loc[sire, "edc"] / n - 1.0) < 0.05
