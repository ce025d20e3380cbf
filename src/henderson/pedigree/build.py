"""From the rows of a pedigree file to a checked `Pedigree`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from henderson.errors import MAX_PRINTED, InputFileError, Problem
from henderson.kernels.pedigree_order import generation_numbers
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.checks import group_problems, loop_problems, parent_edges, parent_problems
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from henderson.pedigree.metafounders import factor, gamma_of, metafounder_problems, n_groups
from henderson.pedigree.weighted import (
    Candidates,
    generations_of,
    maternal_grandparents,
    relations,
    split,
    uncertain,
)
from henderson.store.model_data import Labels, Loadings, Pedigree

log = logging.getLogger(__name__)

ROUNDED = 0.005  # a sum of probabilities so near 1 is 1: 0.333 three times
UNUSED_VARIANCE = 1.0  # of a group without progeny: its solution is then 0

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class PedigreeRows:
    """The rows of a pedigree file, each with its line (-1 for an added founder).

    sire, dam: animal or -1; with ``mgs`` the dam is the maternal grandsire. animal: the animal of each row, where it
    can have several (``probabilistic``), with their `probability`; granddam: with ``mgs``, if the file has it.
    """

    sire: Rows
    dam: Rows
    line: NDArray[np.int64]
    animal: Rows | None = None
    probability: NDArray[np.float64] | None = None
    granddam: Rows | None = None


def check_pedigree(
    name: str,
    labels: Labels,
    sire: Rows,
    dam: Rows,
    *,
    spec: PedigreeSpec,
    file: str,
    line: NDArray[np.int64],
    threads: int | None = None,
) -> Pedigree:
    """Return the pedigree of one row per animal: see `check_rows`."""
    rows = PedigreeRows(np.ascontiguousarray(sire, np.int32), np.ascontiguousarray(dam, np.int32), line)
    return check_rows(name, labels, rows, spec=spec, file=file, threads=threads)


def check_rows(
    name: str, labels: Labels, rows: PedigreeRows, *, spec: PedigreeSpec, file: str, threads: int | None = None
) -> Pedigree:
    """Return the pedigree with generations, inbreeding and mendelian variances, animals in the order given.

    With ``spec.inbreeding`` off, F is 0 everywhere and d is 1, 3/4 or 1/2 (Henderson 1976, rules without inbreeding).

    The first ``spec.phantomparents`` rows are phantom parents, which stand for genetic groups: for inbreeding and
    mendelian variances they are unknown, and their own d is infinite, so that A^-1 of the animals becomes that of
    animals and groups (Westell, Quaas & Van Vleck 1988; Quaas 1988). With ``spec.group_variance`` that is their d: the
    groups are random. With ``spec.metamatrix`` the first rows are metafounders: see `pedigree.metafounders`. For
    uncertain parents and maternal grandsires see `pedigree.weighted`.

    Raises `InputFileError` with every mistake at once: a bad matrix of the metafounders; fewer rows than phantom
    parents, or phantom parents that have parents; animals that are their own parent; sire and dam the same animal,
    or an animal used as both, unless ``spec.selfing``; probabilities below 0, or that sum to more than 1; loops, each
    with one cycle printed.

    Cost: see `generation_numbers` and `inbreeding`, or `relations`.
    """
    if problems := metafounder_problems(spec, file):
        raise InputFileError(problems)
    problems = group_problems(labels, rows.sire, rows.dam, spec=spec, file=file, line=rows.line, animal=rows.animal)
    problems += parent_problems(labels, rows.sire, rows.dam, spec=spec, file=file, line=rows.line, animal=rows.animal)
    build = _weighted if spec.probabilistic or spec.mgs else _plain
    pedigree = build(name, labels, rows, spec, file, problems, threads)
    return _with_groups(pedigree, spec, file)


def _plain(
    name: str,
    labels: Labels,
    rows: PedigreeRows,
    spec: PedigreeSpec,
    file: str,
    problems: list[Problem],
    threads: int | None,
) -> Pedigree:
    sire, dam = rows.sire, rows.dam
    generation, n_loops = generation_numbers(sire, dam)
    if n_loops:
        problems += loop_problems(labels, *parent_edges(sire, dam), file=file, line=rows.line)
    if problems:
        raise InputFileError(problems)
    n, gamma = n_groups(spec), gamma_of(spec)
    known_sire, known_dam, known_generation = sire, dam, generation
    if n:
        known_sire, known_dam = (np.where(p < n, np.int32(-1), p) for p in (sire, dam))
        known_generation, _ = generation_numbers(known_sire, known_dam)
    coefficients = np.zeros(len(sire))
    if gamma is not None:
        coefficients = inbreeding(sire, dam, known_generation, threads=threads, gamma=gamma)
        known_sire, known_dam = sire, dam
    elif spec.inbreeding:
        coefficients = inbreeding(known_sire, known_dam, known_generation, threads=threads)
    variance = mendelian_variance(known_sire, known_dam, coefficients)
    return Pedigree(
        name=name,
        labels=labels,
        sire=sire,
        dam=dam,
        generation=generation,
        inbreeding=coefficients,
        mendelian_variance=variance,
    )


def _weighted(
    name: str,
    labels: Labels,
    rows: PedigreeRows,
    spec: PedigreeSpec,
    file: str,
    problems: list[Problem],
    threads: int | None,
) -> Pedigree:
    if not spec.inbreeding:
        text = f"pedigree {name!r}: inbreeding is switched off"
        what = "mgs" if spec.mgs else "probabilistic"
        problems.append(Problem(text, file=file, remedy=f"leave 'inbreeding = false' or '{what} = true' out"))
    candidates, line = _candidates(len(labels), rows, spec)
    problems += _probability_problems(labels, rows, file)
    parents = candidates.parents()
    generation = generations_of(parents)
    if np.any(generation < 0):
        edges = parents.tocoo()
        problems += loop_problems(labels, edges.row.astype(np.int32), edges.col.astype(np.int32), file=file, line=line)
    if problems:
        raise InputFileError(problems)
    gamma = gamma_of(spec)
    fixed, known = None, candidates.parents(spec.phantomparents if gamma is None else 0)
    if gamma is not None:
        W, d = factor(gamma)
        entries = (W[np.nonzero(W)], np.nonzero(W))
        weights = csr_array(coo_array(entries, shape=(len(labels), len(labels))))
        fixed = weights, np.diag(gamma) - 1.0, d
    F, d = relations(candidates, known, generation, fixed, threads)
    sire, dam, loadings = split(parents)
    return Pedigree(
        name=name,
        labels=labels,
        sire=sire,
        dam=dam,
        generation=generation,
        inbreeding=F,
        mendelian_variance=d,
        loadings=loadings,
    )


def _candidates(n: int, rows: PedigreeRows, spec: PedigreeSpec) -> tuple[Candidates, NDArray[np.int64]]:
    """Return the candidates, and the first line of every animal."""
    if spec.mgs:
        return maternal_grandparents(rows.sire, rows.dam, rows.granddam), rows.line
    assert rows.animal is not None
    assert rows.probability is not None
    line = np.full(n, -1, np.int64)
    line[rows.animal[::-1]] = rows.line[::-1]
    total = np.bincount(rows.animal, weights=rows.probability, minlength=n)
    scale = np.where(np.abs(total - 1.0) <= ROUNDED, 1.0 / np.maximum(total, 0.5), 1.0)
    return uncertain(n, rows.animal, rows.sire, rows.dam, rows.probability * scale[rows.animal]), line


def _probability_problems(labels: Labels, rows: PedigreeRows, file: str) -> list[Problem]:
    """Return the animals whose probabilities are no probabilities."""
    if rows.animal is None or rows.probability is None:
        return []
    problems = []
    bad = np.flatnonzero(~((rows.probability >= 0.0) & (rows.probability <= 1.0 + 1e-6)))
    for row in bad[:MAX_PRINTED].tolist():
        text = f"probability {rows.probability[row]:g} of the parents of animal "
        text += labels.text(int(rows.animal[row]), int(rows.animal[row]) + 1)[0]
        problems.append(Problem(text, file=file, line=int(rows.line[row]), remedy="give a number from 0 to 1"))
    total = np.bincount(rows.animal, weights=rows.probability, minlength=len(labels))
    for animal in np.flatnonzero(total > 1.0 + ROUNDED)[:MAX_PRINTED].tolist() if not len(bad) else []:
        row = int(np.argmax(rows.animal == animal))
        text = f"the probabilities of the parents of animal {labels.text(animal, animal + 1)[0]} sum to"
        remedy = "they must not sum to more than 1; what they lack of 1 are unknown parents"
        problems.append(Problem(f"{text} {total[animal]:g}", file=file, line=int(rows.line[row]), remedy=remedy))
    return problems


def _with_groups(pedigree: Pedigree, spec: PedigreeSpec, file: str) -> Pedigree:
    """Return the pedigree with its groups: their mendelian variances, and the factor of Gamma of metafounders."""
    n = n_groups(spec)
    if not n:
        return pedigree
    variance = pedigree.mendelian_variance.copy()
    gamma = gamma_of(spec)
    loadings = pedigree.loadings
    if gamma is not None:
        W, variance[:n] = factor(gamma)
        loadings = _in_front(W, loadings, len(pedigree))
    else:
        variance[:n] = np.inf if spec.group_variance is None else spec.group_variance
        used = np.zeros(n, np.bool_)
        for parents in (pedigree.sire, pedigree.dam, *([loadings.parent] if loadings else [])):
            used[parents[(parents >= 0) & (parents < n)]] = True
        variance[:n][~used] = UNUSED_VARIANCE
        if not used.all():
            names = ", ".join(pedigree.labels.take(np.flatnonzero(~used)[:MAX_PRINTED]).text())
            log.warning("%s: %d phantom parents have no progeny: %s", file, int((~used).sum()), names)
    groups = np.arange(n, dtype=np.int64)
    return replace(pedigree, mendelian_variance=variance, loadings=loadings, groups=groups)


def _in_front(W: NDArray[np.float64], loadings: Loadings | None, n: int) -> Loadings:
    """Return `loadings` with the strictly lower triangle of `W` as the rows of the first animals."""
    m = len(W)
    row, column = np.tril_indices(m, -1)
    size = np.zeros(n, np.int64)
    size[:m] = np.arange(m)
    parent, weight = column.astype(np.int32), W[row, column]
    if loadings is not None:
        size += np.diff(loadings.indptr)
        parent, weight = np.concatenate([parent, loadings.parent]), np.concatenate([weight, loadings.weight])
    return Loadings(np.concatenate([[0], np.cumsum(size)]).astype(np.int64), parent, weight)
