"""REML (or ML) of a model: start, rounds, standard errors."""

from __future__ import annotations

from collections.abc import Callable

from henderson.language.spec import ModelSpec
from henderson.reml.result import RemlFit, RemlOptions, Round
from henderson.store.model_data import ModelData

Callback = Callable[[int, Round], None]


def fit_reml(
    spec: ModelSpec, data: ModelData, *, options: RemlOptions = RemlOptions(), callback: Callback | None = None
) -> RemlFit:
    """Return the estimates of every parameter that is not held."""
    raise NotImplementedError
