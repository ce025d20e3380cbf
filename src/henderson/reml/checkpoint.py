"""The checkpoint of the rounds, and of which fit it is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from henderson.reml.result import Noise, Round, Rounds

if TYPE_CHECKING:
    from henderson.equations.model import Design
    from henderson.partitions.communicator import Communicator
    from henderson.reml.result import RemlOptions
    from henderson.reml.sampled_setup import SampledProblem
    from henderson.reml.setup import Problem

Floats = NDArray[np.float64]


def label_of(problem: Problem) -> str:
    """Return what tells fits apart: a checksum of the records, the equations, the structures and the start values."""
    pattern, likelihood = problem.likelihood.pattern, problem.likelihood
    r = pattern.records
    digest = hashlib.blake2b(digest_size=16)
    arrays: list[NDArray[Any]] = [
        r.responses,
        r.weights,
        r.kind,
        r.observed,
        *r.terms,
        pattern.indptr,
        pattern.indices,
        *problem.starts,
    ]
    arrays += [part.inverse.data for part in pattern.gammas if part.inverse is not None]
    for a in arrays:
        digest.update(f"{a.dtype.str}{a.shape}".encode())
        digest.update(np.ascontiguousarray(a).data.cast("B") if a.size else b"")
    for s in problem.structures:
        digest.update(repr((s.kind, s.size, s.fix.tolist(), s.equal, s.rank, s.start[s.fix].tolist())).encode())
    digest.update(repr((problem.keys, likelihood.reml)).encode())
    return digest.hexdigest()


def label_of_sampled(design: Design, problem: SampledProblem, options: RemlOptions, communicator: Communicator) -> str:
    """Return what tells Monte Carlo fits apart, the same for any number of processes. **Collective**."""
    digest = hashlib.blake2b(digest_size=16)
    arrays = [*design.responses, *design.coefficients, *([] if design.weights is None else [design.weights])]
    words = [a.view(np.uint64) for a in map(np.ascontiguousarray, arrays)]
    codes: list[NDArray[Any]] = [design.patterns.codes, *(slot.codes for slot in design.slots)]
    words += [c.astype(np.uint64) for c in codes]
    place = np.arange(design.n_records, dtype=np.uint64) + np.uint64(design.first_record)
    sums = np.array([np.sum(w * (np.uint64(2) * place + np.uint64(1))) for w in words], np.uint64)  # modulo 2^64
    digest.update(communicator.sum(sums).tobytes())
    for s, start in zip(problem.structures, problem.starts, strict=True):
        values = [f"{v:.5g}" for v in start.ravel()]
        digest.update(repr((s.kind, s.size, s.fix.tolist(), s.equal, s.rank, values)).encode())
    groups = [(g.name, g.n_levels) for g in design.groups]
    digest.update(repr((problem.keys, groups, options.method, options.sampling.seed)).encode())
    return digest.hexdigest()


def write_checkpoint(path: Path, label: str, sigmas: Sequence[Floats], number: int, loglik: float) -> None:
    """Write the covariance matrices of a round, whole or not at all."""
    _write(path, {"label": label, "round": number, "loglik": loglik, "sigmas": [s.tolist() for s in sigmas]})


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(json.dumps(content))
    os.replace(part, path)


def read_checkpoint(path: Path, label: str) -> list[Floats] | None:
    """Return the covariance matrices of a checkpoint, None if there is none of the fit with this label."""
    try:
        content = json.loads(path.read_text())
        return [np.array(s, np.float64) for s in content["sigmas"]] if content["label"] == label else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_rounds(path: Path, label: str, rounds: Rounds) -> None:
    """Write where Monte Carlo rounds are, whole or not at all."""
    content = asdict(rounds)
    content["sigmas"] = [s.tolist() for s in rounds.sigmas]
    _write(path, {"label": label, "rounds": content})


def read_rounds(path: Path, label: str) -> Rounds | None:
    """Return where Monte Carlo rounds were, None if there is no checkpoint of the fit with this label.

    The last round is to be done again: its point is there, its solutions are not.
    """
    try:
        content = json.loads(path.read_text())
        if content["label"] != label:
            return None
        found = content["rounds"]
        history = [
            Round(**(r | {"parameters": tuple(r["parameters"]), "noise": _noise(r["noise"])}))
            for r in found["history"][:-1]
        ]
        sigmas = [np.array(s, np.float64) for s in found["sigmas"]]
        return Rounds(sigmas, found["samples"], history, found["damping"], found["tight"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _noise(content: dict[str, Any]) -> Noise:
    return Noise(**(content | {"errors": tuple(content["errors"])}))
