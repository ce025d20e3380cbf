"""Files that lmt writes beside its ``results.csv``, with its names, for programs that read them.

so_conv.csv
    The history of conjugate gradients: iteration, alpha, beta, r'M^-1 r, criterion CD, criterion CR, seconds. The
    criteria are lmt's natural logarithms, ln(||x_i - x_(i-1)|| / ||x_(i-1)||) and ln(||C x_i - b|| / ||b||).
ai_pa.csv, ai_ai.csv
    Of AI-REML. The last row of ``ai_pa`` holds the parameters: random variances in the order of the parameter file,
    the residual last; within one 11, 12, ..., 1n, 22, 23, ... If all are free there is a row for each round before it.
    ``ai_ai`` holds the upper triangle, column by column, of the average information matrix at the end: its inverse is
    the covariance matrix of the estimates (the one program known to read lmt's takes it once so and once halved).
<variance>_sigma_SA.csv
    Of EM-REML: a row for each round, the upper triangle of that Sigma column by column.
<pedigree>_sorted.csv, <pedigree>_crossref.csv
    The pedigree renumbered from 1, parents before progeny, 0 unknown; the original id of each row. Pedigrees with
    weighted parents (probabilistic, maternal grandsires) have the cross-reference alone.
<pedigree>.bin
    Blocks ``a`` (diagonal of A), ``ai`` (of A^-1), ``m`` (mendelian variances), ``pe`` (the renumbered pedigree), each:
    eight bytes of its name, padded with zeros, two int64 (rows, columns), the values as float64; all little-endian.
    lmt's own layout is not published.

lmt writes no header; ours begin with a line of names after ``#``, which its format allows.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from henderson.language.spec import RESIDUAL, ModelSpec
from henderson.language.xml_tree import read_tree
from henderson.pedigree.transform import relationship_diagonal
from henderson.reml.result import Parameter, RemlFit
from henderson.results.files import replacing
from henderson.results.solution_tables import csv_options, labels_to_arrow, needs_quotes
from henderson.solvers.trace import Step
from henderson.store.model_data import Labels, Pedigree
from henderson.store.schema import group_path
from henderson.store.slices import StoreParts

ROWS = 1 << 17  # animals at a time
PER_ANIMAL = 120  # bytes
XML = ".xml"

Floats = NDArray[np.float64]
log = logging.getLogger(__name__)


def from_lmt(spec: ModelSpec) -> bool:
    """Return whether lmt's files are wanted: the model is in its language, or asks for them."""
    return spec.lmt_files or (spec.source is not None and spec.source.suffix.lower() == XML)


def write_history(steps: Sequence[Step], out: Path) -> Path:
    """Return the path of ``so_conv.csv``."""
    path = out / "so_conv.csv"
    rows = (
        (k, s.alpha, s.beta, s.product, _log(s.change), _log(s.residual), s.seconds) for k, s in enumerate(steps, 1)
    )
    return _write_rows(path, ("iteration", "alpha", "beta", "rMr", "CD", "CR", "seconds"), rows)


def write_lmt_files(spec: ModelSpec, store: Path, out: Path, fits: Sequence[RemlFit], memory: int) -> tuple[Path, ...]:
    """Return the files written: those of the last fit, and of the pedigrees that the store has.

    A pedigree that would take more than `memory` bytes (`PER_ANIMAL` each) is left out, with a warning.
    """
    files = list(_write_fit(fits[-1], spec, out)) if fits else []
    parts = StoreParts(store)
    for declared in spec.pedigrees:
        if declared.name not in parts.pedigrees:
            continue
        if (need := PER_ANIMAL * parts.sizes()[declared.name]) > memory:
            log.warning(
                "lmt's files of pedigree %s are not written: they would take %.1f GiB, %.1f GiB are there",
                declared.name, need / 2**30, memory / 2**30,
            )  # fmt: skip
        else:
            files += _write_pedigree(parts, declared.name, out)
    return tuple(files)


def _write_fit(fit: RemlFit, spec: ModelSpec, out: Path) -> Iterable[Path]:
    order = _in_file_order(fit, spec)
    if not order:
        return
    parameters = [fit.parameters[k] for k in order]
    names = [_name(p) for p in parameters]
    rounds = _rounds(fit, order)
    yield _write_rows(out / "ai_pa.csv", names, [*rounds, [p.value for p in parameters]])
    covariance = fit.covariance[np.ix_(order, order)]
    known = np.flatnonzero(np.diag(covariance) > 0)
    information = np.zeros_like(covariance)
    information[np.ix_(known, known)] = np.linalg.pinv(covariance[np.ix_(known, known)], hermitian=True)
    upper = [(i, j) for j in range(len(order)) for i in range(j + 1)]
    pairs = [f"{names[i]}:{names[j]}" for i, j in upper]
    yield _write_rows(out / "ai_ai.csv", pairs, [[float(information[i, j]) for i, j in upper]])
    if fit.algorithm in ("em", "mc-em"):
        yield from _write_sigmas(parameters, rounds, out)


def _write_sigmas(parameters: Sequence[Parameter], rounds: Sequence[Sequence[float]], out: Path) -> Iterable[Path]:
    for name in dict.fromkeys(p.variance for p in parameters):
        mine = [k for k, p in enumerate(parameters) if p.variance == name]
        mine.sort(key=lambda k: (max(parameters[k].row, parameters[k].col), min(parameters[k].row, parameters[k].col)))
        rows = [[row[k] for k in mine] for row in (*rounds, [p.value for p in parameters])]
        yield _write_rows(out / f"{name}_sigma_SA.csv", [_name(parameters[k]) for k in mine], rows)


def _in_file_order(fit: RemlFit, spec: ModelSpec) -> list[int]:
    """Return the parameters in lmt's order; none if some are correlations or of residual classes, which it has not."""
    if any(p.kind == "correlation" or p.label is not None for p in fit.parameters):
        return []
    names = [*_named_in_file(spec), *sorted({p.variance for p in fit.parameters} - {RESIDUAL}), RESIDUAL]

    def place(k: int) -> tuple[int, int, int]:
        p = fit.parameters[k]
        return names.index(p.variance), min(p.row, p.col), max(p.row, p.col)

    return sorted(range(len(fit.parameters)), key=place)


def _named_in_file(spec: ModelSpec) -> list[str]:
    """Return the variances in the order of lmt's key ``vars``; none for other parameter files."""
    if spec.source is None or spec.source.suffix.lower() != XML or not spec.source.is_file():
        return []
    element = read_tree(spec.source).child("vars")
    declared = [] if element is None else [c.name for c in element.children]
    return [name for name in declared if name != RESIDUAL]


def _rounds(fit: RemlFit, order: Sequence[int]) -> list[list[float]]:
    """Return the parameters of each round, if the rounds tell all of them."""
    values = [p.value for p in fit.parameters]
    if not fit.history or len(fit.history[-1].parameters) != len(values):
        return []
    if not np.allclose(fit.history[-1].parameters, values, rtol=1e-6):
        return []
    return [[r.parameters[k] for k in order] for r in fit.history[:-1]]


def _write_pedigree(parts: StoreParts, name: str, out: Path) -> list[Path]:
    sizes = parts.sizes()
    everyone = {of: (0, n if of == name else 0) for of, n in sizes.items()}
    pedigree = parts.read((0, 0), everyone).pedigrees[name]
    order = np.argsort(pedigree.generation, kind="stable")
    number = np.zeros(len(order) + 1, np.int64)  # the last stands for unknown parents
    number[order] = np.arange(1, len(order) + 1)
    renumbered = [number[pedigree.sire], number[pedigree.dam]] if pedigree.loadings is None else []
    files = [_write_crossref(parts.labels(group_path("pedigree", name)), order, out / f"{name}_crossref.csv")]
    if renumbered:
        files.append(_write_sorted(order, renumbered, out / f"{name}_sorted.csv"))
    path = out / f"{name}.bin"
    with replacing(path) as part, part.open("wb") as file:
        blocks = {"a": relationship_diagonal(pedigree), "ai": _inverse_diagonal(pedigree)}
        blocks["m"] = pedigree.mendelian_variance
        for title, values in blocks.items():
            file.write(struct.pack("<8sqq", title.encode(), len(order), 1))
            file.write(np.ascontiguousarray(values[order], "<f8").tobytes())
        if renumbered:
            file.write(struct.pack("<8sqq", b"pe", len(order), 3))
            for start in range(0, len(order), ROWS):
                rows = order[start : start + ROWS]
                table = np.column_stack([np.arange(start + 1, start + 1 + len(rows)), *(p[rows] for p in renumbered)])
                file.write(np.ascontiguousarray(table, "<f8").tobytes())
    return [*files, path]


def _inverse_diagonal(pedigree: Pedigree) -> Floats:
    """Return the diagonal of A^-1: 1 / d of each animal, and w^2 / d of its progeny (Henderson 1976)."""
    precision = 1.0 / pedigree.mendelian_variance
    out = precision.copy()
    n = len(pedigree)
    both = (pedigree.sire == pedigree.dam) & (pedigree.sire >= 0)
    for parent in (pedigree.sire, pedigree.dam):
        known = (parent >= 0) & ~both
        out += np.bincount(parent[known], 0.25 * precision[known], n)
    out += np.bincount(pedigree.sire[both], precision[both], n)
    if (own := pedigree.loadings) is not None:
        animal = np.repeat(np.arange(n), np.diff(own.indptr))
        out += np.bincount(own.parent, own.weight**2 * precision[animal], n)
    return out


def _write_crossref(labels: Labels, order: NDArray[np.int64], path: Path) -> Path:
    schema = pa.schema([("id", pa.string())])

    def blocks() -> Iterable[Labels]:
        return (labels.take(order[k : k + ROWS]) for k in range(0, len(order), ROWS))

    options = csv_options(any(needs_quotes(block) for block in blocks()), header=False)
    with replacing(path) as part, pa_csv.CSVWriter(part, schema, write_options=options) as csv:
        for block in blocks():
            csv.write_batch(pa.RecordBatch.from_arrays([labels_to_arrow(block)], schema=schema))
    return path


def _write_sorted(order: NDArray[np.int64], parents: Sequence[NDArray[np.int64]], path: Path) -> Path:
    schema = pa.schema([(n, pa.int64()) for n in ("id", "sire", "dam")])
    with replacing(path) as part, pa_csv.CSVWriter(part, schema, write_options=csv_options(False, header=False)) as csv:
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            columns = [np.arange(start + 1, start + 1 + len(rows)), *(p[rows] for p in parents)]
            csv.write_batch(pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=schema))
    return path


def _write_rows(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"#{','.join(names)}\n")
        file.writelines(",".join(map(_number, row)) + "\n" for row in rows)
    return path


def _name(parameter: Parameter) -> str:
    return f"{parameter.variance}_{parameter.row}_{parameter.col}"


def _number(value: float) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else repr(value)


def _log(value: float) -> float:
    return math.log(value) if 0.0 < value < math.inf else math.nan
