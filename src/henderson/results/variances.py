"""`variances.json` and the table of variance components."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.reml.result import RemlFit, SigmaEstimate
from henderson.results.files import write_json

Json = dict[str, Any]


def write_variances(fit: RemlFit, out: Path) -> Path:
    """Return the path of `variances.json`, written whole; numbers that are withheld are null."""
    path = out / "variances.json"
    write_json(path, variances_content(fit))
    return path


def variances_content(fit: RemlFit) -> Json:
    """Return the estimates as `variances.json` has them."""
    variances: Json = {}
    for (name, label), estimate in fit.sigma.items():
        if label is None:
            variances[name] = _estimate(estimate)
        else:
            variances.setdefault(name, {"classes": {}})["classes"][label] = _estimate(estimate)
    return {
        "variances": variances,
        "loglik": fit.loglik,
        "loglik_full": fit.loglik_full,
        "method": fit.method,
        "stop_reason": fit.stop_reason.value,
        "parameters": [
            {
                "name": p.name,
                "variance": p.variance,
                "class": p.label,
                "row": p.row,
                "col": p.col,
                "kind": p.kind,
                "value": p.value,
                "se": p.se,
                "constraint": p.constraint,
            }
            for p in fit.parameters
        ],
        "functions": {name: {"value": _number(f.value), "se": _number(f.se)} for name, f in fit.functions.items()},
    }


def variance_rows(fit: RemlFit) -> list[tuple[str, str, str, str, str]]:
    """Return one row per parameter and function: name, estimate, standard error, z ratio, constraint."""
    rows: list[tuple[str, str, str, str, str]] = [
        (
            p.name,
            f"{p.value:.6g}",
            "" if p.se is None else f"{p.se:.4g}",
            "" if p.z_ratio is None else f"{p.z_ratio:.2f}",
            p.constraint,
        )
        for p in fit.parameters
    ]
    for name, f in fit.functions.items():
        known = math.isfinite(f.se) and f.se > 0
        rows.append(
            (
                name,
                f"{f.value:.6g}",
                f"{f.se:.4g}" if known else "",
                f"{f.value / f.se:.2f}" if known else "",
                "function",
            )
        )
    return rows


def _estimate(e: SigmaEstimate) -> Json:
    return {
        "positions": list(e.positions),
        "sigma": e.sigma.tolist(),
        "se": _matrix(e.se),
        "correlation": _matrix(e.correlation),
        "correlation_se": _matrix(e.correlation_se),
    }


def _matrix(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[_number(v) for v in row] for row in values.tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
