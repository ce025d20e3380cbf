"""What this version cannot compute yet, though the model language knows it."""

from __future__ import annotations

from collections.abc import Iterator

from henderson.errors import Problem
from henderson.language.spec import RESIDUAL, ModelSpec, VarianceSpec

COMPUTABLE_JOBS = ("solve", "pev", "reml", "yhat", "residuals")


def unsupported(spec: ModelSpec) -> list[Problem]:
    """Return one problem for each part of the model that this version cannot compute."""
    file = str(spec.source) if spec.source else None
    sentences = dict.fromkeys((*_jobs(spec), *_variances(spec)))
    return [Problem(f"{sentence} not supported yet", file, remedy=None) for sentence in sentences]


def _jobs(spec: ModelSpec) -> Iterator[str]:
    names = [job.name for job in spec.jobs]
    for variance in spec.variances:
        # The jobs may have been replaced by others than those of the parameter file, whose check allowed this.
        given = variance.sigma is not None or variance.type is not None or variance.blocks is not None
        if not given and not variance.classes and not {"reml", "sample"} & set(names):
            yield f"job {names[0] if names else 'solve'!r} without sigma of variance {variance.name!r} is"
    for job in spec.jobs:
        sampled = job.name == "reml" and job.get("method") in ("mc-ai", "mc-em")
        if job.name not in COMPUTABLE_JOBS:
            method = f" (method {job.get('method')!r})" if job.get("method") else ""
            yield f"job {job.name!r}{method} is"
        elif sampled and job.get("REML") is False:
            yield f"job 'reml': maximum likelihood (REML = false) by Monte Carlo, method {job.get('method')!r}, is"
        elif job.name == "reml" and (own := [v for v in spec.variances if _held(v)]):
            for v in own:
                what = "records" if v.name == RESIDUAL else "levels"
                yield f"job 'reml' of a model whose variance {v.name!r} has a Sigma of its own for {what} is"


def _held(variance: VarianceSpec) -> bool:
    """Return whether levels have a Sigma of their own that no job estimates; residual classes are estimated."""
    return variance.blocks is not None or (variance.by is not None and variance.name != RESIDUAL)


def _variances(spec: ModelSpec) -> Iterator[str]:
    for variance in spec.variances:
        for part in _parts(variance):
            yield f"variance {variance.name!r}: {part}"


def _parts(variance: VarianceSpec) -> Iterator[str]:
    if variance.gamma.kind in ("H", "G"):
        what = "single-step relationships" if variance.gamma.kind == "H" else "genomic relationships built from markers"
        yield f"gamma of kind {variance.gamma.kind} ({what}) is"
    if variance.type is not None:
        yield f"type {variance.type!r} is"
