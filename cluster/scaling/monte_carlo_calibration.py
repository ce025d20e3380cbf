"""Whether Monte Carlo REML tells its own errors: against the exact method over seeds, against the truth over data.

    python cluster/scaling/monte_carlo_calibration.py seeds|truth [--model NAME|FILE ...] [--runs 50] [--animals 2000]
        [--mc-error 0.1] [--json FILE]

`seeds` fits one simulated data set by the exact method, and by Monte Carlo with as many seeds: per parameter the
standard deviation of the estimates over seeds relative to the Monte Carlo error reported, the deviation from exact in
these errors, and the same for the log-likelihood. `truth` fits as many data sets, both ways: how often the 95 %
interval (standard and Monte Carlo error together) holds the value that was simulated.

Models: bivariate (two traits); maternal (direct and maternal effects, correlated); regression (breeding values of
intercept and slope, five records an animal, permanent environment); of `seeds` also parameter files with their data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import markdown_table
import numpy as np
import pandas as pd

from henderson.ingest.column_levels import read_levels
from henderson.ingest.header import read_schema
from henderson.ingest.run import ingest
from henderson.language.load import load_model
from henderson.language.spec import ModelSpec
from henderson.reml.fit import fit_reml
from henderson.reml.result import RemlFit, RemlOptions, Sampling
from henderson.simulate.config import SimulationConfig
from henderson.simulate.run import simulate
from henderson.store.model_data import ModelData
from henderson.store.reader import open_store

MODELS = ("bivariate", "maternal", "regression")
MATERNAL = ((30.0, -4.0), (-4.0, 20.0))
REGRESSION = ((30.0, 6.0), (6.0, 12.0))
RECORDS = 5  # of an animal, in the regression
PERMANENT, RESIDUAL = 15.0, 40.0
NORMAL = 1.959964  # two-sided 5 %

MODEL = """
[data]
records = "records.csv"
[pedigree.ped]
file = "pedigree.csv"
[model]
equations = "{equation}"
[variance.g]
gamma = {{ A = {{ pedigree = "ped" }} }}
{rest}
[jobs]
run = ["reml"]
"""


@dataclass(frozen=True)
class Case:
    """A model on its data, and the values that were simulated by the name of the parameter."""

    spec: ModelSpec
    data: ModelData
    truth: dict[str, float]


def make(model: str, animals: int, seed: int, folder: Path) -> Case:
    """Return a simulated data set."""
    common = {"animals": animals, "seed": seed, "missing": 0.0, "age_effect": 0.0}  # age is in no model
    if model == "bivariate":
        config = SimulationConfig(**common, traits=("y1", "y2"), records=1.0, recorded="all", herd_sd=3.0)
        genetic, rest = config.genetic(), {"res": config.residual()}
        equation = "y1 = herd*h1 + sex*s1 + id*u1(v(g(1)))\\ny2 = herd*h2 + sex*s2 + id*u2(v(g(2)))"
    elif model == "maternal":
        config = SimulationConfig(
            **common, traits=("y",), records=1.0, recorded="all", maternal=True, sigma_g=MATERNAL, unknown=0.0
        )
        genetic, rest = config.genetic(), {"res": config.residual()}
        equation = "y = herd*h + sex*s + id*u(v(g(1))) + dam*m(v(g(2)))"
    else:
        config = SimulationConfig(**common, traits=("y1", "y2"), records=0.6, sigma_g=REGRESSION)
        genetic = np.array(REGRESSION)
        rest = {"pe": np.array([[PERMANENT]]), "res": np.array([[RESIDUAL]])}
        equation = "y = herd*h + t(t(co))*b + id*u(v(g(1))) + t(t(co(n(id))))*w(v(g(2))) + id*p(v(pe(1)))"
    simulate(config, folder)
    if model == "regression":
        regress(folder, seed)
    toml = MODEL.format(equation=equation, rest="\n".join(f"[variance.{name}]" for name in rest))
    (folder / "reml.toml").write_text(toml, encoding="utf-8")
    truth = {}
    for name, sigma in {"g": genetic, **rest}.items():
        truth |= {f"{name}[{i + 1},{j + 1}]": float(sigma[i, j]) for i in range(len(sigma)) for j in range(i + 1)}
    return case_of(folder / "reml.toml", folder, truth)


def case_of(file: Path, folder: Path, truth: dict[str, float]) -> Case:
    """Return a parameter file with its data, whose store is made in a folder."""
    spec = load_model(file, read_schema, read_levels)
    ingest(spec, folder / "reml.zarr", workers=1)
    return Case(spec, open_store(folder / "reml.zarr"), truth)


def regress(folder: Path, seed: int) -> None:
    """Replace the records by five of each recorded animal, whose breeding value is a line in `t`."""
    rng = np.random.default_rng(seed)
    animals = pd.read_csv(folder / "records.csv", usecols=["id", "herd"])
    bred = pd.read_csv(folder / "truth_animals.csv").set_index("id")
    line = bred.loc[animals["id"]].filter(like="u").to_numpy()[:, :2]
    n = len(animals)
    which = np.repeat(np.arange(n), RECORDS)
    t = rng.uniform(-1.0, 1.0, len(which))
    herd = dict(zip(animals["herd"].unique(), rng.normal(0.0, 5.0, animals["herd"].nunique()), strict=True))
    y = 100.0 + animals["herd"].map(herd).to_numpy()[which] + 3.0 * t + line[which, 0] + line[which, 1] * t
    y += rng.normal(0.0, PERMANENT**0.5, n)[which] + rng.normal(0.0, RESIDUAL**0.5, len(which))
    rows = {"id": animals["id"].to_numpy()[which], "herd": animals["herd"].to_numpy()[which], "t": t, "y": y}
    pd.DataFrame(rows).to_csv(folder / "records.csv", index=False)


def fit(case: Case, method: str, seed: int = 1, mc_error: float = 0.1) -> RemlFit:
    """Return a fit from start values of the data, on one thread."""
    sampling = Sampling(seed=seed, mc_error=mc_error)
    options = RemlOptions(method=method, threads=1, start="data", sampling=sampling)  # type: ignore[arg-type]
    return fit_reml(case.spec, case.data, options=options)


def numbers(found: RemlFit) -> dict[str, tuple[float, float, float]]:
    """Return value, standard error and Monte Carlo error of each element of a covariance matrix."""
    rows = {}
    for p in found.parameters:
        if p.kind != "correlation":
            name = f"{p.variance}[{p.row},{p.col}]"
            rows[name] = (p.value, np.nan if p.se is None else p.se, 0.0 if p.mc_se is None else p.mc_se)
    return rows


def over_seeds(model: str, animals: int, runs: int, folder: Path, mc_error: float) -> list[dict[str, float | str]]:
    """Return one row per parameter, and one of the log-likelihood."""
    simulated = model in MODELS
    case = make(model, animals, 1, folder / "data") if simulated else case_of(Path(model), folder, {})
    exact = fit(case, "ai")
    start = time.process_time()
    fits = [fit(case, "mc-ai", 1000 * (seed + 1), mc_error) for seed in range(runs)]
    seconds = (time.process_time() - start) / runs
    fits = [f for f in fits if f.stop_reason.converged]
    if len(fits) < runs:
        print(f"{model}: {runs - len(fits)} of {runs} fits did not converge")
    found = [numbers(f) for f in fits]
    rows: list[dict[str, float | str]] = []
    for name, (truth, se, _) in numbers(exact).items():
        values, errors = (np.array([f[name][k] for f in found]) for k in (0, 2))
        rows.append(_row(model, name, truth, values, errors) | {"mc_error": _rms(errors) / se, "se": se})
    values = np.array([f.loglik for f in fits])
    errors = np.array([f.loglik_mc_se for f in fits], np.float64)
    rows.append(_row(model, "logL", exact.loglik, values, errors))
    samples = [f.history[-1].noise.samples for f in fits if f.history[-1].noise is not None]
    rounds = [f.rounds for f in fits]
    for row in rows:
        row |= {"seconds": seconds, "samples": float(np.median(samples)), "rounds": float(np.median(rounds))}
    return rows


def _row(model: str, name: str, exact: float, values: np.ndarray, errors: np.ndarray) -> dict[str, float | str]:
    z = (values - exact) / errors
    return {
        "model": model,
        "parameter": name,
        "exact": exact,
        "mean": float(values.mean()),
        "ratio": float(values.std(ddof=1) / _rms(errors)),
        "bias": float((values.mean() - exact) / values.std(ddof=1) * len(values) ** 0.5),
        "z": _rms(z),
        "within_2": float(np.mean(np.abs(z) < 2.0)),
        "within_3": float(np.mean(np.abs(z) < 3.0)),
    }


def over_data(model: str, animals: int, runs: int, folder: Path, mc_error: float) -> list[dict[str, float | str]]:
    """Return one row per parameter: coverage of the intervals of both methods, their distance in Monte Carlo errors.

    Parameters at the boundary have no interval.
    """
    exact, sampled, truth = [], [], {}
    for run in range(runs):
        case = make(model, animals, 100 + run, folder / f"data{run}")
        truth = case.truth
        pair = fit(case, "ai"), fit(case, "mc-ai", 100 + run, mc_error)
        if not all(f.stop_reason.converged for f in pair):
            print(f"{model}, data {run}: {'; '.join(f.stop_reason.value for f in pair)}")
            continue
        exact.append(numbers(pair[0]))
        sampled.append(numbers(pair[1]))
    rows: list[dict[str, float | str]] = []
    for name, value in truth.items():
        a, b = (np.array([f[name] for f in fits]) for fits in (exact, sampled))
        known = ~np.isnan(a[:, 1]) & ~np.isnan(b[:, 1])  # not at the boundary
        a, b = a[known], b[known]
        wide = np.hypot(b[:, 1], b[:, 2])
        rows.append(
            {
                "model": model,
                "parameter": name,
                "truth": value,
                "exact_mean": float(a[:, 0].mean()),
                "mean": float(b[:, 0].mean()),
                "se": float(b[:, 1].mean()),
                "inside": float(np.sum(np.abs(b[:, 0] - value) < NORMAL * wide)),
                "exact_inside": float(np.sum(np.abs(a[:, 0] - value) < NORMAL * a[:, 1])),
                "fits": float(len(b)),
                "z": _rms((b[:, 0] - a[:, 0]) / b[:, 2]),
            }
        )
    return rows


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def table(rows: Sequence[dict[str, float | str]]) -> str:
    """Return the rows as a table in Markdown, and the pooled numbers of each model."""
    lines = []
    if "ratio" in rows[0]:
        names = ("exact", "mean", "MC error / se", "SD / MC error", "rms (estimate - exact) / MC error", "within 2")
        lines.append(markdown_table.head(("model", "parameter", *names)))
        for r in rows:
            share = f"{r['mc_error']:.3f}" if "mc_error" in r else ""
            lines.append(
                f"| {r['model']} | {r['parameter']} | {r['exact']:.4f} | {r['mean']:.4f} | {share} | "
                f"{r['ratio']:.2f} | {r['z']:.2f} | {r['within_2']:.2f} |"
            )
    else:
        names = ("truth", "mean exact", "mean", "se", "coverage exact", "coverage", "rms (MC - exact) / MC error")
        lines.append(markdown_table.head(("model", "parameter", *names)))
        for r in rows:
            n = float(r["fits"])
            lines.append(
                f"| {r['model']} | {r['parameter']} | {r['truth']:g} | {r['exact_mean']:.2f} | {r['mean']:.2f} | "
                f"{r['se']:.2f} | {float(r['exact_inside']) / n:.2f} | {float(r['inside']) / n:.2f} | {r['z']:.2f} |"
            )
    return "\n".join(lines)


def pooled(rows: Sequence[dict[str, float | str]]) -> str:
    """Return one line per model."""
    lines = []
    for model in dict.fromkeys(r["model"] for r in rows):
        mine = [r for r in rows if r["model"] == model and r["parameter"] != "logL"]
        if "ratio" in mine[0]:
            ratios = np.array([r["ratio"] for r in mine], np.float64)
            lines.append(
                f"{model}: SD / MC error {_rms(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}), "
                f"{mine[0]['rounds']:.0f} rounds, {mine[0]['samples']:.0f} samples, "
                f"{mine[0]['seconds']:.1f} CPU s a fit"
            )
        else:
            n = sum(float(r["fits"]) for r in mine)
            shares = [sum(float(r[key]) for r in mine) / n for key in ("inside", "exact_inside")]
            lines.append(f"{model}: coverage {shares[0]:.3f} of {n:.0f} intervals, exact {shares[1]:.3f}")
    return "\n".join(lines)


def main() -> None:
    """Run the study that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("seeds", "truth"))
    parser.add_argument("--model", nargs="+", default=list(MODELS), metavar="NAME|FILE")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--animals", type=int, default=2000)
    parser.add_argument("--mc-error", type=float, default=0.1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if unknown := [m for m in given.model if m not in MODELS and (given.study == "truth" or not Path(m).exists())]:
        parser.error(f"--model {unknown[0]}: no model, and no parameter file to study over seeds")
    study = over_seeds if given.study == "seeds" else over_data
    rows: list[dict[str, float | str]] = []
    for model in given.model:
        with tempfile.TemporaryDirectory() as folder:
            rows += study(model, given.animals, given.runs, Path(folder), given.mc_error)
        print(pooled([r for r in rows if r["model"] == model]), flush=True)
    print(table(rows))
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
