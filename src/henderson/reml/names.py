"""The names of the parameters that a fit is free to change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from henderson.language.spec import RESIDUAL, ModelSpec, VarianceSpec
from henderson.reml.inference import parameter_name
from henderson.reml.setup import size_of, structure_of


def free_names(spec: ModelSpec, n: int) -> Sequence[str]:
    """Return the names of the `n` values that `optimise.free_values` gives: random variances, then residual classes.

    Classes of the residual are counted from 1, for the model does not name them; numbers alone if `n` does not fit.
    """
    random = [name for v in spec.variances if v.name != RESIDUAL for name in _free(spec, v, None)]
    residual = spec.residual
    if residual.by is None:
        names = random + _free(spec, residual, None)
    else:
        each = max(1, len(_free(spec, residual, None)))
        names = list(random)
        for k in range((n - len(random)) // each):
            names += _free(spec, residual, f"{residual.by} {k + 1}")
    return names if len(names) == n else [str(k + 1) for k in range(n)]


def _free(spec: ModelSpec, variance: VarianceSpec, label: str | None) -> list[str]:
    size = size_of(spec, variance)
    structure = structure_of(variance, size, np.ones(size), np.eye(size))
    key = (variance.name, label)
    return [parameter_name(key, e.row, e.col, structure, "covariance") for e in structure.elements() if not e.fixed]
