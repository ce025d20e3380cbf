"""`variances.json` and the table of variance components."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from henderson.reml.result import RemlFit, SigmaEstimate
from henderson.results.files import finite, write_json
from henderson.results.solution_files import variances_file

Json = dict[str, Any]


def write_variances(fit: RemlFit, out: Path) -> Path:
    """Return the path of `variances.json`, written whole; numbers that are withheld are null."""
    path = variances_file(out)
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
        "loglik": finite(fit.loglik),
        "loglik_full": finite(fit.loglik_full),
        **({} if fit.loglik_mc_se is None else {"loglik_mc_se": finite(fit.loglik_mc_se)}),
        "method": fit.method,
        "algorithm": fit.algorithm,
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
            | ({} if fit.mc_covariance is None else {"mc_se": p.mc_se})
            for p in fit.parameters
        ],
        "functions": {
            name: {"value": finite(f.value), "se": finite(f.se)} | ({} if f.mc_se is None else {"mc_se": f.mc_se})
            for name, f in fit.functions.items()
        },
    }


COLUMNS = ("component", "estimate", "std error", "z ratio", "constraint", "Monte Carlo error")


def variance_rows(fit: RemlFit) -> list[tuple[str, ...]]:
    """Return one row per parameter and function, in `COLUMNS`; the last one is empty if nothing was sampled."""
    rows: list[tuple[str, ...]] = [
        (
            p.name,
            f"{p.value:.6g}",
            "" if p.se is None else f"{p.se:.4g}",
            "" if p.z_ratio is None else f"{p.z_ratio:.2f}",
            p.constraint,
            "" if p.mc_se is None else f"{p.mc_se:.2g}",
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
                "" if f.mc_se is None else f"{f.mc_se:.2g}",
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
    } | ({} if e.mc_se is None else {"mc_se": _matrix(e.mc_se)})


def _matrix(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[finite(v) for v in row] for row in values.tolist()]


def loglik_text(fit: RemlFit) -> str:
    """Return the log-likelihood, with its Monte Carlo error if it was sampled."""
    return f"{fit.loglik:.4f}" if fit.sampled is None else str(fit.sampled)
