"""From the rows of a pedigree file to a checked `Pedigree`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from henderson.errors import InputFileError
from henderson.kernels.pedigree_order import generation_numbers
from henderson.language.spec import PedigreeSpec
from henderson.pedigree.checks import loop_problems, parent_problems
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
    without inbreeding).

    Raises `InputFileError` with every mistake at once: animals that are their own parent; sire and dam the same animal,
    or an animal used as both, unless ``spec.selfing``; loops, each with one cycle printed.

    Cost: see `generation_numbers` and `inbreeding`.
    """
    sire = np.ascontiguousarray(sire, dtype=np.int32)
    dam = np.ascontiguousarray(dam, dtype=np.int32)
    problems = parent_problems(labels, sire, dam, spec=spec, file=file, line=line)
    generation, n_loops = generation_numbers(sire, dam)
    if n_loops:
        problems += loop_problems(labels, sire, dam, file=file, line=line)
    if problems:
        raise InputFileError(problems)
    coefficients = inbreeding(sire, dam, generation, threads=threads) if spec.inbreeding else np.zeros(len(sire))
    return Pedigree(
        name=name,
        labels=labels,
        sire=sire,
        dam=dam,
        generation=generation,
        inbreeding=coefficients,
        mendelian_variance=mendelian_variance(sire, dam, coefficients),
    )
