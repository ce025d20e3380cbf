"""From the rows of a pedigree file to a checked `Pedigree`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.errors import InputFileError
from henderson.kernels.pedigree_order import generation_numbers
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.checks import group_problems, loop_problems, parent_problems
from henderson.pedigree.inbreeding import inbreeding, mendelian_variance
from henderson.store.model_data import Labels, Pedigree


def check_pedigree(
    name: str,
    labels: Labels,
    sire: NDArray[np.int32],
    dam: NDArray[np.int32],
    *,
    spec: PedigreeSpec,
    file: str,
    line: NDArray[np.int64],
    threads: int | None = None,
) -> Pedigree:
    """Return the pedigree with generations, inbreeding and mendelian variances, animals in the order given.

    sire, dam: int32 (n,), row or -1; line: int64 (n,), line of `file` that declares the animal, -1 if none does (an
    added founder). With ``spec.inbreeding`` off, F is 0 everywhere and d is 1, 3/4 or 1/2 (Henderson 1976, rules
    without inbreeding). The first ``spec.phantomparents`` rows are phantom parents, which stand for genetic groups: for
    inbreeding and mendelian variances they are unknown, and their own d is infinite, so that A^-1 of the animals
    becomes that of animals and groups (Westell, Quaas & Van Vleck 1988; Quaas 1988).

    Raises `InputFileError` with every mistake at once: fewer rows than phantom parents, or phantom parents that have
    parents; animals that are their own parent; sire and dam the same animal,
    or an animal used as both, unless ``spec.selfing``; loops, each with one cycle printed.

    Cost: see `generation_numbers` and `inbreeding`.
    """
    sire = np.ascontiguousarray(sire, dtype=np.int32)
    dam = np.ascontiguousarray(dam, dtype=np.int32)
    problems = group_problems(labels, sire, dam, spec=spec, file=file, line=line)
    problems += parent_problems(labels, sire, dam, spec=spec, file=file, line=line)
    generation, n_loops = generation_numbers(sire, dam)
    if n_loops:
        problems += loop_problems(labels, sire, dam, file=file, line=line)
    if problems:
        raise InputFileError(problems)
    known_sire, known_dam, known_generation = sire, dam, generation
    if spec.phantomparents:
        known_sire, known_dam = (np.where(p < spec.phantomparents, np.int32(-1), p) for p in (sire, dam))
        known_generation, _ = generation_numbers(known_sire, known_dam)
    coefficients = np.zeros(len(sire))
    if spec.inbreeding:
        coefficients = inbreeding(known_sire, known_dam, known_generation, threads=threads)
    variance = mendelian_variance(known_sire, known_dam, coefficients)
    variance[: spec.phantomparents] = np.inf
    return Pedigree(
        name=name,
        labels=labels,
        sire=sire,
        dam=dam,
        generation=generation,
        inbreeding=coefficients,
        mendelian_variance=variance,
        groups=np.arange(spec.phantomparents, dtype=np.int64) if spec.phantomparents else None,
    )
