"""The checkpoint of the rounds, and of which fit it is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
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
        digest.update(repr((s.kind, s.size, s.fix.tolist(), s.equal, s.start[s.fix].tolist())).encode())
    digest.update(repr((problem.keys, likelihood.reml)).encode())
    return digest.hexdigest()


def write_checkpoint(path: Path, label: str, sigmas: Sequence[Floats], number: int, loglik: float) -> None:
    """Write the covariance matrices of a round, whole or not at all."""
    content = {"label": label, "round": number, "loglik": loglik, "sigmas": [s.tolist() for s in sigmas]}
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
