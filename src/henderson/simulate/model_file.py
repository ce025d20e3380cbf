"""The parameter file that fits what was simulated, and the true parameters as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.simulate.config import SimulationConfig
from henderson.simulate.records import AGE_MEAN
from henderson.simulate.values import Truth

RTOL = 1e-8


def equations(config: SimulationConfig) -> list[str]:
    """Return the model of each trait in lmt's language."""
    t, lines = config.n_traits, []
    for i, trait in enumerate(config.traits, start=1):
        terms = [f"herd*h{i}"]
        if config.records_all:
            terms.append(f"sex*s{i}")
        terms.append(f"age(t(co))*a{i}")
        terms.append(f"id*u{i}(v(g({i})))")
        if config.maternal:
            terms.append(f"dam*m{i}(v(g({t + i})))")
        if config.has_permanent:
            terms.append(f"id*p{i}(v(pe({i})))")
        lines.append(f"{trait} = {' + '.join(terms)}")
    return lines


def model_toml(config: SimulationConfig) -> str:
    """Return the parameter file: the model that made the records, with its true (co)variances."""
    suffix = config.format
    parts = [
        f"# {config.animals} simulated animals ({config.pedigree}), {config.n_records} records, seed {config.seed}",
        f'[data]\nrecords = "records.{suffix}"',
        f'[pedigree.ped]\nfile = "pedigree.{suffix}"',
        '[model]\nequations = """\n' + "\n".join(equations(config)) + '\n"""',
        f'[variance.g]\nsigma = {_rows(config.genetic())}\ngamma = {{ A = {{ pedigree = "ped" }} }}',
    ]
    if config.has_permanent:
        parts.append(f"[variance.pe]\nsigma = {_rows(config.permanent())}")
    parts.append(f"[variance.res]\nsigma = {_rows(config.residual())}")
    parts.append(f'[jobs]\nrun = ["solve"]\nsolve = {{ rtol = {RTOL:g} }}')
    return "\n\n".join(parts) + "\n"


def truth_json(config: SimulationConfig, truth: Truth) -> str:
    """Return the true parameters; herd effects and breeding values lie in files of their own, named here."""
    values: dict[str, Any] = {
        "config": dataclasses.asdict(config),
        "n_records": config.n_records,
        "n_herds": config.n_herds,
        "traits": config.traits,
        "sigma_g": config.genetic().tolist(),
        "sigma_e": config.residual().tolist(),
        "sigma_p": config.permanent().tolist() if config.has_permanent else None,
        "mean": truth.mean.tolist(),
        "sex_effect": truth.sex.tolist(),
        "age_effect": truth.age.tolist(),
        "age_mean": AGE_MEAN,
        "herd_sd": config.per_trait(config.herd_sd).tolist(),
        "missing": config.per_trait(config.missing).tolist(),
        "mean_inbreeding": float(np.mean(truth.inbreeding)),
        "max_inbreeding": float(np.max(truth.inbreeding)),
        "breeding_values": f"truth_animals.{config.format}",
        "herd_effects": f"truth_herds.{config.format}",
    }
    return json.dumps(values, indent=1) + "\n"


def _rows(matrix: NDArray[np.float64]) -> str:
    """Return a matrix as TOML with every digit, so that what is fitted is what was simulated."""
    return "[" + ", ".join("[" + ", ".join(repr(float(v)) for v in row) + "]" for row in matrix) + "]"
